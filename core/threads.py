"""The environment variables that say how many threads linear algebra takes."""

ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Several parties usually share a machine, and on small matrices threads that wait for each other cost several times
what they save."""
