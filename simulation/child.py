"""Run one party so that it cannot outlive the simulation: when standard input closes, it ends.

python -m simulation.child client --server ...        (started by simulation/processes.py where there is no fork server)
"""

from __future__ import annotations

import sys

from simulation.fork_server import run_party

if __name__ == "__main__":
    sys.exit(run_party(sys.argv[1:]))
