"""How much of a gradient is left after many steps back in time (chapter 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from book.pictures.style import COLOURS, MARKERS, Picture, new_figure, style
from core.nn import LinearRecurrentCell, LSTMCell, RNNCell
from core.ops import Array
from core.tensor import Tensor

Cell = RNNCell | LSTMCell | LinearRecurrentCell


def input_gradient_norms(cell: Cell, inputs: npt.ArrayLike) -> Array:
    """Return, for each step, the norm of the gradient of the last hidden state's sum by that step's input.

    It says how much the end still feels of each step, and means the same for every kind of cell.

    Args:
        inputs: shape (steps, batch, input size).

    Returns:
        Shape (steps,).
    """
    steps = [Tensor(step, requires_grad=True) for step in np.asarray(inputs, float)]
    if not steps:
        raise ValueError("there is no gradient over time without at least one step")
    last = _last_hidden(cell, steps)
    last.sum().backward()
    gradients = [np.zeros(step.shape) if step.grad is None else step.grad for step in steps]
    return np.array([np.linalg.norm(gradient) for gradient in gradients])


@style()
def gradient_norms(
    norms: Mapping[str, Sequence[float] | Array], ylabel: str = "norm of the gradient", title: str = ""
) -> Picture:
    """Draw the gradient's norm at each time step, one panel for each cell, on one logarithmic scale (chapter 14).

    A norm of exactly 0 has no logarithm and is left out.
    """
    if not norms:
        raise ValueError("there is nothing to draw: no norms were given")
    figure = new_figure(max(4.4, 3.1 * len(norms) + 0.6), 3.5, title)
    all_axes = np.atleast_1d(np.asarray(figure.subplots(1, len(norms), sharey=True)))
    for number, (axes, (name, values)) in enumerate(zip(all_axes, norms.items(), strict=True)):
        shown = np.asarray(values, float)
        steps = np.arange(1, len(shown) + 1)
        there = shown > 0
        mark = MARKERS[number % len(MARKERS)]
        axes.plot(steps[there], shown[there], mark + "-", color=COLOURS[number % len(COLOURS)], markersize=4)
        axes.set(title=name, xlabel="time step", yscale="log")
    all_axes[0].set_ylabel(f"{ylabel} (log scale)")
    return figure


def _last_hidden(cell: Cell, steps: Sequence[Tensor]) -> Tensor:
    if isinstance(cell, LSTMCell):
        state = cell.initial_state(len(steps[0]))
        for step in steps:
            state = cell(step, state)
        return state[0]
    hidden = cell.initial_state(len(steps[0]))
    for step in steps:
        hidden = cell(step, hidden)
    return hidden
