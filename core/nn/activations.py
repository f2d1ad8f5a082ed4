"""Activations as layers, the book's shortcuts for their slopes, and a check of what makes a good one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.nn.module import Input, Module
from core.ops import Array
from core.tensor import Tensor, as_tensor


class ReLU(Module):
    """Negative numbers become 0."""

    def forward(self, inputs: Input) -> Tensor:
        return as_tensor(inputs).relu()


class LeakyReLU(Module):
    """Negative numbers shrink to a share of themselves, so that no unit is ever dead."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, inputs: Input) -> Tensor:
        return as_tensor(inputs).leaky_relu(self.negative_slope)


class Sigmoid(Module):
    """Any number becomes a probability."""

    def forward(self, inputs: Input) -> Tensor:
        return as_tensor(inputs).sigmoid()


class Tanh(Module):
    """Any number comes to lie between -1 and 1."""

    def forward(self, inputs: Input) -> Tensor:
        return as_tensor(inputs).tanh()


class Hardtanh(Module):
    """Numbers are cut off at -1 and 1."""

    def forward(self, inputs: Input) -> Tensor:
        return as_tensor(inputs).clip(-1, 1)


class Softmax(Module):
    """Numbers along the last axis become probabilities. Not before `losses.cross_entropy`, which takes logits.

    Args:
        temperature: divides the logits first: above 1 evens the probabilities out, below 1 sharpens them.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.temperature = temperature

    def forward(self, inputs: Input) -> Tensor:
        return (as_tensor(inputs) / self.temperature).softmax()


# --- Slopes from outputs: what backpropagation by hand uses (chapter 9) ---


def relu_slope(output: Array) -> Array:
    """1 where the output is above 0; at exactly 0 the gate is closed."""
    slope: Array = np.greater(output, 0).astype(output.dtype)
    return slope


def sigmoid_slope(output: Array) -> Array:
    slope: Array = output * (1 - output)
    return slope


def tanh_slope(output: Array) -> Array:
    slope: Array = 1 - output**2
    return slope


# --- What makes a good activation (chapter 9) ---


@dataclass(frozen=True)
class Properties:
    """What an activation was found to be, on a grid of numbers."""

    defined_everywhere: bool
    monotonic: bool
    nonlinear: bool


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
    )
