"""What every program's command line is made of: help with examples, --version, and completion where it is installed."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from core.commands import NAME, as_typed, is_script, tell_children
from core.console import help_of
from core.settings.plain_errors import said_plainly

F = TypeVar("F", bound=Callable[..., Any])


def _name_what_is_typed(*described: Any) -> None:
    for each in described:
        each.help = each.help and as_typed(each.help)


class _Command(TyperCommand):
    """One command; the values of its options are read while it is started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _name_what_is_typed(self, *self.params)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with said_plainly():
            return super().make_context(*args, **kwargs)


class _Commands(TyperGroup):
    """A program's commands; the values of options are read while one of them is chosen and started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _name_what_is_typed(self, *self.params)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with said_plainly():
            return super().make_context(*args, **kwargs)


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

    def command(self, *args: Any, **kwargs: Any) -> Callable[[F], F]:
        """Add a command, as typer.Typer does."""
        return super().command(*args, **{"cls": _Command, **kwargs})

    @cached_property
    def _built(self) -> Any:
        """All commands and options, made once; those that are added later are not known."""
        return typer.main.get_command(self)

    def parse(self, *arguments: str | Path) -> None:
        """Read a command line, run nothing and refuse nothing: what that makes on first use is there from then on."""
        self._built.make_context(None, [str(each) for each in arguments], resilient_parsing=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line of this process."""
        if sys.argv[1:] == ["--version"]:
            print(f"{NAME} {version()}")
            return None
        tell_children()
        return self._built(*args, **kwargs)


def version() -> str:
    """Return the version of the installed package, or of the source that this is run from."""
    source = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if source.exists():
        return str(tomllib.loads(source.read_text(encoding="utf-8"))["project"]["version"])
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        return "unknown"
