"""The layers of a network of numbers in, numbers out, and the container that chains layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from core.nn.module import Input, Module, Parameter, at_least
from core.tensor import Tensor, as_tensor


class Sequential(Module):
    """Apply layers (or plain functions of tensors) one after the other."""

    def __init__(self, *layers: Callable[[Any], Tensor]) -> None:
        self.layers = layers

    def forward(self, inputs: Any) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return as_tensor(inputs)


class Linear(Module):
    """inputs @ weight + bias: (..., in_features) -> (..., out_features).

    Attributes:
        weight: shape (in_features, out_features), as the book writes it (PyTorch holds the transpose);
            starts as N(0, 2 / in_features).
        bias: shape (out_features,), starts at 0; or None.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rng: np.random.Generator,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        at_least("out_features", out_features, 1)
        spread = np.sqrt(2 / at_least("in_features", in_features, 1))
        self.weight = Parameter((rng.standard_normal((in_features, out_features)) * spread).astype(dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None

    def forward(self, inputs: Input) -> Tensor:
        product = as_tensor(inputs) @ self.weight
        return product if self.bias is None else product + self.bias


class Dropout(Module):
    """Set each entry to 0 with probability `p` and scale the others by 1 / (1 - p); in evaluation do nothing."""

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"the probability of dropping an entry must be in [0, 1), not {p}")
        self.p = p
        self.rng = rng

    def forward(self, inputs: Input) -> Tensor:
        inputs = as_tensor(inputs)
        if not self.training or self.p == 0:
            return inputs
        if inputs.dtype.kind != "f":
            raise TypeError(f"entries of type {inputs.dtype} cannot be scaled; floats are needed")
        kept = self.rng.random(inputs.shape, np.float32) >= self.p
        return inputs * np.multiply(kept, 1 / (1 - self.p), dtype=inputs.dtype)


class Flatten(Module):
    """Join all axes but the first: (n, ...) -> (n, product of the others)."""

    def forward(self, inputs: Input) -> Tensor:
        inputs = as_tensor(inputs)
        if not inputs.ndim:
            raise ValueError("inputs of shape () have no axis of examples: (n, ...) is needed")
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))
