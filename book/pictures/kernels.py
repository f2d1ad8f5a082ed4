"""What the kernels of a convolution look for, and where they find it (chapter 10)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.patches import Rectangle

from book.pictures.heat import show_all_signed, show_ink, show_signed, symmetric_limit, write_numbers
from book.pictures.style import VERMILLION, Picture, bare, new_figure, style
from core.nn import Conv2d
from core.ops import Array
from core.tensor import no_grad

COLUMNS = 8


@dataclass(frozen=True)
class Answer:
    """What a kernel says to one window: the image, the place in the map of answers, and the answer."""

    image: int
    row: int
    column: int
    value: float


@style()
def kernel_pictures(layer: Conv2d, channel: int = 0, title: str = "") -> Picture:
    """Show the kernels of a convolution, all on one scale with zero in its middle (chapter 10).

    Args:
        channel: which input channel's part of the kernels.
    """
    kernels = layer.weight.data[:, channel]
    figure, grid = _grid(len(kernels), title)
    shown = show_all_signed(grid, kernels, map("kernel {}".format, itertools.count()), size=9)
    figure.colorbar(shown, ax=list(grid), label="weight", fraction=0.03)
    return figure


@style()
def kernel_maps(layer: Conv2d, image: npt.ArrayLike, title: str = "") -> Picture:
    """Show an image and the map that every kernel makes of it, before any activation (chapter 10).

    Args:
        image: shape (height, width) or (channels, height, width).
    """
    images = _as_images(image, layer)
    maps = _answers(layer, images[:1])[0]
    figure, grid = _grid(len(maps) + 1, title)
    show_ink(grid[0], images[0].mean(axis=0))
    grid[0].set_title("image", fontsize=9)
    shown = show_all_signed(grid[1:], maps, map("kernel {}".format, itertools.count()), size=9)
    figure.colorbar(shown, ax=list(grid), label="answer", fraction=0.03)
    return figure


def strongest_answers(layer: Conv2d, images: npt.ArrayLike, kernel: int, count: int = 6) -> list[Answer]:
    """Return where a kernel answers strongest: the best place of each image, the best images first.

    Args:
        images: shape (n, height, width) or (n, channels, height, width).
    """
    maps = _answers(layer, _as_images(images, layer))[:, kernel]
    best = maps.reshape(len(maps), -1).argmax(axis=1)
    rows, columns = np.unravel_index(best, maps.shape[1:])
    values = maps[np.arange(len(maps)), rows, columns]
    order = np.argsort(-values, kind="stable")[:count]
    return [Answer(int(i), int(rows[i]), int(columns[i]), float(values[i])) for i in order]


@style()
def strongest_picture(layer: Conv2d, images: npt.ArrayLike, kernel: int, count: int = 6, title: str = "") -> Picture:
    """Show a kernel and the images with the windows to which it answers strongest (chapter 10)."""
    pictures = _as_images(images, layer)
    answers = strongest_answers(layer, pictures, kernel, count)
    height, width = layer.weight.shape[2:]
    figure = new_figure(1.35 * (len(answers) + 1), 3.1, title)
    grid = np.asarray(figure.subplots(2, len(answers) + 1, squeeze=False))
    weights = layer.weight.data[kernel, 0]
    show_signed(grid[0, 0], weights)
    grid[0, 0].set_title(f"kernel {kernel}", fontsize=9)
    if weights.size <= 9:
        write_numbers(grid[0, 0], weights, symmetric_limit(weights), "{:+.1f}", 7)
    bare(grid[1, 0]).text(0.5, 0.5, "the windows\nit likes best", ha="center", va="center", fontsize=9)
    for (above, below), answer in zip(grid.T[1:], answers, strict=True):
        image = pictures[answer.image].mean(axis=0)
        top = answer.row * layer.stride[0] - layer.padding
        left = answer.column * layer.stride[1] - layer.padding
        show_ink(above, image).axes.set_title(f"answer {answer.value:.3g}", fontsize=9)
        above.add_patch(
            Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=VERMILLION, linewidth=1.8)
        )
        padded = np.pad(image, layer.padding)
        top, left = top + layer.padding, left + layer.padding
        show_ink(below, padded[top : top + height, left : left + width])
        below.spines[:].set(visible=True, color=VERMILLION)
    return figure


def _grid(count: int, title: str) -> tuple[Picture, Array]:
    rows = math.ceil(count / COLUMNS)
    columns = math.ceil(count / rows)
    figure = new_figure(1.0 + 1.05 * columns, 0.5 + 1.2 * rows, title)
    grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes in grid[count:]:
        bare(axes)
    return figure, grid


def _as_images(images: npt.ArrayLike, layer: Conv2d) -> Array:
    """Return (n, channels, height, width) for one image or several, with or without an axis of channels."""
    array, channels = np.asarray(images, layer.weight.dtype), layer.weight.shape[1]
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3:
        array = array[None] if channels > 1 or len(array) == 1 else array[:, None]
    if array.ndim != 4 or array.shape[1] != channels:
        raise ValueError(
            f"images of shape {np.shape(images)} do not fit kernels of shape "
            f"{layer.weight.shape}: {channels} channels are needed"
        )
    return array


def _answers(layer: Conv2d, images: Array) -> Array:
    with no_grad():
        return layer(images).data
