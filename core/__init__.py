"""What more than one party needs: learning in NumPy, secure aggregation, the wire between them."""

import os

# Read when NumPy is first imported. Several parties share a machine, as a rule, and on small matrices threads that
# wait for each other cost several times what they save.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
