"""Show findings as a table, and write them down."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from book.finding import Finding, Verdict
from core.errors import StorageError

HEADINGS = ("what", "here", "book", "goal", "", "s")
WIDEST = 18
"""Characters of a value in one line; a longer one, a text for example, must not leave the findings without room."""
COLUMNS = ("what", "value", "book", "goal", "verdict")


@dataclass(frozen=True)
class Timed:
    """A finding and the seconds it took."""

    finding: Finding
    seconds: float


def timed(findings: Iterator[Finding], clock: Callable[[], float] = time.monotonic) -> Iterator[Timed]:
    """Hand findings on with the time that went by since the one before."""
    before = clock()
    for finding in findings:
        now = clock()
        yield Timed(finding, now - before)
        before = clock()


def table(title: str, findings: Sequence[Timed], comparable: bool) -> Table:
    """Lay findings out for people; columns in which nothing stands are left out."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, collapse_padding=True)
    rows = [_row(entry, comparable) for entry in findings]
    kept = [place for place in range(len(HEADINGS)) if any(row[place] for row in rows)]
    for place in kept:
        left = HEADINGS[place] in ("what", "")
        whole = place > 0 and max(len(row[place]) for row in rows) <= WIDEST
        made.add_column(
            HEADINGS[place],
            justify="left" if left else "right",
            overflow="fold",
            no_wrap=whole,
            max_width=WIDEST if place else None,
        )
    for row in rows:
        made.add_row(*(row[place] for place in kept))
    return made


def _row(entry: Timed, comparable: bool) -> tuple[str, ...]:
    found = entry.finding
    verdict = found.verdict(comparable)
    return (found.what, found.written, found.book, found.written_goal, verdict, f"{entry.seconds:.1f}")


def summary(findings: Sequence[Finding], comparable: bool) -> str:
    """Say in one sentence how many goals were reached."""
    verdicts = [finding.verdict(comparable) for finding in findings]
    reached, missed = verdicts.count(Verdict.REACHED), verdicts.count(Verdict.MISSED)
    left_out = verdicts.count(Verdict.NOT_COMPARED)
    sentence = f"{reached} of {reached + missed} goals reached" if reached + missed else "no goals compared"
    if left_out:
        sentence += f"; {left_out} more hold for the full form on the book's data only"
    return sentence


def write_csv(path: Path, findings: Sequence[Finding], comparable: bool) -> None:
    """Write one line a finding, without times: same seed and data, same bytes. Raises StorageError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for found in findings:
                verdict = found.verdict(comparable)
                writer.writerow((found.what, found.value, found.book, found.written_goal, verdict))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
