"""Activations with their slopes, and softmax at several temperatures (chapter 9)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from book.pictures.style import BLACK, BLUE, COLOURS, GREY, VERMILLION, Picture, bare, new_figure, style
from core.nn import Hardtanh, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from core.nn.activations import examine
from core.ops import Array
from core.tensor import Tensor

Activation = Callable[[Tensor], Tensor]
USUAL: Mapping[str, Activation] = {
    "relu": ReLU(),
    "leaky relu": LeakyReLU(0.1),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "hard tanh": Hardtanh(),
}
HATCHES = ("", "///", "...", "xxx", "\\\\\\")


@style()
def activation_curves(activations: Mapping[str, Activation] = USUAL, limit: float = 4.0, title: str = "") -> Picture:
    """Draw activations with their slopes; under each stands what `core.nn.activations.examine` finds (chapter 9).

    Args:
        activations: functions of single numbers, by name.
        limit: from -limit to limit is shown.
    """
    if not activations:
        raise ValueError("there is nothing to draw: no activations were given")
    columns = min(3, len(activations))
    rows = math.ceil(len(activations) / columns)
    figure = new_figure(2.6 * columns + 0.4, 2.75 * rows + 0.3, title)
    grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    inputs = np.linspace(-limit, limit, 401)
    for axes, (name, activation) in zip(grid, activations.items(), strict=False):
        outputs, slopes = values_and_slopes(activation, inputs)
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.plot(inputs, outputs, color=BLUE, label="output")
        axes.plot(inputs, slopes, "--", color=VERMILLION, label="slope")
        axes.set(title=name, xlabel=f"input\n{verdict(activation)}")
        axes.set_ylim(*_readable(outputs, slopes))
    for axes in grid[len(activations) :]:
        bare(axes)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def values_and_slopes(activation: Activation, inputs: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the outputs for numbers of shape (n,), and their slopes, found by a backward pass."""
    points = Tensor(np.asarray(inputs, float), requires_grad=True)
    outputs = activation(points)
    outputs.sum().backward()
    slopes = points.grad
    return outputs.data, np.zeros(points.shape) if slopes is None else slopes


def verdict(activation: Activation) -> str:
    """Say in four lines what `examine` finds, such as "monotonic"."""
    found = examine(activation)
    words = {
        "defined everywhere": found.defined_everywhere,
        "monotonic": found.monotonic,
        "nonlinear": found.nonlinear,
        "cheap": found.cheap,
    }
    return "\n".join(word if true else f"NOT {word}" for word, true in words.items())


@style()
def softmax_bars(
    logits: Sequence[float],
    temperatures: Sequence[float] = (0.5, 1.0, 2.0),
    labels: Sequence[str] | None = None,
    title: str = "",
) -> Picture:
    """Draw the probabilities that softmax makes of the same logits at several temperatures (chapter 9).

    Args:
        labels: a name for each logit; the logit itself if left out.
    """
    scores = np.asarray(logits, float)
    names = [f"{score:g}" for score in scores] if labels is None else list(labels)
    if len(names) != len(scores):
        raise ValueError(f"{len(names)} labels do not fit {len(scores)} logits")
    figure = new_figure(max(4.8, 0.8 + 0.75 * len(scores)), 3.4, title)
    axes = figure.subplots()
    width = 0.8 / len(temperatures)
    for number, temperature in enumerate(temperatures):
        places = np.arange(len(scores)) + (number - (len(temperatures) - 1) / 2) * width
        axes.bar(
            places,
            Softmax(temperature)(scores).data,
            width,
            color=COLOURS[number % len(COLOURS)],
            edgecolor=BLACK,
            linewidth=0.5,
            hatch=HATCHES[number % len(HATCHES)],
            label=f"temperature {temperature:g}",
        )
    axes.set_xticks(range(len(scores)), names)
    axes.grid(False, axis="x")
    axes.set(xlabel="logit" if labels is None else "class", ylabel="probability", ylim=(0, 1))
    axes.legend(loc="best")
    return figure


def _readable(outputs: Array, slopes: Array) -> tuple[float, float]:
    """Return limits that leave out only what goes far beyond the rest."""
    both = np.concatenate([outputs, slopes])
    both = both[np.isfinite(both)]
    low, high = max(float(both.min()), -4.0), min(float(both.max()), 4.0)
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room
