"""Cells that read a sequence one step at a time: each turns an input and a state into the next state.

A sequence is read by calling the cell in a loop; the graph over all steps is walked by one `backward`. To train on
pieces of a long text, `detach()` the state between pieces: its value is carried on, its gradient is cut.
What a model says at a step is one more layer applied to the state.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from core.nn.dense import Linear
from core.nn.module import Input, Module, Parameter
from core.randomness import Rng, generator
from core.tensor import Tensor, as_tensor

LSTMState = tuple[Tensor, Tensor]


def pair_of_states(state: LSTMState) -> LSTMState:
    """Return h and c; raise TypeError for a state that is no pair of them."""
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise TypeError(f"the state of an LSTM is a pair (h, c), not {type(state).__name__}")
    return state[0], state[1]


class LinearRecurrentCell(Module):
    """state <- state @ transition + input: sums the words of a sentence, and learns what order does to them.

    Attributes:
        transition: shape (size, size), starts as the identity, which makes the state a plain sum.
        start: the state before the first input, shape (size,), starts at 0 and learns.
    """

    def __init__(self, size: int, *, dtype: npt.DTypeLike = np.float64) -> None:
        self.transition = Parameter(np.eye(size, dtype=dtype))
        self.start = Parameter(np.zeros(size, dtype))

    def initial_state(self, batch: int) -> Tensor:
        """Return the start vector for each sequence, shape (batch, size)."""
        return self.start.broadcast_to(batch, len(self.start))

    def forward(self, inputs: Input, state: Tensor) -> Tensor:
        """Return the next state; inputs and state have shape (batch, size)."""
        return as_tensor(state) @ self.transition + as_tensor(inputs)


class RNNCell(Module):
    """state <- activation(input_map(input) + hidden_map(state)).

    Args:
        nonlinearity: the activation, "tanh" or "sigmoid".
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
        if nonlinearity not in ("tanh", "sigmoid"):
            raise ValueError(f'nonlinearity is "tanh" or "sigmoid", not {nonlinearity!r}')
        self.nonlinearity = nonlinearity
        rng = generator(rng)  # one for both maps: of a seed each would make the same numbers
        self.input_map = Linear(input_size, hidden_size, rng=rng, dtype=dtype)
        self.hidden_map = Linear(hidden_size, hidden_size, rng=rng, dtype=dtype)

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros, shape (batch, hidden_size)."""
        weight = self.hidden_map.weight
        return Tensor(np.zeros((batch, len(weight)), weight.dtype))

    def forward(self, inputs: Input, state: Tensor) -> Tensor:
        """Return the next state (batch, hidden_size) for inputs (batch, input_size)."""
        moved = self.input_map(inputs) + self.hidden_map(state)
        return moved.tanh() if self.nonlinearity == "tanh" else moved.sigmoid()


class LSTMCell(Module):
    """Long short-term memory: c <- forget * c + input * candidate; h <- output * tanh(c).

    The four gates are computed in one product, in PyTorch's order: input, forget, candidate, output. The biases are
    on the input side; a second bias on the hidden side would only add to them.

    Args:
        hidden_bias: whether to have that second bias anyway, as PyTorch does.

    Attributes:
        input_map: from (batch, input_size) to the gates, (batch, 4 * hidden_size).
        hidden_map: from (batch, hidden_size) to the gates.
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
        self.hidden_size = hidden_size
        rng = generator(rng)
        self.input_map = Linear(input_size, 4 * hidden_size, rng=rng, dtype=dtype)
        self.hidden_map = Linear(hidden_size, 4 * hidden_size, bias=hidden_bias, rng=rng, dtype=dtype)

    def initial_state(self, batch: int, *, first_column: float = 0.0) -> LSTMState:
        """Return h and c for the first step, each (batch, hidden_size): zeros but for the first column.

        The book starts the first column at 1.
        """
        start = np.zeros((batch, self.hidden_size), self.hidden_map.weight.dtype)
        start[:, 0] = first_column
        return Tensor(start), Tensor(start.copy())

    def forward(self, inputs: Input, state: LSTMState) -> LSTMState:
        """Return the next h and c, each (batch, hidden_size), for inputs (batch, input_size)."""
        h, c = map(as_tensor, pair_of_states(state))
        gates = self.input_map(inputs) + self.hidden_map(h)
        size = self.hidden_size
        input_gate, forget_gate = gates[:, :size].sigmoid(), gates[:, size : 2 * size].sigmoid()
        candidate, output_gate = gates[:, 2 * size : 3 * size].tanh(), gates[:, 3 * size :].sigmoid()
        c = forget_gate * c + input_gate * candidate
        return output_gate * c.tanh(), c

    def __call__(self, inputs: Input, state: LSTMState) -> LSTMState:  # type: ignore[override]
        """Unlike other modules a cell of two states returns two tensors, as PyTorch's does."""
        return super().__call__(inputs, state)  # type: ignore[return-value]
