"""Arrays as coloured cells: what pictures of weights, kernels, vectors and updates share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage

from book.pictures.style import INK, SIGNED, bare
from core.ops import Array


def symmetric_limit(values: npt.ArrayLike) -> float:
    """Return the largest absolute value, or 1 if all are 0: the end of a scale with zero in its middle."""
    numbers = np.asarray(values)
    return float(np.abs(numbers).max(initial=0)) or 1.0


def show_signed(
    axes: Axes, values: Array, limit: float | None = None, aspect: Literal["equal", "auto"] = "equal"
) -> AxesImage:
    """Show a matrix in colours symmetric around zero, from -limit to limit."""
    limit = symmetric_limit(values) if limit is None else limit
    return bare(axes).imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest", aspect=aspect)


def show_all_signed(grid: Iterable[Axes], values: Array, names: Iterable[str], size: float = 11) -> AxesImage:
    """Show matrices, shape (matrices, rows, columns), on one scale with zero in its middle; return the last image."""
    limit = symmetric_limit(values)
    for axes, matrix, name in zip(grid, values, names, strict=False):
        shown = show_signed(axes, matrix, limit)
        axes.set_title(name, fontsize=size)
    return shown


def show_ink(axes: Axes, image: Array) -> AxesImage:
    """Show an image whose numbers go from 0 (paper) to 1 (ink)."""
    return bare(axes).imshow(image, cmap=INK, vmin=0, vmax=max(1.0, float(image.max())), interpolation="nearest")


def text_colour(share: float, colours: Colormap = SIGNED) -> str:
    """Return black or white, whichever reads better on the colour at this share (0 to 1) of a map."""
    red, green, blue, _ = colours(share)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def write_numbers(axes: Axes, values: Array, limit: float, form: str = "{:+.2g}", size: float = 9) -> None:
    """Write each number of a matrix shown by `show_signed` into its cell."""
    for (row, column), value in np.ndenumerate(values):
        colour = text_colour((float(value) / limit + 1) / 2)
        axes.text(column, row, form.format(value), ha="center", va="center", color=colour, fontsize=size)
