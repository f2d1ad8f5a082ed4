"""What every program's command line is made of: help with examples, --version, and completion where it is installed."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from core.commands import NAME, as_typed, is_script, tell_children
from core.console import help_of
from core.settings.plain_errors import said_plainly


class _Commands(TyperGroup):
    """A program's commands; the values of options are read while one of them is chosen and started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        described: list[Any] = [self, *self.commands.values()]
        described += [parameter for command in described for parameter in command.params]
        for each in described:
            each.help = each.help and as_typed(each.help)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with said_plainly():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        with said_plainly():
            return super().invoke(*args, **kwargs)


class Program(typer.Typer):
    """A program with a docstring as help; its commands are added as to any typer.Typer.

    Installed as grokfed-..., it also offers completion for the shell; `python -m` has no name that a shell could know.
    """

    def __init__(self, doc: str | None) -> None:
        super().__init__(
            cls=_Commands,
            add_completion=is_script(),
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            help=help_of(doc),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line of this process."""
        if sys.argv[1:] == ["--version"]:
            print(f"{NAME} {version()}")
            return None
        tell_children()
        return super().__call__(*args, **kwargs)


def version() -> str:
    """Return the version of the installed package, or of the source that this is run from."""
    source = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if source.exists():
        return str(tomllib.loads(source.read_text(encoding="utf-8"))["project"]["version"])
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        return "unknown"
