"""Vectors of words, seen in two dimensions and as strips (chapters 11 and 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from core.ops import Array
from core.pictures.curves import curves
from core.pictures.heat import show_signed
from core.pictures.style import COLOURS, GREY, MARKERS, Picture, new_figure, settle, style

# Where a label may stand, in points from its dot, the nearest first.
PLACES = [
    (distance * right, distance * up)
    for distance in (6, 11)
    for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
]


def principal_axes(vectors: npt.ArrayLike, count: int = 2) -> tuple[Array, Array]:
    """Return the coordinates on the axes along which the vectors differ most, and each axis's share of the variance.

    Args:
        vectors: shape (n, dim), dim at least `count`.

    Returns:
        Coordinates, shape (n, count), around their mean; shares, shape (count,), which sum to at most 1.
    """
    rows = np.asarray(vectors, float)
    if rows.ndim != 2 or min(rows.shape) < count:
        raise ValueError(
            f"vectors of shape {rows.shape} have no {count} axes: (n, dim), both at least {count}, is needed"
        )
    left, lengths, right = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    # The sign of an axis is arbitrary: make its largest entry positive, the same on every machine.
    signs = np.sign(right[np.arange(count), np.abs(right[:count]).argmax(axis=1)])
    total = float((lengths**2).sum()) or 1.0
    return left[:, :count] * lengths[:count] * signs, lengths[:count] ** 2 / total


@style()
def word_map(
    words: Sequence[str], vectors: npt.ArrayLike, groups: Sequence[str] | None = None, title: str = ""
) -> Picture:
    """Scatter words by their vectors; more than two dimensions by their two principal axes (chapters 11 and 12).

    The axes' labels say what share of the variance they keep. A word for whose label there is no room keeps its
    dot only, and the corner says how many those are.

    Args:
        vectors: shape (words, dim).
        groups: a name of the group of each word, for colours and marks.
    """
    rows = _checked(words, vectors)
    figure = new_figure(6.4, 5.4, title)
    axes = figure.subplots()
    if rows.shape[1] == 2:
        points = rows
        axes.set(xlabel="dimension 0", ylabel="dimension 1")
    else:
        points, shares = principal_axes(rows)
        kept = [f"principal axis {axis} ({share:.1%} of the variance)" for axis, share in enumerate(shares, start=1)]
        axes.set(xlabel=kept[0], ylabel=kept[1])
    _scatter(axes, points, groups)
    axes.margins(0.1)
    axes.set_title(" ", fontsize=9, color=GREY, loc="right")  # room for what `_label` has to say
    _label(figure, axes, words, points)
    return figure


@style()
def vector_strips(words: Sequence[str], vectors: npt.ArrayLike, title: str = "") -> Picture:
    """Show each word's vector as a strip of colours, all on one scale with zero in its middle (chapters 11 and 12)."""
    rows = _checked(words, vectors)
    figure = new_figure(7.0, 1.1 + 0.3 * len(words), title)
    axes = figure.subplots()
    image = show_signed(axes, rows, aspect="auto")
    axes.set_yticks(range(len(words)), words)
    axes.hlines(np.arange(1, len(words)) - 0.5, -0.5, rows.shape[1] - 0.5, color="white", linewidth=2)
    step = max(1, rows.shape[1] // 10)
    axes.set_xticks(range(0, rows.shape[1], step))
    axes.set_xlabel("dimension")
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="entry", fraction=0.04)
    return figure


def vector_lines(words: Sequence[str], vectors: npt.ArrayLike, title: str = "") -> Picture:
    """Draw each word's vector as a line over its dimensions: for a few words side by side (chapters 11 and 12)."""
    rows = _checked(words, vectors)
    series = {word: row.tolist() for word, row in zip(words, rows, strict=True)}
    return curves(series, "dimension", "entry", x=range(rows.shape[1]), title=title)


def _checked(words: Sequence[str], vectors: npt.ArrayLike) -> Array:
    rows = np.asarray(vectors, float)
    if rows.ndim != 2 or len(rows) != len(words) or rows.shape[1] < 2:
        raise ValueError(f"vectors of shape {rows.shape} do not fit {len(words)} words: (words, dim) with dim > 1")
    return rows


def _scatter(axes: Axes, points: Array, groups: Sequence[str] | None) -> None:
    names = [""] * len(points) if groups is None else list(groups)
    for number, name in enumerate(dict.fromkeys(names)):
        members = points[[member == name for member in names]]
        axes.scatter(
            members[:, 0],
            members[:, 1],
            s=26,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            label=name,
        )
    if groups is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=4)


def _label(figure: Picture, axes: Axes, words: Sequence[str], points: Array) -> None:
    """Write each word at the first place near its dot where it covers nothing."""
    canvas = FigureCanvasAgg(figure)
    settle(figure)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    inside = axes.get_window_extent(renderer)
    dots = axes.transData.transform(points)
    taken: list[Bbox] = []
    left_out = 0
    for word, point in zip(words, points, strict=True):
        label = axes.annotate(word, (point[0], point[1]), (0, 0), textcoords="offset points", fontsize=9)
        for right, up in PLACES:
            label.set_position((right, up))
            label.set_horizontalalignment("left" if right > 0 else "right" if right < 0 else "center")
            label.set_verticalalignment("bottom" if up > 0 else "top" if up < 0 else "center")
            box = label.get_window_extent(renderer)
            if _fits(box, inside, dots, taken):
                taken.append(box)
                break
        else:
            label.remove()
            left_out += 1
    if left_out:
        text = f"{left_out} of {len(words)} words without a label, for want of room"
        axes.set_title(text, fontsize=9, color=GREY, loc="right")


def _fits(box: Bbox, inside: Bbox, dots: Array, taken: Sequence[Bbox]) -> bool:
    within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
    return within and not box.padded(3).count_contains(dots) and not box.count_overlaps(taken)
