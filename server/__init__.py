"""The aggregator."""

import os

# Before gRPC is loaded, which else prints lines of its own beside our sentences.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
