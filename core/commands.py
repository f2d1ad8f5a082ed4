"""What a user types for each of the project's programs: an installed command, or Python with the name of a module."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

NAME = "grokfed"
SCRIPTS = {
    "simulation": f"{NAME}-simulate",
    **{each: f"{NAME}-{each}" for each in ("server", "client", "keyholder", "registrar", "results", "dashboard")},
}
"""The command that the wheel installs for each program."""
VARIABLE = "GROKFED_COMMANDS"
"""Set in the environment of what an installed command starts, so that its messages name commands too."""
_MODULE = re.compile(rf"python -m ({'|'.join(SCRIPTS)})\b")


def is_script() -> bool:
    """Return whether this process was started as an installed command."""
    return Path(sys.argv[0]).name.startswith(f"{NAME}-")


def tell_children() -> None:
    """Let processes that this one starts name programs as it does."""
    if is_script():
        os.environ[VARIABLE] = "installed"


def command_of(program: str) -> str:
    """Return what to type for one of the project's programs, by the way in which this one was started."""
    if program in SCRIPTS and (is_script() or VARIABLE in os.environ):
        return SCRIPTS[program]
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", program])


def as_typed(help_text: str) -> str:
    """Return help in which `python -m NAME` is the installed command, if this process was started as one."""
    return _MODULE.sub(lambda found: SCRIPTS[found[1]], help_text) if is_script() else help_text
