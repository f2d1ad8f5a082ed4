"""A network of any size as strips (vectors) and boxes (matrices), with all shapes (chapter 7)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from book.pictures.heat import symmetric_limit
from book.pictures.network import Stage, function_name, stage_values, stages
from book.pictures.style import BLACK, SIGNED, Picture, bare, new_figure, style
from core.nn import Conv2d, Module
from core.ops import Array

GAP, WIDTH, CELL = 0.45, 0.5, 0.4
CELLS = 8  # vectors up to this long are drawn to scale
PAPER, MATRIX = "#f3f3f3", "#cfe3f2"


@style()
def draw_strips(model: Module, inputs: npt.ArrayLike | None = None, title: str = "") -> Picture:
    """Draw what each stage gives as a strip, and its weights as boxes, with shapes (chapter 7).

    Args:
        inputs: one example, as `stage_values` takes it; its numbers then colour the strips, each on its own scale.
            Needed where the model starts with kernels: its shape decides all others.

    Raises:
        ValueError: the model is no chain of known layers, or the example does not fit.
    """
    found = stages(model)
    values = stage_values(model, inputs)
    figure = new_figure(title=title)
    axes = bare(figure.subplots())
    right, top = 0.0, 0.0
    for place, (stage, value) in enumerate(zip(found, values, strict=True)):
        if stage.layer is not None:
            right, height = _draw_weights(axes, right + GAP, stage)
            top = max(top, height)
        if stage.functions or stage.layer is not None:
            right = _draw_functions(axes, right, stage)
        right, height = _draw_value(axes, right, f"l{place}", value, coloured=inputs is not None)
        top = max(top, height)
    axes.set(xlim=(-0.5, right + 0.5), ylim=(-top / 2 - 1.0, top / 2 + 0.5), aspect="equal")
    figure.set_size_inches(max(4.0, 0.62 * right + 0.6), max(2.0, 0.5 * (top + 1.5)))
    return figure


def side(size: int) -> float:
    """Return the length that `size` numbers are drawn at: to scale while they are few, then growing slowly."""
    return CELL * size if size <= CELLS else CELL * CELLS + 0.3 * math.log2(size / CELLS)


def _draw_weights(axes: Axes, left: float, stage: Stage) -> tuple[float, float]:
    """Draw a box for the weights; return its right end and its height."""
    assert stage.layer is not None
    shape = stage.layer.weight.shape
    if isinstance(stage.layer, Conv2d):
        width, height = side(4), side(4)
        text = f"{shape[0]} kernels\n{' × '.join(map(str, shape[1:]))}"
    else:
        width, height = side(shape[1]), side(shape[0])
        text = f"{shape[0]:,} × {shape[1]:,}"
    axes.add_patch(Rectangle((left, -height / 2), width, height, facecolor=MATRIX, edgecolor=BLACK))
    axes.text(left + width / 2, 0, stage.matrix, ha="center", va="center", fontsize=11)
    if stage.bias is not None:
        text += f"\n+ {stage.bias}: {shape[0] if isinstance(stage.layer, Conv2d) else shape[1]}"
    axes.text(left + width / 2, -height / 2 - 0.12, text, ha="center", va="top", fontsize=8)
    return left + width, height


def _draw_functions(axes: Axes, left: float, stage: Stage) -> float:
    """Draw an arrow with the functions' names; return its right end."""
    names = [function_name(function) for function in stage.functions]
    length = 0.9 + 0.13 * max(map(len, names), default=0)
    axes.annotate(
        "",
        (left + length - 0.1, 0),
        (left + 0.15, 0),
        arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 1.2},
    )
    axes.text(left + length / 2, 0.12, "\n".join(names), ha="center", va="bottom", fontsize=9)
    return left + length


def _draw_value(axes: Axes, left: float, name: str, value: Array, coloured: bool) -> tuple[float, float]:
    """Draw what a stage gives; return its right end and its height."""
    shape = value.shape
    if value.ndim == 3:
        width = height = side(shape[1])
        for sheet in range(min(3, shape[0]) - 1, 0, -1):
            _box(axes, left + 0.12 * sheet, 0.12 * sheet, width, height)
    else:
        height = side(shape[0]) if shape else CELL
        width = side(shape[1]) if value.ndim == 2 else WIDTH
    _box(axes, left, 0, width, height)
    if coloured and value.ndim <= 3 and value.dtype.kind == "f":  # word numbers are no sizes
        _colour(axes, left, width, height, value)
    if value.ndim == 1 and len(value) <= CELLS:
        axes.hlines(
            [CELL * cell - height / 2 for cell in range(len(value))], left, left + width, BLACK, linewidth=0.8, zorder=3
        )
    sizes = " × ".join(f"{size:,}" for size in shape) if shape else "1"
    axes.text(left + width / 2, -height / 2 - 0.12, f"{name}\n{sizes}", ha="center", va="top", fontsize=9)
    return left + width + 0.24 * (value.ndim == 3 and shape[0] > 1), height


def _box(axes: Axes, left: float, up: float, width: float, height: float) -> None:
    axes.add_patch(Rectangle((left, up - height / 2), width, height, facecolor=PAPER, edgecolor=BLACK))


def _colour(axes: Axes, left: float, width: float, height: float, value: Array) -> None:
    """Fill the box with the numbers: of a stack of maps, those of the first."""
    shown = value[0] if value.ndim == 3 else np.atleast_1d(value).reshape(len(np.atleast_1d(value)), -1)
    limit = symmetric_limit(shown)
    extent = (left, left + width, -height / 2, height / 2)
    axes.imshow(
        shown, cmap=SIGNED, vmin=-limit, vmax=limit, extent=extent, interpolation="nearest", aspect="auto", zorder=2
    )
    axes.add_patch(Rectangle((left, -height / 2), width, height, fill=False, edgecolor=BLACK, zorder=3))
