"""Vectors of words, seen in two dimensions and as strips (chapters 11 and 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from book.pictures.curves import curves
from book.pictures.heat import show_signed
from book.pictures.style import COLOURS, GREY, MARKERS, Picture, new_figure, settle, style
from core.ops import Array

# Where a label may stand, in points from its dot, the nearest first: next to it, or farther off with a line to it.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
Places = Sequence[tuple[float, float]]
NEARER: Places = [(far * right, far * up) for far in (6, 11) for right, up in DIRECTIONS]
FARTHER: Places = [
    (float(far * np.cos(angle)), float(far * np.sin(angle)))
    for far in (22, 30, 40, 52, 66, 82)
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False)
]
DOT = 6.0  # pixels from a dot's middle that a line to another dot should not touch
AROUND = 3 * DOT  # but through dots so close to its start it may run: there is no other way out of a crowd
CROWD, CLOSE = 2, 16.0  # a dot with that many others closer than this, in points, is crowded


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

    The axes' labels say what share of the variance they keep. Where dots crowd, a thin line leads from a dot to its
    word. A word for whose label there is no room at all keeps its dot only, and the corner says how many those are.

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


@dataclass
class _Room:
    """What there is to keep clear of, in pixels.

    Attributes:
        inside: where labels may stand.
        dots: shape (words, 2).
        labels: those that are placed.
        lines: from dots to the labels farther off.
    """

    inside: Bbox
    dots: Array
    labels: list[Bbox] = field(default_factory=list)
    lines: list[Path] = field(default_factory=list)

    def fits(self, label: Bbox) -> bool:
        inside = self.inside
        within = inside.x0 <= label.x0 and label.x1 <= inside.x1 and inside.y0 <= label.y0 and label.y1 <= inside.y1
        covers = label.padded(3).count_contains(self.dots) or label.padded(2).count_overlaps(self.labels)
        return bool(within and not covers and not any(line.intersects_bbox(label, False) for line in self.lines))

    def is_clear(self, line: Path) -> bool:
        crosses = any(line.intersects_bbox(label, False) for label in self.labels)
        return not (crosses or self._passes_a_dot(line) or any(line.intersects_path(other) for other in self.lines))

    def _passes_a_dot(self, line: Path) -> bool:
        """Tell whether a line runs through a dot, other than those that crowd around its start."""
        start, end = np.asarray(line.vertices, float)
        way, gaps = end - start, self.dots - start
        along = (gaps @ way / (way @ way)).clip(0, 1)
        passed = np.hypot(*(gaps - along[:, None] * way).T) < DOT
        return bool((passed & (np.hypot(*gaps.T) > AROUND)).any())


def _label(figure: Picture, axes: Axes, words: Sequence[str], points: Array) -> None:
    """Write each word at the first place near its dot where it covers nothing, or farther off with a line to it."""
    canvas = FigureCanvasAgg(figure)
    settle(figure)
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    room = _Room(axes.get_window_extent(renderer), axes.transData.transform(points))
    ways = _ways_out(room.dots, CLOSE * figure.dpi / 72)
    crowded = [n for n in range(len(words)) if ways[n].any()]
    crowded.sort(key=lambda n: float(np.arctan2(ways[n][1], ways[n][0])))
    waiting = [
        n for n in crowded if not _place(axes, words[n], room.dots[n], _outwards(ways[n]), room, renderer, lines=True)
    ]
    waiting += [n for n in range(len(words)) if n not in crowded]
    for places in (NEARER, FARTHER):
        lines = places is FARTHER
        waiting = [n for n in waiting if not _place(axes, words[n], room.dots[n], places, room, renderer, lines=lines)]
    if waiting:
        text = f"{len(waiting)} of {len(words)} words without a label, for want of room"
        axes.set_title(text, fontsize=9, color=GREY, loc="right")


def _ways_out(dots: Array, close: float) -> Array:
    """Return which way leads out of the crowd around each dot, shape (words, 2), of length 1; 0 without a crowd."""
    gaps = dots[:, None] - dots
    near = (gaps**2).sum(axis=2) < close**2
    out = np.where(near[..., None], gaps, 0).sum(axis=1)
    out[near.sum(axis=1) <= CROWD] = 0
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    ways: Array = np.divide(out, lengths, out=np.zeros_like(out), where=lengths > 0)
    return ways


def _outwards(way: Array) -> Places:
    """Return the farther places, those first that lie near and in the direction of `way`."""
    return sorted(FARTHER, key=lambda place: float(1.5 * np.hypot(*place) - np.dot(place, way)))


def _place(
    axes: Axes, word: str, dot: Array, places: Places, room: _Room, renderer: RendererBase, *, lines: bool
) -> bool:
    """Write a word at the first of some places that is free; say whether there was one.

    Args:
        dot: where the word belongs, in pixels, shape (2,).
        lines: whether to draw a line from the dot to the word.
    """
    to_data = axes.transData.inverted()
    label = axes.annotate(word, tuple(to_data.transform(dot)), (0, 0), textcoords="offset points", fontsize=9)
    for right, up in places:
        label.set_position((right, up))
        label.set_horizontalalignment("left" if right > 0 else "right" if right < 0 else "center")
        label.set_verticalalignment("bottom" if up > 0 else "top" if up < 0 else "center")
        box = label.get_window_extent(renderer)
        line = Path([dot, dot.clip(box.min, box.max)])
        if not room.fits(box) or (lines and not room.is_clear(line)):
            continue
        room.labels.append(box)
        if lines:
            room.lines.append(line)
            axes.add_artist(Line2D(*to_data.transform(line.vertices).T, color=GREY, linewidth=0.7, zorder=1))
        return True
    label.remove()
    return False
