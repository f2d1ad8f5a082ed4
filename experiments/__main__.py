"""Ask a question, get a table and pictures.

python -m experiments
python -m experiments word-leakage --quick
python -m experiments all --quick
python -m experiments chapter 9 --data ../shared/data
python -m experiments chapter --quick
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from core.console import sentences
from core.errors import DataError
from experiments import studies
from experiments.chapters import get_chapter, numbers
from experiments.report import Timed, summary, table, timed, write_csv
from experiments.run import Chapter, Run
from experiments.study import Study, table_of, write_files
from experiments.web_page import Answered, write_page

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Ask a question, get a table and pictures.")

Data = Annotated[Path | None, typer.Option(help="Folder with the public files; left out, data is made up.")]
Quick = Annotated[bool, typer.Option("--quick", help="Do little, in seconds: to see what there is to see.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed and data, same findings.")]
Out = Annotated[Path | None, typer.Option(help="Folder for tables and pictures; default runs/NAME-TIME.")]


@app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """List what can be asked, if nothing is asked."""
    if context.invoked_subcommand is None:
        with sentences():
            _console().print(_listing(), highlight=False)


@app.command()
def chapter(
    chapters: Annotated[list[int] | None, typer.Argument(help="Numbers of chapters; all if left out.")] = None,
    data: Data = None,
    quick: Quick = False,
    seed: Seed = 1,
    out: Out = None,
) -> None:
    """Run a chapter's programs and show their figures beside the book's."""
    with sentences():
        _check_data(data)
        folder = out or Path("runs", time.strftime("chapters-%Y%m%d-%H%M%S"))
        chosen = [get_chapter(number) for number in chapters or numbers()]
        if not chapters and not quick:
            _console().print("all chapters take about a quarter of an hour; --quick takes half a minute")
        left_out = 0
        for each in chosen:
            try:
                _run(each, data, quick, seed, folder / f"chapter-{each.number:02}")
            except DataError as error:
                if len(chosen) == 1:
                    raise
                left_out += 1
                print(f"chapter {each.number} is left out: {error}", file=sys.stderr)
        if left_out:
            sys.exit(1)


@app.command("all")
def run_all(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None) -> None:
    """Run every study of leakage and privacy, and put them on one page, index.html."""
    with sentences():
        _check_data(data)
        folder = out or Path("runs", time.strftime("experiments-%Y%m%d-%H%M%S"))
        answered: list[Answered] = []
        left_out: list[tuple[str, str]] = []
        for name in studies.NAMES:
            try:
                answered.append(_study(studies.get_study(name), data, quick, seed, folder / name))
            except DataError as error:
                left_out.append((name, str(error)))
                print(f"{name} is left out: {error}", file=sys.stderr)
        write_page(folder / "index.html", answered, left_out)
        _console().print(f"one page with all of them: {folder / 'index.html'}", highlight=False, soft_wrap=True)


def _add_study(name: str) -> None:
    @app.command(name, hidden=True)  # listed by `python -m experiments` with their titles
    def ask(data: Data = None, quick: Quick = False, seed: Seed = 1, out: Out = None) -> None:
        with sentences():
            _check_data(data)
            _study(
                studies.get_study(name), data, quick, seed, out or Path("runs", time.strftime(f"{name}-%Y%m%d-%H%M%S"))
            )


for _name in studies.NAMES:
    _add_study(_name)


def _study(chosen: Study, data: Path | None, quick: bool, seed: int, out: Path) -> Answered:
    console, started = _console(), time.monotonic()
    with Status("starting ...", console=console) as status:
        run = Run(out, data, quick, seed, _say(console), status.update)
        rows = list(chosen.run(run))
    write_files(chosen, rows, run)
    console.print(table_of(chosen, rows), highlight=False)
    console.print(chosen.conclude(rows), highlight=False)
    console.print(f"{time.monotonic() - started:.1f} seconds; see {out}", highlight=False, soft_wrap=True)
    return Answered(chosen, rows, run)


def _say(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, highlight=False, soft_wrap=True)


def _check_data(data: Path | None) -> None:
    if data is not None and not data.is_dir():
        raise DataError(f"{data} is not a folder; expected one with the public files")


def _run(chosen: Chapter, data: Path | None, quick: bool, seed: int, out: Path) -> None:
    console = _console()
    found: list[Timed] = []
    started = time.monotonic()
    with Status("starting ...", console=console) as status:
        run = Run(out, data, quick, seed, _say(console), status.update)
        found.extend(timed(chosen.run(run)))
    findings = [entry.finding for entry in found]
    write_csv(out / "table.csv", findings, run.comparable)
    console.print(table(f"Chapter {chosen.number}: {chosen.title}", found, run.comparable), highlight=False)
    console.print(
        f"{summary(findings, run.comparable)}; {time.monotonic() - started:.1f} seconds; see {out}",
        highlight=False,
        soft_wrap=True,
    )


def _listing() -> str:
    lines = ["python -m experiments NAME [--quick]   what leaks, to whom, and what each defence buys:"]
    lines += [f"  {name:22}  {studies.get_study(name).title}" for name in studies.NAMES]
    lines += ["python -m experiments all [--quick]    all of these, on one page"]
    lines += ["python -m experiments chapter NUMBER   a chapter's programs, their figures beside the book's:"]
    lines += [f"  {number:2}  {get_chapter(number).title}" for number in numbers()]
    return "\n".join(lines)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)


if __name__ == "__main__":
    app()
