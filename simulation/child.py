"""Run one party so that it cannot outlive the simulation: when standard input closes, however that came about, it ends.

python -m simulation.child client --server ...        (started by simulation/processes.py only)
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

GRACE_SECONDS = 5.0


def _end_with_parent() -> None:
    # Not sys.stdin: its lock, held by this thread, would abort the interpreter on its way out.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
