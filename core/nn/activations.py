"""Activations as layers, the book's shortcuts for their slopes, and a check of what makes a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core import ops
from core.nn.module import Input, Module
from core.ops import Array
from core.readable import StandIn
from core.tensor import Tensor, apply, as_tensor, unchecked


class ReLU(Module):
    """Negative numbers become 0."""

    def forward(self, inputs: Input) -> Tensor:
        """Return max(x, 0) of each entry, in the shape of the inputs."""
        return as_tensor(inputs).relu()


class LeakyReLU(Module):
    """Negative numbers shrink to a share of themselves, so that no unit is ever dead."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def settings(self) -> str:
        """Return what its repr shows."""
        return f"negative_slope={self.negative_slope}"

    def forward(self, inputs: Input) -> Tensor:
        """Return x where it is positive and slope times x elsewhere, in the shape of the inputs."""
        return as_tensor(inputs).leaky_relu(self.negative_slope)


class Sigmoid(Module):
    """Any number becomes a probability."""

    def forward(self, inputs: Input) -> Tensor:
        """Return 1 / (1 + exp(-x)) of each entry, in the shape of the inputs."""
        return as_tensor(inputs).sigmoid()


class Tanh(Module):
    """Any number comes to lie between -1 and 1."""

    def forward(self, inputs: Input) -> Tensor:
        """Return tanh(x) of each entry, in the shape of the inputs."""
        return as_tensor(inputs).tanh()


class Hardtanh(Module):
    """Numbers are cut off at -1 and 1."""

    def forward(self, inputs: Input) -> Tensor:
        """Return each entry cut to [-1, 1], in the shape of the inputs."""
        return apply(ops.hardtanh, as_tensor(inputs))


class Softmax(Module):
    """Numbers along the last axis become probabilities. Not before `losses.cross_entropy`, which takes logits.

    Args:
        temperature: divides the logits first: above 1 evens the probabilities out, below 1 sharpens them.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.temperature = temperature

    def settings(self) -> str:
        """Return what its repr shows."""
        return f"temperature={self.temperature}" * (self.temperature != 1)

    def forward(self, inputs: Input) -> Tensor:
        """Return probabilities along the last axis, in the shape of the inputs."""
        return (as_tensor(inputs) / self.temperature).softmax()


# --- Slopes from outputs: what backpropagation by hand uses (chapter 9) ---


def relu_slope(output: Array) -> Array:
    """1 where the output is above 0; at exactly 0 the gate is closed."""
    slope: Array = np.greater(output, 0).astype(output.dtype)
    return slope


def sigmoid_slope(output: Array) -> Array:
    """Return the derivative of the sigmoid where its output is `output`, in its shape."""
    slope: Array = output * (1 - output)
    return slope


def tanh_slope(output: Array) -> Array:
    """Return the derivative of tanh where its output is `output`, in its shape."""
    slope: Array = 1 - output**2
    return slope


# --- What makes a good activation (chapter 9) ---


@dataclass(frozen=True)
class Properties:
    """What an activation was found to be: on a grid of numbers, and by counting what it does to each of them.

    Attributes:
        exponentials: how many exponentials, logarithms, roots or the like one number takes. Each costs several times
            as much as a multiplication. None if that cannot be counted: see `count_exponentials`.
    """

    defined_everywhere: bool
    monotonic: bool
    nonlinear: bool
    exponentials: int | None

    @property
    def cheap(self) -> bool:
        """Whether sums, products and comparisons are known to be all it takes.

        Sigmoid and tanh are not cheap, though their slopes are: see `sigmoid_slope` and `tanh_slope`.
        """
        return self.exponentials == 0


def examine(activation: Callable[[Tensor], Tensor], limit: float = 1000.0, points: int = 20_001) -> Properties:
    """Examine a function of single numbers on evenly spaced points in -limit ... limit.

    Monotonic means never turning back; it may be flat.
    """
    inputs = np.linspace(-limit, limit, points)
    with np.errstate(all="ignore"):  # being undefined somewhere is a finding, not an accident
        outputs = activation(Tensor(inputs)).data
    defined = bool(np.isfinite(outputs).all())
    steps = np.diff(outputs)
    tolerance = 1e-9 * float(np.abs(outputs).max())
    return Properties(
        defined_everywhere=defined,
        monotonic=defined and bool((steps >= 0).all() or (steps <= 0).all()),
        nonlinear=not defined or float(np.ptp(steps)) > tolerance,
        exponentials=count_exponentials(activation),
    )


def count_exponentials(activation: Callable[[Tensor], Tensor]) -> int | None:
    """Count the exponentials, logarithms, roots and the like that a function of single numbers takes for each.

    The function is applied to something that is no number but takes note of what is done with it. A count, unlike a
    time, is the same on every machine and in every run. None if the function does what a note cannot be taken of:
    works with other types of numbers, say, or with functions that are not NumPy's.
    """
    notes: list[str] = []
    single = np.empty(1, object)  # of what it finds in an array of objects, NumPy calls the methods
    single[0] = _NoteTaker(notes)
    try:
        activation(unchecked(single))
    except (AttributeError, TypeError, ValueError):
        return None
    return len(notes)


# fmt: off
_EXPONENTIALS = frozenset({
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "cbrt",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
})
# fmt: on


class _NoteTaker(StandIn):
    """Stands in for a number in a formula: notes each exponential and the like, and stays what it is."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def _stay(self, *_: object) -> _NoteTaker:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _stay
    __neg__ = __abs__ = _stay

    def __pow__(self, exponent: float) -> _NoteTaker:
        if exponent not in (1, 2):  # these two are products for NumPy, too
            self._notes.append("power")
        return self

    def _win(self, _: object) -> bool:
        """Be both the larger and the smaller one, so that maximum and minimum keep this and not the other number."""
        return True

    __lt__ = __le__ = __gt__ = __ge__ = _win

    def __getattr__(self, name: str) -> Callable[[], _NoteTaker]:
        if name not in _EXPONENTIALS:
            raise AttributeError(name)
        self._notes.append(name)
        return self._stay
