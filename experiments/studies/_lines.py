"""Lines with intervals, drawn alike in the pictures of all studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from book.pictures.style import COLOURS, DASHES, MARKERS
from experiments.studies._columns import halves, means
from experiments.study import Row


class Line(NamedTuple):
    """A column of a study's table, and how its line looks."""

    column: str
    label: str
    colour: str
    dash: str
    marker: str


def draw_line(
    axes: Axes, number: int, at: Sequence[float], mean: Sequence[float], half: Sequence[float], **options: Any
) -> None:
    """Draw a line with intervals, in the colours and marks of line `number`."""
    look = {"color": COLOURS[number], "linestyle": DASHES[number], "marker": MARKERS[number], "capsize": 2}
    axes.errorbar(at, mean, half, **{**look, **options})


def draw_columns(axes: Axes, at: Sequence[float], rows: Sequence[Row], lines: Sequence[Line]) -> None:
    """Draw some columns of a table, each as a line with intervals."""
    for line in lines:
        look: dict[str, Any] = {"color": line.colour, "linestyle": line.dash, "marker": line.marker, "capsize": 2}
        axes.errorbar(at, means(rows, line.column), halves(rows, line.column), label=line.label, **look)


def log_ticks(axes: Axes, at: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Make the horizontal axis logarithmic, with marks at these places only."""
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{value:,}" for value in at] if labels is None else labels)
    axes.minorticks_off()
