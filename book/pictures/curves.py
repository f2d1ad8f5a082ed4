"""Curves over passes or steps (chapter 8, and wherever something is followed over time)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from book.pictures.style import BLACK, COLOURS, DASHES, GREY, MARKERS, Picture, new_figure, style

Series = Mapping[str, Sequence[float]]
FEW = 25  # points up to which each gets a mark


@style()
def curves(
    series: Series, xlabel: str, ylabel: str, *, x: Sequence[float] | None = None, log: bool = False, title: str = ""
) -> Picture:
    """Draw named series over one axis, each with its own colour, dash pattern and mark.

    Args:
        x: where the values stand; 1, 2, 3 ... if left out.
        log: whether the vertical axis is logarithmic.
    """
    figure = new_figure(title=title)
    axes = figure.subplots()
    draw_curves(axes, series, x)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set_yscale("log")
    axes.legend(loc="best")
    return figure


@style()
def learning_curves(
    series: Series,
    *,
    watched: str | None = None,
    best: Callable[[Sequence[float]], Any] = np.argmax,
    stopped: float | None = None,
    passes: Sequence[float] | None = None,
    ylabel: str = "accuracy (share right)",
    title: str = "",
) -> Picture:
    """Draw learning curves; mark the best pass of the watched one and where early stopping stops (chapter 8).

    Args:
        watched: the name of the series whose best pass is marked; none if left out.
        best: finds the best place of a series: `np.argmax` for accuracies, `np.argmin` for errors.
        stopped: the pass at which early stopping ends the training.
        passes: the passes at which the values were measured; 1, 2, 3 ... if left out.
    """
    figure = curves(series, "pass over the training data", ylabel, x=passes, title=title)
    axes = figure.axes[0]
    if watched is not None:
        if watched not in series:
            raise ValueError(f"there is no series {watched!r} to watch, only {', '.join(series)}")
        values = series[watched]
        place = int(best(values))
        at = _places(values, passes)[place]
        label = f"best {watched}: {values[place]:.4g} at pass {at:g}"
        axes.plot([at], [values[place]], "o", color="none", markeredgecolor=BLACK, markersize=11, label=label)
    if stopped is not None:
        axes.axvline(stopped, color=GREY, linestyle=":", label=f"early stopping: pass {stopped:g}")
    axes.legend(loc="best")
    return figure


def draw_curves(axes: Axes, series: Series, x: Sequence[float] | None = None) -> None:
    """Draw named series into axes that are there."""
    if not series:
        raise ValueError("there is nothing to draw: no series was given")
    for number, (name, values) in enumerate(series.items()):
        axes.plot(
            _places(values, x),
            values,
            color=COLOURS[number % len(COLOURS)],
            linestyle=DASHES[(number + number // len(COLOURS)) % len(DASHES)],  # the eighth has its own pair too
            marker=MARKERS[number % len(MARKERS)] if len(values) <= FEW else "",
            label=name,
        )
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    plain_numbers(axes)


def plain_numbers(axes: Axes) -> None:
    """Write the numbers of the vertical axis in full, without an offset to add mentally."""
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def _places(values: Sequence[float], x: Sequence[float] | None) -> Sequence[float]:
    if x is None:
        return range(1, len(values) + 1)
    if len(x) != len(values):
        raise ValueError(f"{len(values)} values do not fit {len(x)} places on the horizontal axis")
    return x
