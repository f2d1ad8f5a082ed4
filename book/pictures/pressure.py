"""Weight pressure: which way each example pushes each weight, and what is left when all have pushed (chapter 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from book.pictures.style import BLACK, Picture, bare, new_figure, style
from core.ops import Array

TINTS = ListedColormap(["#b3d4ee", "white", "#f8d9a0"])


@dataclass(frozen=True)
class Pressure:
    """The push on each weight by each example, shape (examples, weights), and its sum for each weight, (weights,)."""

    pushes: Array
    sums: Array


def weight_pressure(inputs: npt.ArrayLike, targets: npt.ArrayLike) -> Pressure:
    """Return how each example pushes each weight: input times +1 for target 1, times -1 for target 0 (chapter 6).

    An input of 0 pushes its weight neither way. A column whose sum is 0 has no say: its pushes cancel.

    Args:
        inputs: shape (examples, weights).
        targets: 0 or 1, shape (examples,).
    """
    rows, wanted = np.asarray(inputs, float), np.asarray(targets, float)
    if rows.ndim != 2 or wanted.shape != rows.shape[:1]:
        raise ValueError(f"inputs of shape {rows.shape} and targets of shape {wanted.shape} should be (n, m) and (n,)")
    if not np.isin(wanted, (0, 1)).all():
        raise ValueError("targets must be 0 (the output is to go down) or 1 (up)")
    pushes = rows * np.where(wanted == 1, 1.0, -1.0)[:, None]
    return Pressure(pushes, pushes.sum(axis=0))


@style()
def pressure_table(
    inputs: npt.ArrayLike, targets: npt.ArrayLike, names: Sequence[str] | None = None, title: str = ""
) -> Picture:
    """Draw inputs and targets next to the weight pressure with its sums (chapter 6)."""
    pressure = weight_pressure(inputs, targets)
    rows, wanted = np.asarray(inputs, float), np.asarray(targets, float)
    examples, weights = rows.shape
    columns = [f"{number}" for number in range(weights)] if names is None else list(names)
    if len(columns) != weights:
        raise ValueError(f"{len(columns)} names do not fit {weights} weights")
    figure = new_figure(1.6 + 1.3 * weights, 1.4 + 0.45 * examples, title)
    widths = [weights + 1, weights]
    left, right = np.asarray(figure.subplots(1, 2, width_ratios=widths))
    given = np.vstack([np.column_stack([rows, wanted]), np.full(weights + 1, np.nan)])
    pushed = np.vstack([pressure.pushes, pressure.sums])
    _table(left, given, "{:g}", "inputs and target", [*columns, "target"])
    left.vlines(weights - 0.5, -0.5, examples - 0.5, color=BLACK, linewidth=1.5)
    _table(right, pushed, "{:+g}", "weight pressure", columns)
    right.axhline(examples - 0.5, color=BLACK, linewidth=1.5)
    right.set_yticks([examples], ["sum"])
    return figure


def _table(axes: Axes, values: Array, form: str, title: str, columns: Sequence[str]) -> None:
    """Write a matrix as a table, with a tint for plus and another for minus where signs are written."""
    tinted = np.sign(values) if "+" in form else np.zeros(values.shape)
    bare(axes).imshow(tinted, cmap=TINTS, vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, form.format(value) if value else "0", ha="center", va="center", fontsize=11)
    axes.set_title(title)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(length=0)
