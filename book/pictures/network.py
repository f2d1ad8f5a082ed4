"""A model read as a chain of stages: what all pictures and texts of a network start from (chapter 7).

A stage is one layer with weights and the functions applied to what it gives; the input is stage 0, without a layer.
Stage k gives the vector lk: in `relu(l0 W0) W1`, l1 is relu(l0 W0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from core.nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Embedding,
    EmbeddingBag,
    Flatten,
    Hardtanh,
    KernelPool,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SumPool2d,
    Tanh,
)
from core.ops import Array
from core.tensor import as_tensor, no_grad

Weighted = Linear | Conv2d | Embedding | EmbeddingBag
Shape = tuple[int, ...]
FUNCTIONS: dict[type[Module], str] = {
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    Sigmoid: "sigmoid",
    Tanh: "tanh",
    Hardtanh: "hardtanh",
    Softmax: "softmax",
    Flatten: "flatten",
    Dropout: "dropout",
    MaxPool2d: "max_pool",
    AvgPool2d: "mean_pool",
    SumPool2d: "sum_pool",
    KernelPool: "kernel_pool",
}


@dataclass
class Stage:
    """A layer with weights (None for the input), its number among them, and the functions applied after it."""

    layer: Weighted | None
    number: int
    functions: list[Module] = field(default_factory=list)

    @property
    def matrix(self) -> str:
        """The name of its weights in formulas: W for matrices, K for kernels, E for tables of vectors."""
        letter = "K" if isinstance(self.layer, Conv2d) else "W" if isinstance(self.layer, Linear) else "E"
        return f"{letter}{self.number}"

    @property
    def bias(self) -> str | None:
        """The name of its bias, if it has one."""
        there = isinstance(self.layer, Linear | Conv2d) and self.layer.bias is not None
        return f"b{self.number}" if there else None


def stages(model: Module) -> list[Stage]:
    """Read a `Sequential` of the layers of `core.nn`; raise ValueError for a model that is no such chain."""
    found = [Stage(None, -1)]
    for layer in chain(model):
        if isinstance(layer, Weighted):
            found.append(Stage(layer, len(found) - 1))
        else:
            found[-1].functions.append(layer)
    if len(found) == 1:
        raise ValueError("a model without any layer that has weights is nothing to draw")
    return found


def chain(model: object) -> list[Module]:
    """Return the layers of a `Sequential` in order, those of containers inside it too."""
    if isinstance(model, Sequential):
        return [layer for part in model.layers for layer in chain(part)]
    if isinstance(model, Weighted) or type(model) in FUNCTIONS:
        assert isinstance(model, Module)
        return [model]
    name = getattr(model, "__name__", type(model).__name__)
    raise ValueError(
        f"{name} cannot be drawn: only a Sequential of Linear, Conv2d, Embedding, pooling and activations can"
    )


def function_name(layer: Module) -> str:
    """Return what formulas call a function, such as "relu"."""
    return f"{layer.mode}_over_kernels" if isinstance(layer, KernelPool) else FUNCTIONS[type(layer)]


def stage_values(model: Module, example: npt.ArrayLike | None = None) -> list[Array]:
    """Compute what each stage gives for one example, in evaluation mode and without a graph.

    Args:
        example: one input without an axis for the batch: numbers for Linear, (channels, height, width) for Conv2d, word
            numbers for an embedding; zeros, where the model says how many, if left out.

    Raises:
        ValueError: the example does not fit, or none was given and the model takes images of any size.
    """
    found = stages(model)
    values = np.asarray(blank_example(model) if example is None else example)
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            return _run(found, values)
    except ValueError as error:
        if example is not None:
            raise
        raise ValueError(f"the model does not say what shape its input has, so give an example: {error}") from error
    finally:
        model.train(was_training)


def blank_example(model: Module) -> Array:
    """Return zeros in the shape that the first layer takes."""
    first = stages(model)[1].layer
    if isinstance(first, Linear):
        return np.zeros(len(first.weight))
    if isinstance(first, Embedding):
        return np.zeros((), np.int64)
    if isinstance(first, EmbeddingBag):
        return np.zeros(1, np.int64)
    raise ValueError("kernels take images of any size: give an example image, shape (channels, height, width)")


def infer_shape(before: int | Sequence[int], after: int | Sequence[int]) -> tuple[int, int]:
    """Return the shape that the weight matrix between two layers must have (chapter 7).

    As many rows as the layer before has numbers, as many columns as the layer after.

    Args:
        before, after: sizes of the layers, or shapes of a batch of them, such as (6, 3) and (6, 4).
    """
    left, right = _shape(before), _shape(after)
    if left[:-1] != right[:-1]:
        raise ValueError(f"no matrix leads from shape {left} to {right}: all axes but the last must be the same")
    return left[-1], right[-1]


def infer_shapes(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the shapes of all weight matrices of a network from its layers' sizes: 3, 4, 1 needs (3, 4) and (4, 1)."""
    return [infer_shape(before, after) for before, after in pairwise(sizes)]


def _run(found: Sequence[Stage], values: Array) -> list[Array]:
    results = []
    for stage in found:
        if isinstance(stage.layer, EmbeddingBag):
            values = stage.layer(values.reshape(-1), np.zeros(1, np.int64)).data[0]
        elif stage.layer is not None:
            values = stage.layer(values[None]).data[0]
        for function in stage.functions:
            values = as_tensor(function(values[None])).data[0]
        results.append(values)
    return results


def _shape(size: int | Sequence[int]) -> Shape:
    shape = (size,) if isinstance(size, int) else tuple(size)
    if not shape or min(shape) < 1:
        raise ValueError(f"a layer of size {size} holds no numbers")
    return shape
