"""Whole sequences in one operation: what a loop over a cell computes, several times faster.

A loop over `LSTMCell` records some twenty operations a step. Here the forward pass multiplies all inputs at once, and
the backward pass through time is written out by hand, so that each weight's gradient is one matrix product over all
steps. The cell stays the definition: both share one set of parameters, and the tests compare values and gradients.

    g is the gradient of a value, a of what goes into an activation; steps run 0 ... steps - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from core.nn.dense import Linear
from core.nn.embedding import other_vocabulary
from core.nn.module import Input, Module
from core.nn.recurrent import LSTMCell, LSTMState, RNNCell, pair_of_states
from core.ops import Array, Result, stable_sigmoid
from core.randomness import Rng
from core.tensor import Tensor, apply, as_tensor

T = TypeVar("T")


class RNN(Module):
    """Read whole sequences with an `RNNCell`.

    Attributes:
        cell: holds the parameters; use it to go on step by step, to generate text for example.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["tanh", "sigmoid"] = "tanh",
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.cell = RNNCell(input_size, hidden_size, nonlinearity=nonlinearity, rng=rng, dtype=dtype)

    def forward(self, inputs: Input, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states after all steps, (steps, batch, hidden_size), and the last, (batch, hidden_size).

        Args:
            inputs: shape (steps, batch, input_size).
            state: before the first step, shape (batch, hidden_size); zeros if left out.
        """
        return self._steps(self.cell.input_map(_sequence(inputs, self.cell.input_map)), state)

    def read_rows(self, table: Tensor, indices: npt.ArrayLike, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the same as for `table.index_select(indices)`, with each row of the table multiplied only once.

        Faster where the table has fewer rows than the sequences have places: letters, not words.

        Args:
            table: shape (rows, input_size), the weight of an `Embedding` for example.
            indices: row numbers, shape (steps, batch).
            state: as in `forward`.
        """
        return self._steps(_looked_up(self.cell.input_map(table), indices), state)

    def _steps(self, moves: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        start = as_tensor(self.cell.initial_state(moves.shape[1]) if state is None else state)
        _check_state(start, moves, self.cell.hidden_map)
        moves = _with_bias(moves, self.cell.hidden_map)
        states = apply(rnn_steps, moves, start, self.cell.hidden_map.weight, nonlinearity=self.cell.nonlinearity)
        return states, states[-1]

    def __call__(self, inputs: Input, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Unlike other modules a layer for sequences returns two things, as PyTorch's does."""
        return super().__call__(inputs, state)  # type: ignore[return-value]


class LSTM(Module):
    """Read whole sequences with an `LSTMCell`.

    Attributes:
        cell: holds the parameters; use it to go on step by step, to generate text for example.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        hidden_bias: bool = False,
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.cell = LSTMCell(input_size, hidden_size, hidden_bias=hidden_bias, rng=rng, dtype=dtype)

    def forward(self, inputs: Input, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Return h after all steps, (steps, batch, hidden_size), and the last h and c, each (batch, hidden_size).

        Args:
            inputs: shape (steps, batch, input_size).
            state: h and c before the first step, each (batch, hidden_size); zeros if left out.
        """
        return self._steps(self.cell.input_map(_sequence(inputs, self.cell.input_map)), state)

    def read_rows(
        self, table: Tensor, indices: npt.ArrayLike, state: LSTMState | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Return the same as for `table.index_select(indices)`, with each row multiplied once; see `RNN.read_rows`."""
        return self._steps(_looked_up(self.cell.input_map(table), indices), state)

    def _steps(self, moves: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        h, c = map(as_tensor, pair_of_states(self.cell.initial_state(moves.shape[1]) if state is None else state))
        for part in (h, c):
            _check_state(part, moves, self.cell.hidden_map)
        states = apply(lstm_steps, _with_bias(moves, self.cell.hidden_map), h, c, self.cell.hidden_map.weight)
        return states[:-1], (states[-2], states[-1])

    def __call__(self, inputs: Input, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:  # type: ignore[override]
        """Unlike other modules a layer for sequences returns two things, as PyTorch's does."""
        return super().__call__(inputs, state)  # type: ignore[return-value]


def _sequence(inputs: Input, input_map: Linear) -> Tensor:
    inputs = as_tensor(inputs)
    input_size = len(input_map.weight)
    if inputs.ndim != 3 or not len(inputs) or inputs.shape[2] != input_size:
        raise ValueError(
            f"inputs of shape {inputs.shape} are no sequences: (steps, batch, {input_size}) with at least one step is "
            f"needed for weights of shape {input_map.weight.shape}"
        )
    return inputs


def _looked_up(moves: Tensor, indices: npt.ArrayLike) -> Tensor:
    numbers = np.asarray(indices)
    if numbers.ndim != 2 or not len(numbers):
        raise ValueError(
            f"row numbers of shape {numbers.shape} are no sequences: (steps, batch) with at least one step is needed"
        )
    try:
        return moves.index_select(numbers)
    except IndexError as error:
        raise other_vocabulary(error, moves) from None


def _check_state(state: Tensor, moves: Tensor, hidden_map: Linear) -> None:
    needed = (moves.shape[1], len(hidden_map.weight))
    if state.shape != needed:
        raise ValueError(f"a state of shape {state.shape} does not fit: (batch, hidden_size) = {needed} is needed")


def _with_bias(moves: Tensor, hidden_map: Linear) -> Tensor:
    return moves if hidden_map.bias is None else moves + hidden_map.bias


# --- The primitives, as those of core.ops ---


def rnn_steps(moves: Array, start: Array, weight: Array, *, nonlinearity: str) -> Result:
    """States of h <- activation(moves[step] + h @ weight).

    Args:
        moves: what the inputs add before the activation, shape (steps, batch, hidden).
        start: h before the first step, shape (batch, hidden).
        weight: shape (hidden, hidden).
    """
    activation = np.tanh if nonlinearity == "tanh" else stable_sigmoid
    states = np.empty((len(moves) + 1, *start.shape), moves.dtype)
    states[0] = start
    for step, move in enumerate(moves):
        states[step + 1] = activation(move + states[step] @ weight)

    def through_time(g: Array) -> Array:
        """Return gradients of the moves, and before them, in the place of step -1, of the start."""
        after = states[1:]
        slopes = 1 - after**2 if nonlinearity == "tanh" else after * (1 - after)
        gradients = np.empty_like(states)
        later = np.zeros_like(start)
        for step in reversed(range(len(moves))):
            gradients[step + 1] = (g[step] + later) * slopes[step]
            later = gradients[step + 1] @ weight.T
        gradients[0] = later
        return gradients

    backward = _once(through_time)
    return states[1:], (
        lambda g: backward(g)[1:],
        lambda g: backward(g)[0],
        lambda g: _over_steps(states[:-1], backward(g)[1:]),
    )


def lstm_steps(moves: Array, h: Array, c: Array, weight: Array) -> Result:
    """States of an LSTM whose gates are activation(moves[step] + h @ weight): h after each step, then the last c.

    Args:
        moves: what the inputs add to the gates before their activation: input, forget, candidate and output gate
            side by side, shape (steps, batch, 4 * hidden).
        h, c: before the first step, shape (batch, hidden).
        weight: shape (hidden, 4 * hidden).

    Returns:
        Shape (steps + 1, batch, hidden).
    """
    states = np.empty((len(moves) + 2, *h.shape), moves.dtype)
    cells = np.empty((len(moves) + 1, *h.shape), moves.dtype)
    states[0], cells[0] = h, c
    gates, squashed = _forward_steps(moves, weight, states, cells)
    states[-1] = cells[-1]
    backward = _once(lambda g: _backward_steps(g, weight, gates, cells, squashed))
    return states[1:], (
        lambda g: backward(g)[0],
        lambda g: backward(g)[1],
        lambda g: backward(g)[2],
        lambda g: _over_steps(states[:-2], backward(g)[0]),
    )


def _forward_steps(moves: Array, weight: Array, states: Array, cells: Array) -> tuple[Array, Array]:
    """Fill in the states and cells after each step; return all gates, (steps, batch, 4, hidden), and tanh(cells)."""
    batch, hidden = states.shape[1:]
    rows, squashed = np.empty_like(moves), np.empty_like(cells[1:])
    gates = rows.reshape(len(moves), batch, 4, hidden)
    # sigmoid(x) is (1 + tanh(x / 2)) / 2, so that one tanh over a row does all its gates.
    half = np.repeat(np.array([0.5, 0.5, 1, 0.5], moves.dtype), hidden)
    for step in range(len(moves)):
        row = np.matmul(states[step], weight, out=rows[step])
        row += moves[step]
        row *= half
        np.tanh(row, out=row)
        row *= half
        row += 1 - half
        input_gate, forget_gate, candidate, output_gate = gates[step].swapaxes(0, 1)
        cells[step + 1] = forget_gate * cells[step] + input_gate * candidate
        np.tanh(cells[step + 1], out=squashed[step])
        np.multiply(output_gate, squashed[step], out=states[step + 1])
    return gates, squashed


def _backward_steps(g: Array, weight: Array, gates: Array, cells: Array, squashed: Array) -> tuple[Array, Array, Array]:
    """Return the gradients of the moves, of h and of c, given those of all states and of the last cell."""
    slopes, to_cell = _slopes(gates, cells, squashed)
    g_moves = np.empty((*gates.shape[:2], weight.shape[1]), gates.dtype)
    g_gates = g_moves.reshape(gates.shape)
    g_h, g_c = np.zeros_like(g[0]), g[-1]
    for step in reversed(range(len(gates))):
        g_h = g_h + g[step]
        g_c = g_c + g_h * to_cell[step]
        np.multiply(slopes[step, :, :3], g_c[:, None], out=g_gates[step, :, :3])
        np.multiply(slopes[step, :, 3], g_h, out=g_gates[step, :, 3])
        g_h, g_c = g_moves[step] @ weight.T, g_c * gates[step, :, 1]
    return g_moves, g_h, g_c


def _slopes(gates: Array, cells: Array, squashed: Array) -> tuple[Array, Array]:
    """Return what a move of each gate does to the cell (to h, for the output gate), and what the cell does to h."""
    input_gates, forget_gates, candidates, output_gates = np.moveaxis(gates, 2, 0)
    slopes = np.empty_like(gates)
    slopes[:, :, 0] = candidates * input_gates * (1 - input_gates)
    slopes[:, :, 1] = cells[:-1] * forget_gates * (1 - forget_gates)
    slopes[:, :, 2] = input_gates * (1 - candidates**2)
    slopes[:, :, 3] = squashed * output_gates * (1 - output_gates)
    return slopes, output_gates * (1 - squashed**2)


def _over_steps(inputs: Array, gradients: Array) -> Array:
    """Sum inputs[step].T @ gradients[step] over all steps in one product."""
    product: Array = inputs.reshape(-1, inputs.shape[-1]).T @ gradients.reshape(-1, gradients.shape[-1])
    return product


def _once(backward: Callable[[Array], T]) -> Callable[[Array], T]:
    """Remember the last result: the derivatives of one operation, asked one by one, share one walk through time."""
    last: list[tuple[Array, T]] = []

    def remembered(g: Array) -> T:
        if not last or last[0][0] is not g:
            last[:] = [(g, backward(g))]
        return last[0][1]

    return remembered
