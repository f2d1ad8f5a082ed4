"""A mean and its 95 % interval in one cell of a table: `0.94 ±0.06`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from experiments.study import Row
from results.intervals import over_seeds

MARK = " ±"


def cell(values: Sequence[float], digits: int = 2) -> str:
    """Write the mean over independent repetitions and half of its 95 % interval."""
    found = over_seeds(values)
    return f"{found.mean:.{digits}f}{MARK}{found.half:.{digits}f}"


def cells(repetitions: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Write such a cell for everything that was measured in each repetition."""
    return {name: cell([each[name] for each in repetitions]) for name in repetitions[0]}


def means(rows: Iterable[Row], name: str) -> list[float]:
    """Return the means in one column."""
    return [float(str(row[name]).partition(MARK)[0]) for row in rows]


def halves(rows: Iterable[Row], name: str) -> list[float]:
    """Return half of each interval in one column."""
    return [float(str(row[name]).partition(MARK)[2]) for row in rows]
