"""What every party does first, done once in the process that parties are forked from.

Python and its libraries make much on first use: modules that are imported late, checks of options, tables, caches, code
adapted to what it is given. What is made before the fork is shared by all parties, and takes none of them any time.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from core.errors import GrokfedError
from core.program import Program
from core.secagg.scheme import PLAIN
from core.tasks.spam import SPAM
from simulation.in_process import Options, play

PROGRAMS = ("client", "keyholder", "server", "registrar")
IN_THE_RUN = PROGRAMS[:3]
"""Started many times, or waited for by the others; the registrar's program only deals keys."""
TEST_MAILS = 20
IMPORTED_LATE = "grpc._channel"
"""What gRPC imports with its first channel; none is opened here, because that starts threads."""


def rehearse() -> Mapping[str, Program]:
    """Import the parties' programs, read a command line with each, and play a run; return the programs by name.

    Leaves no thread, no connection and no file, so that the process can be forked. Where there is no room for the run's
    files, parties do all of that themselves.
    """
    programs: dict[str, Program] = {name: importlib.import_module(f"{name}.__main__").app for name in PROGRAMS}
    with suppress(ImportError):
        importlib.import_module(IMPORTED_LATE)
    with suppress(OSError, GrokfedError), tempfile.TemporaryDirectory() as folder:
        for name in IN_THE_RUN:
            programs[name].parse("--identity", Path(folder))
        few = SPAM.held_out(SPAM.generate(0, 1)[:TEST_MAILS])
        play(SPAM, clients=2, scheme=PLAIN, options=Options(test_data=few))
    return programs
