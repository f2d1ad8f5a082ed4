"""Ask a question, get a table and pictures.

python -m experiments
python -m experiments word-leakage --quick
python -m experiments all --quick
python -m experiments word-leakage --data ../shared/data
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.status import Status

from book.command import Data, Out, Quick, Seed, check_data, console, printer
from book.run import Run
from core.commands import as_typed
from core.console import reporting_errors
from core.errors import DataError
from core.new_paths import new_folder
from core.program import Program
from experiments import studies
from experiments.study import Study, tables_of, write_files
from experiments.web_page import Answered, write_page

app = Program(__doc__)


@app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """List the studies, if none is named."""
    if context.invoked_subcommand is None:
        with reporting_errors():
            console().print(_listing(), highlight=False)


@app.command("all")
def run_all(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None) -> None:
    """Run every study of leakage and privacy, and put them on one page, index.html."""
    with reporting_errors():
        check_data(data)
        folder = new_folder(out or Path("runs", time.strftime("experiments-%Y%m%d-%H%M%S")))
        answered: list[Answered] = []
        left_out: list[tuple[str, str]] = []
        for name in studies.NAMES:
            try:
                answered.append(_study(studies.get_study(name), data, quick, seed, folder / name))
            except DataError as error:
                left_out.append((name, str(error)))
                print(f"{name} is left out: {error}", file=sys.stderr)
        write_page(folder / "index.html", answered, left_out)
        console().print(f"one page with all of them: {folder / 'index.html'}", highlight=False, soft_wrap=True)
        _end(answered)


def _add_study(name: str) -> None:
    @app.command(name, hidden=True)  # listed by `python -m experiments` with their titles
    def ask(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None) -> None:
        with reporting_errors():
            check_data(data)
            folder = new_folder(out or Path("runs", time.strftime(f"{name}-%Y%m%d-%H%M%S")))
            answered = _study(studies.get_study(name), data, quick, seed, folder)
            write_page(folder / "index.html", [answered], [])
            console().print(f"its page: {folder / 'index.html'}", highlight=False, soft_wrap=True)
            _end([answered])


for _name in studies.NAMES:
    _add_study(_name)


def _study(chosen: Study, data: Path | None, quick: bool, seed: int, out: Path) -> Answered:
    terminal, started = console(), time.monotonic()
    with Status("starting ...", console=terminal) as status:
        run = Run(out, data, quick, seed, printer(terminal), status.update)
        rows = list(chosen.run(run))
    write_files(chosen, rows, run)
    for table in tables_of(chosen, rows, terminal):
        terminal.print(table, highlight=False)
    terminal.print(chosen.conclude(rows), highlight=False)
    terminal.print(f"{time.monotonic() - started:.1f} seconds; see {out}", highlight=False, soft_wrap=True)
    return Answered(chosen, rows, run)


def _end(answered: Sequence[Answered]) -> None:
    """End with 1 if a row of any study is not as the threat model says."""
    if any(each.study.unexpected(each.rows) for each in answered):
        raise typer.Exit(1)


def _listing() -> str:
    typed = as_typed("python -m experiments")
    lines = [f"{typed} NAME [--quick]   what leaks, to whom, and what each defence buys:"]
    lines += [f"  {name:22}  {studies.get_study(name).title}" for name in studies.NAMES]
    lines += [f"{typed} all [--quick]    all of these, on one page"]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
