"""A small network as nodes and edges (chapter 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from book.pictures.heat import symmetric_limit, text_colour
from book.pictures.network import Stage, function_name, stage_values, stages
from book.pictures.style import BLACK, BLUE, GREY, SIGNED, VERMILLION, Picture, bare, new_figure, style
from core.nn import Conv2d, Embedding, EmbeddingBag, Module
from core.ops import Array

RADIUS, APART = 0.36, 3.0
THICKEST = 3.5


@dataclass(frozen=True)
class Column:
    """The nodes of one stage that are drawn.

    Attributes:
        size: how many numbers the stage gives.
        numbers: which of them are drawn.
        heights: where, the first on top.
    """

    size: int
    numbers: list[int]
    heights: list[float]

    @property
    def gap(self) -> float | None:
        """Where the ellipsis stands, if there is one."""
        return None if len(self.numbers) == self.size else (self.heights[-1] + self.heights[-2]) / 2


@style()
def draw_nodes(model: Module, inputs: npt.ArrayLike | None = None, most: int = 7, title: str = "") -> Picture:
    """Draw a network as nodes and edges; thick edges are large weights (chapter 7).

    Args:
        inputs: one example (word numbers for an embedding), whose numbers are then written into the nodes
            and colour them, all on one scale with zero a middle grey.
        most: how many nodes of a layer to draw; of larger ones the first, an ellipsis and the last.

    Raises:
        ValueError: the model has kernels, or is no chain of known layers.
    """
    if most < 3:
        raise ValueError(f"at least 3 nodes of a layer must be drawn, not {most}")
    found = stages(model)
    matrices = [_matrix(stage) for stage in found[1:]]
    sizes = _sizes(matrices)
    values = None if inputs is None else _node_values(model, inputs, sizes)
    columns = [_column(size, most) for size in sizes]
    figure = new_figure(1.3 + 1.75 * len(matrices), 1.7 + 0.55 * min(most + 1, max(sizes)), title)
    axes = bare(figure.subplots())
    limit = max(symmetric_limit(matrix) for matrix in matrices)
    for place, matrix in enumerate(matrices):
        _draw_edges(axes, place, matrix, columns[place], columns[place + 1], limit)
    largest = max(symmetric_limit(column) for column in values or [np.ones(1)])
    for place, column in enumerate(columns):
        _draw_column(axes, place, column, None if values is None else values[place], largest)
    _captions(axes, found, columns)
    _frame(axes, columns)
    _legend(figure, limit)
    return figure


def _matrix(stage: Stage) -> Array:
    if stage.layer is None or isinstance(stage.layer, Conv2d):
        raise ValueError("kernels cannot be drawn as nodes and edges: draw_strips and kernel_pictures show them")
    return stage.layer.weight.data


def _sizes(matrices: Sequence[Array]) -> list[int]:
    """Return how many nodes each stage has; raise ValueError where two matrices do not meet in as many."""
    for before, after in pairwise(matrices):
        if before.shape[1] != len(after):
            raise ValueError(f"matrices of shapes {before.shape} and {after.shape} do not meet in the same nodes")
    return [len(matrices[0]), *(matrix.shape[1] for matrix in matrices)]


def _node_values(model: Module, inputs: npt.ArrayLike, sizes: Sequence[int]) -> list[Array]:
    """Return the number in each node; for an embedding, how often each word is there."""
    values = stage_values(model, inputs)
    if isinstance(stages(model)[1].layer, Embedding | EmbeddingBag):
        values[0] = np.bincount(np.atleast_1d(values[0]).ravel(), minlength=sizes[0])
    shapes = [value.shape for value in values]
    if shapes != [(size,) for size in sizes]:
        raise ValueError(
            f"the stages give shapes {shapes}, and nodes can only show {', '.join(map(str, sizes))} numbers"
        )
    return values


def _column(size: int, most: int) -> Column:
    numbers = list(range(size)) if size <= most else [*range(most - 1), size - 1]
    places = list(range(size)) if size <= most else [*range(most - 1), most]
    middle = (places[0] + places[-1]) / 2
    return Column(size, numbers, [middle - place for place in places])


def _draw_edges(axes: Axes, place: int, matrix: Array, left: Column, right: Column, limit: float) -> None:
    lines, widths, signs = [], [], []
    for row, low in zip(left.numbers, left.heights, strict=True):
        for column, high in zip(right.numbers, right.heights, strict=True):
            lines.append([(place * APART, low), ((place + 1) * APART, high)])
            widths.append(0.2 + THICKEST * abs(float(matrix[row, column])) / limit)
            signs.append(matrix[row, column] >= 0)
    axes.add_collection(
        LineCollection(
            lines,
            linewidths=widths,
            colors=[VERMILLION if sign else BLUE for sign in signs],
            linestyles=["-" if sign else (0, (3, 1.2)) for sign in signs],
            zorder=1,
        )
    )


def _draw_column(axes: Axes, place: int, column: Column, values: Array | None, limit: float) -> None:
    for number, height in zip(column.numbers, column.heights, strict=True):
        share = None if values is None else (float(values[number]) / limit + 1) / 2
        fill = "white" if share is None else SIGNED(share)
        axes.add_patch(Circle((place * APART, height), RADIUS, facecolor=fill, edgecolor=BLACK, linewidth=1, zorder=2))
        if values is not None and share is not None:
            text = f"{round(float(values[number]), 2) + 0.0:.3g}"  # + 0.0: no "-0"
            axes.text(
                place * APART, height, text, ha="center", va="center", fontsize=7, color=text_colour(share), zorder=3
            )
    if column.gap is not None:
        axes.text(place * APART, column.gap, "⋮", ha="center", va="center", fontsize=14, zorder=3)


def _captions(axes: Axes, found: Sequence[Stage], columns: Sequence[Column]) -> None:
    top = max(column.heights[0] for column in columns) + RADIUS + 0.25
    for place, (stage, column) in enumerate(zip(found, columns, strict=True)):
        names = [f"l{place}", *(function_name(function) for function in stage.functions), f"{column.size:,}"]
        axes.text(place * APART, -top, "\n".join(names), ha="center", va="top", fontsize=9)
        if stage.layer is not None:
            bias = "" if stage.bias is None else f" + {stage.bias}"
            text = f"{stage.matrix}{bias}\n{columns[place - 1].size:,} × {column.size:,}"
            axes.text((place - 0.5) * APART, top, text, ha="center", va="bottom", fontsize=9)


def _frame(axes: Axes, columns: Sequence[Column]) -> None:
    half = max(column.heights[0] for column in columns) + RADIUS
    axes.set_xlim(-0.8, (len(columns) - 1) * APART + 0.8)
    axes.set_ylim(-half - 1.9, half + 1.2)
    axes.set_aspect("equal")


def _legend(figure: Picture, limit: float) -> None:
    lines = [
        Line2D([], [], color=VERMILLION, linewidth=2.5, label="weight above 0"),
        Line2D([], [], color=BLUE, linewidth=2.5, linestyle=(0, (3, 1.2)), label="below 0"),
        Line2D([], [], color=GREY, linewidth=THICKEST, label=f"this thick: ±{limit:.2g}"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=3)
