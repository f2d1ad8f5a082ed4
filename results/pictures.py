"""Curves of runs: how a column of the history moves with rounds, seconds, bytes or epsilon."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import DataError, SettingsError, StorageError
from results.comparing import Group, series
from results.intervals import Interval, over_seeds

if TYPE_CHECKING:  # at run time only where pictures are drawn: importing matplotlib takes long
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "round": "round",
    "seconds": "seconds since the start",
    "bytes": "megabytes sent by all clients",
    "epsilon": "epsilon spent",
}
# Okabe and Ito (2008): distinguishable with every common kind of colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "os^Dv*X"
FORMATS = (".png", ".svg", ".pdf")


def check_format(option: str, path: Path) -> None:
    """Raise SettingsError, naming the option, unless the name of a picture ends as one that can be drawn."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"{option} is {str(path)!r}; expected a name that ends in {', '.join(FORMATS)}")


def curve(group: Group, x: str, y: str) -> tuple[list[float], list[Interval]]:
    """Return a group's curve: the mean of x, and y with its interval over the runs, by round.

    Rounds that not every run of the group has are left out. Raises DataError if there are none.
    """
    histories = [rows for run in group.runs if (rows := run.rows())]
    if not histories:
        raise DataError(f"{group.name}: no round is completed, so there is nothing to draw")
    rounds = min(map(len, histories))
    across = [series(x, rows)[:rounds] for rows in histories]
    up = [series(y, rows)[:rounds] for rows in histories]
    scale = 1e-6 if x == "bytes" else 1.0
    places = [scale * sum(values) / len(values) for values in zip(*across, strict=True)]
    return places, [over_seeds(values) for values in zip(*up, strict=True)]


def points_of(group: Group, x: str, y: str) -> dict[str, object]:
    """Return a curve as JSON has it: its name, x, the mean of y, and half its interval (None for a single run)."""
    places, intervals = curve(group, x, y)
    halves = [None if isnan(each.half) else each.half for each in intervals]
    return {"name": group.name, "x": places, "y": [each.mean for each in intervals], "half": halves}


def draw_curves(path: Path, groups: Sequence[Group], x: str = "round", y: str = "accuracy") -> None:
    """Draw one curve a group, with a band for its 95 % interval where it has several runs.

    Raises DataError for a column that is not there; StorageError if the picture cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    curves = [(group.name, *curve(group, x, y)) for group in groups]
    figure, axes = _figure(7.5, 4.5)
    scale = 100.0 if y == "accuracy" else 1.0
    for number, (name, places, intervals) in enumerate(curves):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        means = [scale * each.mean for each in intervals]
        marks = marker if len(places) <= 40 else ""
        axes.plot(places, means, marker=marks, markersize=4, color=colour, label=name, linewidth=1.6)
        if not any(isnan(each.half) for each in intervals):
            # An accuracy cannot leave 0 to 100 %, whatever Student's t makes of a few seeds.
            least, most = (0.0, 100.0) if y == "accuracy" else (-inf, inf)
            low = [max(least, scale * (each.mean - each.half)) for each in intervals]
            high = [min(most, scale * (each.mean + each.half)) for each in intervals]
            axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel=AXES.get(x, x), ylabel="accuracy, %" if y == "accuracy" else y)
    if any(len(group.runs) > 1 for group in groups):
        axes.set_title("means over runs, with 95 % intervals", fontsize="medium")
    if x == "round":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    _save(figure, path)


def draw_last(path: Path, groups: Sequence[Group], y: str = "accuracy") -> None:
    """Draw the last round of each group as a point with its 95 % interval, one below the other, the best on top.

    Raises DataError for a column that is not there; StorageError if the picture cannot be written.
    """
    scale = 100.0 if y == "accuracy" else 1.0
    last = sorted(((curve(group, "round", y)[1][-1], group.name) for group in groups), key=lambda each: each[0].mean)
    figure, axes = _figure(7.5, 1.2 + 0.28 * len(last))
    means = [scale * interval.mean for interval, _ in last]
    halves = [0.0 if isnan(interval.half) else scale * interval.half for interval, _ in last]
    axes.errorbar(means, range(len(last)), xerr=halves, fmt="o", color=COLOURS[0], capsize=3, linewidth=1.2)
    axes.set_yticks(range(len(last)), [name for _, name in last], fontsize="small")
    axes.set(xlabel="accuracy after the last round, %" if y == "accuracy" else f"{y} after the last round")
    axes.set_title("means over runs, with 95 % intervals", fontsize="medium")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Figure, path: Path) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise StorageError(f"the picture {path} cannot be written: {error}") from error
