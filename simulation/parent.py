"""End a simulation with the `make` that started it, however that ends: it could not be stopped with Ctrl-C any more."""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT = "GROKFED_PARENT"
"""The environment variable in which the Makefile names its process; without it a simulation outlives its parent."""
LOOK_SECONDS = 0.5


def end_with_parent() -> None:
    """Watch, in a thread, the process that PARENT names, and send this one SIGTERM when it is no longer the parent."""
    if parent := os.environ.get(PARENT):
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
