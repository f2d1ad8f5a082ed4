"""What a layer of weights looks for, as pictures of its input's shape (chapter 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from book.pictures.heat import show_all_signed, show_ink, show_signed
from book.pictures.style import Picture, bare, new_figure, style
from core.nn import Linear
from core.ops import Array

Shape = tuple[int, int]


@style()
def weight_pictures(
    layer: Linear, shape: Shape | None = None, labels: Sequence[str] | None = None, title: str = ""
) -> Picture:
    """Show the weights of each output as a picture, all on one scale with zero in its middle (chapter 5).

    Args:
        layer: weight of shape (pixels, outputs), such as (784, 10).
        shape: height and width of the pictures; square if left out.
        labels: a name for each output; its number if left out.
    """
    pixels, outputs = layer.weight.shape
    pictures = layer.weight.data.T.reshape(outputs, *_picture_shape(pixels, shape))
    names = [str(number) for number in range(outputs)] if labels is None else list(labels)
    if len(names) != outputs:
        raise ValueError(f"{len(names)} labels do not fit {outputs} outputs")
    columns = min(5, outputs)
    rows = math.ceil(outputs / columns)
    figure = new_figure(1.0 + 1.45 * columns, 0.5 + 1.6 * rows, title)
    all_axes = np.atleast_1d(np.asarray(figure.subplots(rows, columns))).ravel()
    shown = show_all_signed(all_axes, pictures, names)
    for axes in all_axes[outputs:]:
        bare(axes)
    figure.colorbar(shown, ax=list(all_axes), label="weight", fraction=0.05)
    return figure


@style()
def score_picture(layer: Linear, image: npt.ArrayLike, output: int, title: str = "") -> Picture:
    """Show how one output's score comes about: image times weights, pixel by pixel, added up (chapter 5).

    Args:
        image: shape (height, width), with as many pixels as the layer has inputs.
        output: the number of the output.
    """
    pixels = np.asarray(image, float)
    if pixels.ndim != 2 or pixels.size != len(layer.weight):
        raise ValueError(f"an image of shape {pixels.shape} does not fit weights of shape {layer.weight.shape}")
    weights = layer.weight.data[:, output].reshape(pixels.shape)
    products = pixels * weights
    figure = new_figure(7.4, 2.9, title)
    first, second, third = np.asarray(figure.subplots(1, 3))
    show_ink(first, pixels).axes.set_title("image")
    _with_bar(figure, second, weights, f"× weights of output {output}")
    _with_bar(figure, third, products, f"= products, sum {products.sum():.3g}")
    if layer.bias is not None:
        bias = float(layer.bias.data[output])
        figure.supxlabel(f"score {products.sum() + bias:.3g} = sum {products.sum():.3g} + bias {bias:.3g}", fontsize=10)
    return figure


def _with_bar(figure: Picture, axes: Axes, values: Array, title: str) -> None:
    figure.colorbar(show_signed(axes, values), ax=axes, fraction=0.046, pad=0.03)
    axes.set_title(title)


def _picture_shape(pixels: int, shape: Shape | None) -> Shape:
    side = math.isqrt(pixels)
    height, width = (side, side) if shape is None else shape
    if height * width != pixels:
        raise ValueError(f"{pixels} weights an output do not make a picture of {height} x {width}")
    return height, width
