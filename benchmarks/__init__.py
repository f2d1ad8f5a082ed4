"""How fast the library is, beside PyTorch on the same shapes: `python -m benchmarks`."""

import os

# One thread each: read when NumPy and PyTorch are first imported, so it stands before all of that.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
