"""Ask a question, get a table and pictures.

python -m experiments
python -m experiments word-leakage --quick
python -m experiments all --quick
python -m experiments word-leakage --data ../shared/data
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from book.command import Data, Out, Quick, Seed, check_data, console, printer
from book.run import Run
from core.commands import as_typed
from core.console import reporting_errors
from core.errors import DataError
from core.new_paths import new_folder
from core.program import Program
from experiments import studies
from experiments.study import Study, Value, command, tables_of, write_files
from experiments.web_page import Answered, write_page

app = Program(__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object; what people read goes to the errors.")]


@app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """List the studies, if none is named."""
    if context.invoked_subcommand is None:
        with reporting_errors():
            console().print(_listing(), highlight=False)


@app.command("all")
def run_all(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None, as_json: AsJson = False) -> None:
    """Run every study of leakage and privacy, and put them on one page, index.html."""
    with reporting_errors():
        check_data(data)
        folder = new_folder(out or Path("runs", time.strftime("experiments-%Y%m%d-%H%M%S")))
        terminal = _terminal(as_json)
        answered: list[Answered] = []
        left_out: list[tuple[str, str]] = []
        for name in studies.NAMES:
            try:
                answered.append(_study(studies.get_study(name), Run(folder / name, data, quick, seed), terminal))
            except DataError as error:
                left_out.append((name, str(error)))
                print(f"{name} is left out: {error}", file=sys.stderr)
        write_page(folder / "index.html", answered, left_out)
        terminal.print(f"one page with all of them: {folder / 'index.html'}", highlight=False, soft_wrap=True)
        if as_json:
            print(
                json.dumps(
                    {"studies": list(map(_as_json, answered)), "left_out": dict(left_out)},
                    default=float,
                    allow_nan=False,
                )
            )
        _end(answered)


def _add_study(name: str) -> None:
    @app.command(name, hidden=True)  # listed by `python -m experiments` with their titles
    def ask(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None, as_json: AsJson = False) -> None:
        with reporting_errors():
            check_data(data)
            folder = new_folder(out or Path("runs", time.strftime(f"{name}-%Y%m%d-%H%M%S")))
            terminal = _terminal(as_json)
            answered = _study(studies.get_study(name), Run(folder, data, quick, seed), terminal)
            write_page(folder / "index.html", [answered], [])
            terminal.print(f"its page: {folder / 'index.html'}", highlight=False, soft_wrap=True)
            if as_json:
                print(json.dumps(_as_json(answered), default=float, allow_nan=False))
            _end([answered])


for _name in studies.NAMES:
    _add_study(_name)


def _study(chosen: Study, run: Run, terminal: Console) -> Answered:
    started = time.monotonic()
    with Status("starting ...", console=terminal) as status:
        run = replace(run, say=printer(terminal), progress=status.update)
        rows = list(chosen.run(run))
    write_files(chosen, rows, run)
    for table in tables_of(chosen, rows, terminal):
        terminal.print(table, highlight=False)
    terminal.print(chosen.conclude(rows), highlight=False)
    terminal.print(f"{time.monotonic() - started:.1f} seconds; see {run.out}", highlight=False, soft_wrap=True)
    return Answered(chosen, rows, run)


def _terminal(as_json: bool) -> Console:
    """Return where people read; with --json the output is for programs, and people read the errors."""
    return Console(stderr=True) if as_json else console()


def _as_json(answered: Answered) -> dict[str, Any]:
    study, rows, run = answered.study, answered.rows, answered.run
    return {
        "study": study.name,
        "command": as_typed(command(study, run)),
        "folder": str(run.out),
        "rows": [{name: _number(value) for name, value in row.items()} for row in rows],
        "result": study.conclude(rows),
        "unexpected": len(study.unexpected(rows)),
    }


def _number(value: Value) -> Value | None:
    """Return a value as JSON has it, which knows neither NaN nor infinity."""
    return value if isinstance(value, str) or isfinite(value) else None


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
