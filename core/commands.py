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
    **{each: f"{NAME}-{each}" for each in ("experiments", "book")},
}
"""The command that the wheel installs for each program."""
VARIABLE = "GROKFED_COMMANDS"
"""Set in the environment of what an installed command starts, so that its messages name commands too."""
_MODULE = re.compile(rf"python -m ({'|'.join(SCRIPTS)})\b(?!\.\w)")
_SOURCE = Path(__file__).resolve().parent.parent


def is_script() -> bool:
    """Return whether this process was started as an installed command."""
    return Path(sys.argv[0]).name.startswith(f"{NAME}-")


def is_installed() -> bool:
    """Return whether a user of this process types installed commands.

    That is so if it was started as one or by one, or if this code is the wheel's, with its commands next to Python.
    """
    if is_script() or VARIABLE in os.environ:
        return True
    return not (_SOURCE / "pyproject.toml").exists() and (Path(sys.executable).parent / SCRIPTS["server"]).exists()


def tell_children() -> None:
    """Let processes that this one starts name programs as it does."""
    if is_script():
        os.environ[VARIABLE] = "installed"


def command_of(program: str) -> str:
    """Return what to type for one of the project's programs, by the way in which this one was started.

    What has no installed command is started with -P: `python -m` alone would import a server.py in the user's folder.
    """
    if is_installed() and program in SCRIPTS:
        return SCRIPTS[program]
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), *(["-P"] if is_installed() else []), "-m", program])


def as_typed(text: str) -> str:
    """Return a text in which `python -m NAME` is the installed command, where there is one."""
    return _MODULE.sub(lambda found: SCRIPTS[found[1]], text) if is_installed() else text
