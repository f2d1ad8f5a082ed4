"""Check gradients against finite differences: move an entry a little up and down, and see how the result changes.

    >>> from book.gradient_check import gradient_gap
    >>> from core.tensor import Tensor
    >>> x = Tensor([0.5, -2.0], requires_grad=True)
    >>> gradient_gap(lambda: (x * x).tanh(), [x]) < 1e-8
    True

Without such a check a wrong gradient looks like slow learning (chapters 4 and 13). Use float64: differences of float32
numbers agree in two or three digits only. What is computed must be the same each time, so switch dropout off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from core.errors import GrokfedError
from core.ops import Array
from core.tensor import Tensor, no_grad

STEP = 1e-5


class GradientError(GrokfedError):
    """A gradient and the finite difference that it should equal lie apart."""


def gradient_gap(compute: Callable[[], Tensor], tensors: Iterable[Tensor], step: float = STEP) -> float:
    """Return the largest gap between an entry of a gradient and its central difference.

    Args:
        compute: computes a tensor of any shape from `tensors`, anew at each call.
        tensors: leaves that require a gradient; they keep the one found here, and what they had before is forgotten.

    Raises:
        ValueError: a tensor got no gradient.
    """
    pairs = _gradients_and_differences(compute, tensors, step)
    return max(float(np.abs(gradient - difference).max(initial=0)) for gradient, difference in pairs)


def check_gradients(
    compute: Callable[[], Tensor],
    tensors: Iterable[Tensor],
    step: float = STEP,
    *,
    relative: float = 1e-6,
    absolute: float = 1e-8,
) -> None:
    """Raise GradientError, naming the entry, unless every gradient agrees with central differences.

    Arguments and other errors are those of `gradient_gap`.

    Args:
        relative, absolute: an entry may be off by the absolute gap plus this share of the difference.
    """
    for number, (gradient, difference) in enumerate(_gradients_and_differences(compute, tensors, step)):
        excess = np.abs(gradient - difference) - (absolute + relative * np.abs(difference))
        if excess.size and not excess.max() <= 0:  # NaN is wrong, too
            place = tuple(map(int, np.unravel_index(excess.argmax(), excess.shape)))
            raise GradientError(
                f"tensor {number}, entry {place}: the gradient is {gradient[place]:.9g}, "
                f"the finite difference {difference[place]:.9g}"
            )


def _gradients_and_differences(
    compute: Callable[[], Tensor], tensors: Iterable[Tensor], step: float
) -> Iterator[tuple[Array, Array]]:
    tensors = list(tensors)
    for tensor in tensors:
        tensor.grad = None
    result = compute()
    # The result's entries weigh differently, so that a mix-up between them shows; a single one weighs 1.
    weights = np.cos(np.arange(result.size)).reshape(result.shape)
    result.backward(weights)
    for number, tensor in enumerate(tensors):
        if tensor.grad is None:
            raise ValueError(f"tensor {number}, of shape {tensor.shape}, got no gradient: the result is not made of it")
        if tensor.grad.shape != tensor.shape:
            raise ValueError(f"tensor {number}, of shape {tensor.shape}, got a gradient of shape {tensor.grad.shape}")
        yield tensor.grad, _differences(compute, weights, tensor.data, step)


def _differences(compute: Callable[[], Tensor], weights: Array, data: Array, step: float) -> Array:
    """Return central differences of the weighted sum by each entry of `data`, which is left as it was."""
    differences = np.zeros(data.shape)
    for place in np.ndindex(data.shape):
        middle = data[place]
        sums = []
        with no_grad():
            for moved in (middle + step, middle - step):
                data[place] = moved
                sums.append(float((compute().data * weights).sum()))
        data[place] = middle
        differences[place] = (sums[0] - sums[1]) / (2 * step)
    return differences
