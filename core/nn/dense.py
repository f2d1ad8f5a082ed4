"""The layers of a network of numbers in, numbers out, and the container that chains layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from core.nn.module import Input, Module, Parameter, at_least
from core.randomness import Rng, generator
from core.tensor import Tensor, as_tensor


class Sequential(Module):
    """Apply layers (or plain functions of tensors) one after the other."""

    def __init__(self, *layers: Callable[[Any], Tensor]) -> None:
        for place, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"layer {place} cannot be called with inputs: {layer!r}")
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[[Any], Tensor]]:
        return iter(self.layers)

    @overload
    def __getitem__(self, place: int) -> Callable[[Any], Tensor]: ...
    @overload
    def __getitem__(self, place: slice) -> Sequential: ...
    def __getitem__(self, place: int | slice) -> Callable[[Any], Tensor]:
        """Return a layer, or a part of the chain that shares its layers with this one."""
        return Sequential(*self.layers[place]) if isinstance(place, slice) else self.layers[place]

    def forward(self, inputs: Any) -> Tensor:
        """Apply the layers one after the other."""
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
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        at_least("out_features", out_features, 1)
        spread = np.sqrt(2 / at_least("in_features", in_features, 1))
        start = generator(rng).standard_normal((in_features, out_features)) * spread
        self.weight = Parameter(start.astype(dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None

    @classmethod
    def from_weights(cls, weight: Input, bias: Input | None = None) -> Self:
        """Make a layer of given numbers, copied: weight (in_features, out_features), bias (out_features,) or None."""
        layer = cls.__new__(cls)
        layer.weight = _of_floats(weight)
        layer.bias = None if bias is None else _of_floats(bias)
        if layer.weight.ndim != 2 or (layer.bias is not None and layer.bias.shape != layer.weight.shape[1:]):
            given = "no bias" if layer.bias is None else f"a bias of shape {layer.bias.shape}"
            raise ValueError(
                f"a weight of shape {layer.weight.shape} and {given} make no layer: "
                "(in_features, out_features) and (out_features,) are needed"
            )
        return layer

    def settings(self) -> str:
        """Return what its repr shows."""
        sizes = "in_features={}, out_features={}".format(*self.weight.shape)
        return f"{sizes}, bias={self.bias is not None}"

    def forward(self, inputs: Input) -> Tensor:
        """Map (..., in_features) to (..., out_features). Raises ValueError for other shapes."""
        product = as_tensor(inputs) @ self.weight
        return product if self.bias is None else product + self.bias


class Dropout(Module):
    """Set each entry to 0 with probability `p` and scale the others by 1 / (1 - p); in evaluation do nothing."""

    def __init__(self, p: float = 0.5, *, rng: Rng) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"the probability of dropping an entry must be in [0, 1), not {p}")
        self.p = p
        self.rng = generator(rng)

    def settings(self) -> str:
        """Return what its repr shows."""
        return f"p={self.p}"

    def forward(self, inputs: Input) -> Tensor:
        """Return the inputs with entries dropped while training. Raises TypeError unless they are floats."""
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
        """Map (n, ...) to (n, product of the others). Raises ValueError for a single number."""
        inputs = as_tensor(inputs)
        if not inputs.ndim:
            raise ValueError("inputs of shape () have no axis of examples: (n, ...) is needed")
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))


def _of_floats(numbers: Input) -> Parameter:
    """Copy given numbers into a parameter; whole ones become float64."""
    array = numbers.data if isinstance(numbers, Tensor) else np.asarray(numbers)
    return Parameter(array if array.dtype.kind == "f" else array.astype(np.float64))
