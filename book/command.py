"""What the commands that run something have in common: their options, and how they talk to the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.errors import DataError

Data = Annotated[Path | None, typer.Option(help="Folder with the public files; left out, data is made up.")]
Quick = Annotated[bool, typer.Option("--quick", help="Do little, in seconds: to see what there is to see.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed and data, same findings.")]
Out = Annotated[Path | None, typer.Option(help="Folder for tables and pictures; default runs/NAME-TIME.")]


def console() -> Console:
    """Return the terminal, or without one a page of COLUMNS columns (80 by default)."""
    return Console()


def printer(to: Console) -> Callable[[str], None]:
    """Return a function that prints one line as it is."""
    return lambda line: to.print(line, highlight=False, soft_wrap=True)


def check_data(data: Path | None) -> None:
    """Raise DataError unless the data is a folder, or none is given."""
    if data is not None and not data.is_dir():
        raise DataError(f"{data} is not a folder; expected one with the public files")
