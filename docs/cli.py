"""Write docs/cli.md, the reference of all programs, from the programs themselves.

python -m docs.cli             write it
python -m docs.cli --check     exit 1 if it is not as it would be written
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from core.commands import SCRIPTS

PAGE = Path(__file__).parent / "cli.md"
PROGRAMS = tuple(SCRIPTS)
HIDDEN = ("install-completion", "show-completion", "help")
INTRODUCTION = """\
# Command line

Written by `python -m docs.cli` from the programs; `--help` says the same. Each program runs as `python -m NAME` in the
project's folder, and from any folder as an installed command: `pip install` of the wheel adds {commands}. Folders are
relative to where a command is started. `--version` prints the version.

Completion for your shell: `grokfed-simulate --install-completion`, and likewise for the others.
"""


def page() -> str:
    """Return the page as it should be."""
    commands = [f"`{SCRIPTS[name]}`" for name in PROGRAMS]
    said = f"{', '.join(commands[:-1])} and {commands[-1]}"
    return INTRODUCTION.format(commands=said) + "".join(section for name in PROGRAMS for section in _program(name))


def _program(name: str) -> Iterator[str]:
    app = importlib.import_module(f"{name}.__main__").app
    command: Any = typer.main.get_command(app)
    yield f"\n## {SCRIPTS[name]}\n\n{_first_sentence(command.help)}\n\n"
    yield _command(f"python -m {name}", command)
    for own, sub in sorted(getattr(command, "commands", {}).items()):
        if sub.hidden:  # a study: its program lists them by their titles
            continue
        yield f"\n### {own}\n\n{_first_sentence(sub.help)}\n\n" + _command(f"python -m {name} {own}", sub)


def _command(called: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and _name(each) not in HIDDEN]
    usage = " ".join([called, *(each.metavar or str(each.name).upper() for each in arguments)])
    lines = [f"    {usage}{' [OPTIONS]' * bool(options)}", ""]
    if options:
        lines += ["| option | default | meaning |", "|---|---|---|", *map(_row, options)]
    return "\n".join(lines).rstrip() + "\n"


def _row(option: Any) -> str:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    meaning = " ".join((option.help or "").split()).replace("|", "\\|").replace("<", "&lt;")
    return f"| {names} | {_default(option)} | {meaning} |"


def _default(option: Any) -> str:
    if option.required:
        return "must be given"
    value = option.default() if callable(option.default) else option.default
    if isinstance(value, Enum):
        value = value.value
    if value is None or value is False or value == "" or type(value).__name__ == "Sentinel":
        return ""
    return "on" if value is True else f"`{value}`"


def _name(option: Any) -> str:
    return str(option.opts[0]).lstrip("-")


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


if __name__ == "__main__":
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text("utf-8") != page():
            sys.exit(f"{PAGE} is not as the programs are; write it anew: python -m docs.cli")
    else:
        PAGE.write_text(page(), encoding="utf-8")
