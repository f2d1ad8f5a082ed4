"""The aggregator."""

import os

# Set before gRPC is loaded, which otherwise prints its own lines between our messages.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
