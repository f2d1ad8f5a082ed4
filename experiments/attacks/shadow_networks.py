"""Many small networks trained at once: the same arithmetic as the product's 784-32-10 with SGD, one matrix deeper.

Shadow models are needed by the dozen, and one by one each spends more time on Python than on numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from experiments.arrays import Float32Array, IntArray


@dataclass(frozen=True)
class Networks:
    """Networks of one hidden layer with relu, each a row of its weights in the order of the product's flat vector.

    Attributes:
        vectors: float32, shape (networks, inputs * hidden + hidden + hidden * classes + classes). Raises ValueError
            for another length.
        inputs, hidden, classes: the sizes of the layers.
    """

    vectors: Float32Array
    inputs: int
    hidden: int
    classes: int

    def __post_init__(self) -> None:
        wanted = self.hidden * (self.inputs + 1) + self.classes * (self.hidden + 1)
        if self.vectors.ndim != 2 or self.vectors.shape[1] != wanted:
            raise ValueError(f"vectors of shape {self.vectors.shape} are not rows of {wanted} weights")

    def layers(self) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
        """Return views into the vectors: weights (networks, in, out) and biases (networks, 1, out) of both layers."""
        count, sizes = len(self.vectors), (self.inputs, self.hidden, self.classes)
        shapes = [shape for each in pairwise(sizes) for shape in (each, (1, each[1]))]
        ends = np.cumsum([height * width for height, width in shapes])
        first, second, third, last = (
            part.reshape(count, *shape)
            for part, shape in zip(np.split(self.vectors, ends[:-1], axis=1), shapes, strict=True)
        )
        return first, second, third, last

    def logits(self, pictures: Float32Array) -> Float32Array:
        """Return (networks, n, classes) for pictures (n, inputs), or (networks, n, inputs)."""
        weight, bias, output, output_bias = self.layers()
        hidden = np.maximum(pictures @ weight + bias, 0)
        found: Float32Array = hidden @ output + output_bias
        return found

    def step(self, pictures: Float32Array, labels: IntArray, rate: float) -> None:
        """Take one step of gradient descent on the mean cross entropy, each network on its own batch, in place.

        Args:
            pictures: shape (networks, n, inputs).
            labels: shape (networks, n).
        """
        weight, bias, output, output_bias = self.layers()
        hidden = np.maximum(pictures @ weight + bias, 0)
        logits = hidden @ output + output_bias
        errors = np.exp(logits - logits.max(axis=-1, keepdims=True))
        errors /= errors.sum(axis=-1, keepdims=True)
        np.put_along_axis(errors, labels[..., None], np.take_along_axis(errors, labels[..., None], -1) - 1, -1)
        errors *= np.float32(rate / labels.shape[1])
        back = (errors @ output.swapaxes(1, 2)) * (hidden > 0)
        output -= hidden.swapaxes(1, 2) @ errors
        output_bias -= errors.sum(axis=1, keepdims=True)
        weight -= pictures.swapaxes(1, 2) @ back
        bias -= back.sum(axis=1, keepdims=True)
