"""Pictures read off the change of a network's weights.

A dense layer's weight gradient is input times error, its bias gradient the error alone, so that their quotient is the
input (Phong et al., "Privacy-preserving deep learning via additively homomorphic encryption", IEEE TIFS 2018,
section 3). One step of gradient descent moves weights by these gradients times a rate, which the quotient takes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.arrays import FloatArray

MOST_PSNR = 200.0
SATURATED = 1 - 1e-7  # an answer of tanh closer to 1 than float32 can say has no inverse


def input_of_one(weight_change: FloatArray, bias_change: FloatArray) -> FloatArray:
    """Return the input that all changes of a dense layer are multiples of, shape (inputs,): least squares.

    Args:
        weight_change: shape (inputs, units).
        bias_change: shape (units,). Where all are 0, nothing was learned, and zeros are returned.
    """
    total = float(bias_change @ bias_change)
    found: FloatArray = weight_change @ bias_change / total if total else np.zeros(len(weight_change))
    return found


def input_of_each_unit(weight_change: FloatArray, bias_change: FloatArray) -> FloatArray:
    """Return what each unit that moved says the input was, shape (units that moved, inputs).

    A unit that only one example of a batch switched on gives that example exactly; others give mixtures.
    """
    moved = bias_change != 0
    found: FloatArray = (weight_change[:, moved] / bias_change[moved]).T
    return found


def inputs_by_class(weight_change: FloatArray, bias_change: FloatArray) -> FloatArray:
    """Return an input of the last layer for each class in the batch, shape (classes found, inputs).

    The gradient of softmax and cross entropy is probability less target: descent raises the biases of classes that are
    in the batch and lowers the others. Early in training the probabilities are nearly alike, so that what all
    examples add to a column is seen in those of absent classes, and taken off; what is left is the mean input of the
    column's own class. For one example this is exact.

    Args:
        weight_change, bias_change: shapes (inputs, classes) and (classes,), of a step of gradient descent.
    """
    present = bias_change > 0
    columns, sizes = weight_change[:, present], bias_change[present]
    if not present.all():
        columns = columns - weight_change[:, ~present].mean(axis=1, keepdims=True)
        sizes = sizes - bias_change[~present].mean()
    found: FloatArray = (columns / sizes).T
    return found


@dataclass(frozen=True)
class Convolution:
    """A layer of kernels on pictures of one channel, one pixel apart.

    Attributes:
        kernels: shape (kernels, height, width).
        bias: shape (kernels,).
        shape: of the picture.
    """

    kernels: FloatArray
    bias: FloatArray
    shape: tuple[int, int]

    @property
    def places(self) -> tuple[int, int]:
        """How many windows there are, down and across."""
        height, width = self.kernels.shape[1:]
        return self.shape[0] - height + 1, self.shape[1] - width + 1

    def answers(self, picture: FloatArray) -> FloatArray:
        """Return each kernel's answer at each place, without bias, shape (kernels, *places)."""
        windows = np.lib.stride_tricks.sliding_window_view(picture, self.kernels.shape[1:])
        found: FloatArray = np.tensordot(self.kernels, windows, axes=((1, 2), (2, 3)))
        return found

    def transposed(self, answers: FloatArray) -> FloatArray:
        """Return the transpose of `answers` applied to numbers of its result's shape: a picture."""
        picture = np.zeros(self.shape)
        rows, columns = self.places
        for (down, right), weights in np.ndenumerate(self.kernels[0]):
            del weights
            spread = np.tensordot(self.kernels[:, down, right], answers, axes=1)
            picture[down : down + rows, right : right + columns] += spread
        return picture


def picture_behind(layer: Convolution, features: FloatArray, steps: int = 300) -> FloatArray:
    """Return the picture of which a convolution and tanh made these features: least squares by conjugate gradients.

    tanh is undone first. Each answer weighs by the slope of tanh there: where it is flat, rounding hides the answer.

    Args:
        features: shape (kernels * places,), as flattened row by row.
        steps: of conjugate gradients at most; they end when nothing is left to mend.
    """
    squashed = features.reshape(len(layer.kernels), *layer.places).clip(-SATURATED, SATURATED)
    answers = np.arctanh(squashed) - layer.bias[:, None, None]
    weights = (1 - squashed**2) ** 2
    picture = np.zeros(layer.shape)
    residual = layer.transposed(weights * answers)
    direction, size = residual.copy(), float((residual**2).sum())
    enough = size * 1e-30
    for _ in range(steps):
        if size <= enough:
            break
        moved = layer.transposed(weights * layer.answers(direction))
        rate = size / float((direction * moved).sum())
        picture += rate * direction
        residual -= rate * moved
        size, before = float((residual**2).sum()), size
        direction = residual + size / before * direction
    return picture


def psnr(found: npt.ArrayLike, true: npt.ArrayLike) -> FloatArray:
    """Return the peak signal-to-noise ratio of pictures in 0 ... 1 over the last axis: decibels, 200 at most.

    At 40 no eye sees a difference; the shapes broadcast.
    """
    error = ((np.clip(found, 0, 1) - np.asarray(true)) ** 2).mean(axis=-1)
    ratio: FloatArray = -10 * np.log10(np.maximum(error, 10 ** (-MOST_PSNR / 10)))
    return ratio
