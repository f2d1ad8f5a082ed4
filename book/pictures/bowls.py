"""The error as a bowl over one weight, and the way a weight takes through it (chapters 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from book.pictures.curves import plain_numbers
from book.pictures.style import BLACK, BLUE, GREY, VERMILLION, Picture, new_figure, style
from core.ops import Array
from core.optim import Move

POINTS = 201


@style()
def error_bowl(error: Callable[[float], float], path: Sequence[Move], title: str = "") -> Picture:
    """Draw the error over one weight, the weight's way, and the tangent where it stands now (chapter 4).

    Args:
        error: the error of a weight.
        path: weights and errors, the current one last. Of a descent that diverges give the first few moves only:
            errors that grow without bound leave the first ones no room.
    """
    figure = new_figure(title=title)
    axes = figure.subplots()
    weights = np.array([move.weight for move in _not_empty(path)])
    span = _span(error, weights, 1.25 * max(move.error for move in path))
    _draw_bowl(axes, error, span)
    _draw_way(axes, path)
    _draw_tangent(axes, error, path[-1], span)
    axes.set(xlabel="weight", ylabel="error")
    axes.legend(loc="best")
    return figure


@style()
def error_bowls(
    error: Callable[[Array], float],
    path: npt.ArrayLike,
    names: Sequence[str] | None = None,
    frozen: Collection[int] = (),
    title: str = "",
) -> Picture:
    """Draw one bowl for each of several weights, the others held where they are now (chapter 5).

    The errors share one scale; each weight has its own, wide enough to show both sides of its bowl.

    Small dots are earlier weights at the error of their time: they need not lie on the bowl, because the other
    weights were elsewhere then.

    Args:
        error: the error of all weights, shape (weights,).
        path: the weights at each step, shape (steps, weights), the current ones last.
        frozen: numbers of the weights that are not changed.
    """
    steps = np.atleast_2d(np.asarray(path, float))
    now = steps[-1]
    titles = [f"weight {number}" for number in range(len(now))] if names is None else list(names)
    if len(titles) != len(now):
        raise ValueError(f"{len(titles)} names do not fit {len(now)} weights")
    figure = new_figure(max(3.4, 2.9 * len(now)), 3.5, title)
    errors = np.array([error(weights) for weights in steps])
    top = 1.25 * (float(errors.max()) or 1.0)
    all_axes = np.atleast_1d(np.asarray(figure.subplots(1, len(now), sharey=True)))
    for number, axes in enumerate(all_axes):
        way = [Move(float(weights[number]), float(height)) for weights, height in zip(steps, errors, strict=True)]
        _draw_one_of_several(axes, _slice(error, now, number), way, top, frozen=number in frozen)
        axes.set_title(titles[number] + (" (frozen)" if number in frozen else ""))
    all_axes[0].set_ylabel("error")
    return figure


@style()
def descent_trace(
    path: Sequence[Move], predictions: Sequence[float] = (), target: float | None = None, title: str = ""
) -> Picture:
    """Draw weight, error and, if given, prediction step by step (chapters 4 and 5)."""
    if len(predictions) not in (0, len(path)):
        raise ValueError(f"{len(predictions)} predictions do not fit {len(path)} steps")
    rows = {"weight": [move.weight for move in _not_empty(path)], "error": [move.error for move in path]}
    if len(predictions):
        rows["prediction"] = list(predictions)
    figure = new_figure(6.4, 1.7 * len(rows), title)
    all_axes = np.atleast_1d(np.asarray(figure.subplots(len(rows), 1, sharex=True)))
    for axes, (name, values) in zip(all_axes, rows.items(), strict=True):
        axes.plot(range(len(values)), values, "o-", color=VERMILLION if name == "error" else BLUE)
        axes.set_ylabel(name)
        plain_numbers(axes)
    if len(predictions) and target is not None:
        all_axes[-1].axhline(target, color=BLACK, linestyle="--", linewidth=1, label=f"target {target:g}")
        all_axes[-1].legend(loc="center right")
    all_axes[-1].set_xlabel("step")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.align_ylabels()
    return figure


def slope_at(error: Callable[[float], float], weight: float) -> float:
    """Return the slope of the error at a weight: the central difference, exact for a parabola."""
    step = 1e-4 * max(1.0, abs(weight))
    return (error(weight + step) - error(weight - step)) / (2 * step)


def _not_empty(path: Sequence[Move]) -> Sequence[Move]:
    if not path:
        raise ValueError("a path needs at least one weight: the current one")
    return path


def _span(error: Callable[[float], float], weights: Array, top: float) -> tuple[float, float]:
    """Return the range of weights to show: all of the way, and both sides of the bowl up to the error `top`.

    Where the error is no bowl around the current weight, only the way and some room.
    """
    low, high, now = float(weights.min()), float(weights.max()), float(weights[-1])
    step = 1e-3 * max(1.0, abs(now))
    curvature = (error(now + step) - 2 * error(now) + error(now - step)) / step**2
    bottom = now - slope_at(error, now) / curvature if curvature > 0 else now
    rise = top - error(bottom)
    if curvature > 0 and rise > 0 and error(bottom) <= error(now):
        half = (2 * rise / curvature) ** 0.5
        low, high = min(low, bottom - half), max(high, bottom + half)
    room = 0.03 * (high - low) or 0.1
    return low - room, high + room


def _slice(error: Callable[[Array], float], weights: Array, number: int) -> Callable[[float], float]:
    """Return the error as a function of one weight, the others held."""

    def of_one(weight: float) -> float:
        changed = weights.copy()
        changed[number] = weight
        return float(error(changed))

    return of_one


def _draw_bowl(axes: Axes, error: Callable[[float], float], span: tuple[float, float]) -> None:
    grid = np.linspace(*span, POINTS)
    axes.plot(grid, [error(float(weight)) for weight in grid], color=BLUE)
    axes.set_xlim(*span)


def _draw_one_of_several(
    axes: Axes, error: Callable[[float], float], way: Sequence[Move], top: float, *, frozen: bool
) -> None:
    span = _span(error, np.array([move.weight for move in way]), top)
    _draw_bowl(axes, error, span)
    earlier = np.array([_point(move) for move in way[:-1]]).reshape(-1, 2)
    axes.plot(earlier[:, 0], earlier[:, 1], "o", color=GREY, markersize=4, label="earlier")
    if frozen:
        axes.plot(*_point(way[-1]), "s", color=BLACK, markersize=9, label="frozen")
        axes.set_facecolor("#ededed")
    else:
        axes.plot(*_point(way[-1]), "o", color=VERMILLION, markersize=8, label="now")
        _draw_tangent(axes, error, way[-1], span)
    axes.set(xlabel="weight", ylim=(-0.1 * top, 1.45 * top))
    axes.legend(loc="upper center", ncols=2, columnspacing=1, handletextpad=0.4)


def _draw_way(axes: Axes, path: Sequence[Move]) -> None:
    weights, errors = [move.weight for move in path], [move.error for move in path]
    for before, after in pairwise(path):
        axes.annotate(
            "",
            _point(after),
            _point(before),
            arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.1, "shrinkA": 3, "shrinkB": 4},
        )
    if len(path) > 1:
        axes.plot(weights[:-1], errors[:-1], "o", color=BLACK, label="earlier steps")
        if len(path) <= 12:
            _number_steps(axes, path)
    axes.plot(weights[-1:], errors[-1:], "o", color=VERMILLION, markersize=9, label=f"now: weight {weights[-1]:.4g}")


def _number_steps(axes: Axes, path: Sequence[Move]) -> None:
    """Number the steps, on the outer side of the bowl, as far as the numbers can be read."""
    (left, right), top = axes.get_xlim(), axes.get_ylim()[1]
    placed: list[Move] = []
    for step, move in enumerate(path):
        if any(
            abs(move.error - other.error) < 0.06 * top and abs(move.weight - other.weight) < 0.05 * (right - left)
            for other in placed
        ):
            continue
        outward = 12 if move.weight >= (left + right) / 2 else -12
        axes.annotate(str(step), _point(move), (outward, 0), textcoords="offset points", ha="center", va="center")
        placed.append(move)


def _draw_tangent(axes: Axes, error: Callable[[float], float], at: Move, span: tuple[float, float]) -> None:
    slope = slope_at(error, at.weight)
    half = 0.2 * (span[1] - span[0])
    ends = np.array([at.weight - half, at.weight + half])
    bottom, top = axes.get_ylim()
    axes.plot(ends, at.error + slope * (ends - at.weight), "--", color=VERMILLION, label=f"slope {slope:.3g}")
    axes.set_ylim(min(bottom, -0.05 * top), top)


def _point(move: Move) -> tuple[float, float]:
    return move.weight, move.error
