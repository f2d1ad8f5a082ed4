"""Run the programs of the book's chapters and compare their figures with the book's.

python -m book
python -m book 6 --quick
python -m book 9 10 --data ../shared/data
python -m book --all --quick
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.status import Status

from book.chapters import get_chapter, numbers
from book.command import Data, Out, Quick, Seed, check_data, console, printer
from book.report import Timed, summary, table, timed, write_csv
from book.run import Chapter, Run
from core.commands import as_typed
from core.console import help_of, reporting_errors
from core.errors import DataError
from core.new_paths import new_folder
from core.program import Program

app = Program(__doc__)


@app.command(help=help_of(__doc__))
def main(
    chapters: Annotated[list[int] | None, typer.Argument(help="Numbers of chapters; none lists them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run all chapters.")] = False,
    data: Data = None,
    quick: Quick = False,
    seed: Seed = 1,
    out: Out = None,
) -> None:
    with reporting_errors():
        if not chapters and not every:
            console().print(_listing(), highlight=False)
            return
        check_data(data)
        if every and not quick:
            console().print("all chapters take about a quarter of an hour; --quick takes half a minute")
        chosen = [get_chapter(number) for number in (numbers() if every else chapters or ())]
        folder = new_folder(out or Path("runs", time.strftime("chapters-%Y%m%d-%H%M%S")))
        _run_each(chosen, Run(folder, data, quick, seed))


def _listing() -> str:
    typed = as_typed("python -m book")
    lines = [f"{typed} NUMBER ... [--quick]   a chapter's programs, their figures and the book's:"]
    lines += [f"  {number:2}  {get_chapter(number).title}" for number in numbers()]
    lines += [f"{typed} --all [--quick]        all of these"]
    return "\n".join(lines)


def _run_each(chosen: list[Chapter], settings: Run) -> None:
    """Run chapters one after the other; exit 1 if one of several had to be left out. A single one raises."""
    left_out = 0
    for each in chosen:
        try:
            _run_one(each, settings)
        except DataError as error:
            if len(chosen) == 1:
                raise
            left_out += 1
            print(f"chapter {each.number} is left out: {error}", file=sys.stderr)
    if left_out:
        sys.exit(1)


def _run_one(chosen: Chapter, settings: Run) -> None:
    terminal, started = console(), time.monotonic()
    out = settings.out / f"chapter-{chosen.number:02}"
    found: list[Timed] = []
    with Status("starting ...", console=terminal) as status:
        run = Run(out, settings.data, settings.quick, settings.seed, printer(terminal), status.update)
        found.extend(timed(chosen.run(run)))
    findings = [entry.finding for entry in found]
    write_csv(out / "table.csv", findings, run.comparable)
    terminal.print(table(f"Chapter {chosen.number}: {chosen.title}", found, run.comparable), highlight=False)
    took = f"{time.monotonic() - started:.1f} seconds; see {out}"
    terminal.print(f"{summary(findings, run.comparable)}; {took}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
