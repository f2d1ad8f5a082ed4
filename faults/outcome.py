"""Results of scenarios: one row of the table each, as CSV for programs and as Markdown for people."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS = ("scenario", "what happens", "trials", "violations", "seconds", "measured")
SHOWN = 5
"""Violations that are printed in full; the rest are counted."""


@dataclass(frozen=True)
class Options:
    """How much to try. `quick` is what the tests of every change run; else the long counts."""

    quick: bool = False
    seed: int = 0
    minutes: float = 6.0
    """After which a scenario that can stop anywhere begins nothing new; the table says how many trials there were."""

    @property
    def slack(self) -> float:
        """How many times as long things may take: the quick form runs on busy machines, and is no benchmark."""
        return 6.0 if self.quick else 1.0

    def count(self, long: int, quick: int) -> int:
        return quick if self.quick else long


@dataclass
class Outcome:
    """One row. `measured` is what else there is to know, in words; times may be `slack` times as long."""

    scenario: str
    what: str
    trials: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    measured: str = ""
    slack: float = 1.0

    def add(self, found: Sequence[str], which: str) -> None:
        """Count one trial, named by whatever repeats it."""
        self.trials += 1
        self.violations += [f"{which}: {sentence}" for sentence in found]

    def require(self, holds: bool, sentence: str) -> None:
        """Count a violation unless it holds."""
        if not holds:
            self.violations.append(sentence)

    def row(self) -> list[str]:
        shown = (self.trials, len(self.violations), f"{self.seconds:.0f}", self.measured)
        return [self.scenario, self.what, *map(str, shown)]


Scenario = Callable[[Options], Iterator[Outcome]]


@contextmanager
def timed(scenario: str, what: str, slack: float = 1.0) -> Iterator[Outcome]:
    """An outcome to fill, with its seconds."""
    outcome = Outcome(scenario, what, slack=slack)
    started = time.perf_counter()
    try:
        yield outcome
    finally:
        outcome.seconds = time.perf_counter() - started


def write_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the rows below the names of the columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(outcome.row() for outcome in outcomes)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the same as a Markdown table."""
    lines = [COLUMNS, ["---", "---", "--:", "--:", "--:", "---"], *(outcome.row() for outcome in outcomes)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n" for cells in lines)
