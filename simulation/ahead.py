"""Imported first by the program: the process that parties are forked from gets ready while this one still imports.

Both need a second of processor. Where the command line asks for something else, nothing is started; where it turns out
to be wrong, what was started ends with this process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.commands import SCRIPTS, tell_children
from simulation.processes import start_ahead

OTHERWISE = {"--help", "--version", "--dry-run", "--virtual", "sweep", "check-task"}
"""Words of command lines that start no parties, or not here."""


def starts_parties(program: str, *arguments: str) -> bool:
    """Return whether a process with this command line is a simulation that is about to start parties."""
    path = Path(program)
    is_simulation = path.parts[-2:] == (__package__, "__main__.py") or path.name == SCRIPTS["simulation"]
    return is_simulation and OTHERWISE.isdisjoint(arguments)


if starts_parties(*sys.argv):
    tell_children()
    start_ahead()
