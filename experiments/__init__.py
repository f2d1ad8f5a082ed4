"""Questions about the models and the protocol, each answered by one command with a table and pictures."""

import os

# Before NumPy is loaded: on a machine that does other things too, small matrices are several times slower in threads.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
