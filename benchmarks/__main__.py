"""Time the cases and compare each with PyTorch and the book's own program: `python -m benchmarks [names]`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import images, sequences, words
from benchmarks.measure import CELLS, LAYER, OURS, THEIRS, Case, Timing, find_torch, measure, numbers_table

CASES = {case.name: case for case in (*images.CASES, *words.CASES, *sequences.CASES)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__.partition(":")[0] + ".",
        epilog="Encrypted sums have separate tables: python -m benchmarks.encryption",
    )
    parser.add_argument("names", nargs="*", metavar="name", help="what to time; everything if left out")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    parser.add_argument("--repeats", type=int, default=5, help="to take the median of (default %(default)s)")
    parser.add_argument("--small", action="store_true", help="few examples: tests that everything runs, not how fast")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in CASES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; known are {', '.join(CASES)}")
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; it must be at least 1")
    console = Console(width=120, highlight=False)
    chosen = [CASES[name] for name in options.names] or list(CASES.values())
    if options.list:
        console.print(_listing(chosen))
        return
    if find_torch() is None:
        console.print("PyTorch is not installed here: its column stays empty (`make bench` installs it).")
    timings = []
    for case in chosen:
        with console.status(f"timing {case.name} ..."):
            timings.append(measure(case, options.repeats, options.small))
    console.print(_table(timings, with_book=not options.small))


def _listing(cases: Sequence[Case]) -> Table:
    table = Table("name", "what", box=None)
    for case in cases:
        table.add_row(case.name, case.shapes)
    return table


def _table(timings: Sequence[Timing], with_book: bool) -> Table:
    headings = (f"{OURS} ms", "PyTorch ms", "ratio", "book ms", "times faster")
    table = numbers_table(["name", "what"], headings)
    for timing in timings:
        for way in (OURS, LAYER, CELLS):
            if way in timing.seconds:
                table.add_row(*_row(timing, way, with_book))
    return table


def _row(timing: Timing, way: str, with_book: bool) -> list[str]:
    """Return one line for the case, and one for each other way we have to do the same."""
    case, first = timing.case, way == OURS
    return [
        case.name if first else "",
        case.shapes if first else f"  the same, {way}",
        _milliseconds(timing.seconds[way]),
        _milliseconds(timing.seconds.get(THEIRS) if first else None),
        _number(timing.ratio(way), 2),
        _milliseconds(case.book if with_book and first else None),
        _number(timing.times_faster_than_book(way) if with_book else None, 0),
    ]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else _number(seconds * 1000, 1 if seconds < 1 else 0)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


if __name__ == "__main__":
    main()
