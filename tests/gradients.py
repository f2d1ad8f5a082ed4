"""The one finite-difference check of every operation and layer, and the numbers it is tried on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.ops import Array
from core.tensor import Tensor

STEP = 1e-5

# Shapes of two arrays that broadcast together: alike, a missing axis, an axis of 1 on either side, scalars.
PAIRS = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 3), (2, 1)),
    ((4, 1), (1, 3)),
    ((), (2, 3)),
    ((2, 3), (1,)),
    ((2, 1, 3), (4, 1)),
]


def numbers(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> Array:
    """Shuffled, evenly spaced numbers: all different and none at 0, where some slopes jump."""
    size = int(np.prod(shape))
    spaced = low + (high - low) * (np.arange(size) + 0.3) / max(size, 1)
    return np.random.default_rng(seed + size).permutation(spaced).reshape(shape)


def check_operation(
    operation: Callable[..., Tensor], *shapes: tuple[int, ...], low: float = -2.0, high: float = 2.0
) -> None:
    """Check the gradients of a function of tensors with respect to each of them."""
    inputs = [
        Tensor(numbers(*shape, low=low, high=high, seed=seed), requires_grad=True) for seed, shape in enumerate(shapes)
    ]
    check_gradients(lambda: operation(*inputs), inputs)


def check_gradients(compute: Callable[[], Tensor], tensors: list[Tensor]) -> None:
    """Compare the gradients that `backward` leaves in `tensors` with central differences.

    The entries of the result are weighed differently, so that a mix-up between them shows.
    """
    result = compute()
    weights = numbers(*result.shape, seed=99)
    result.backward(weights)
    for tensor in tensors:
        assert tensor.grad is not None
        assert tensor.grad.shape == tensor.shape
        differences = np.zeros(tensor.shape)
        for place in np.ndindex(tensor.shape):
            differences[place] = _central_difference(compute, weights, tensor.data, place)
        np.testing.assert_allclose(tensor.grad, differences, rtol=1e-6, atol=1e-8)


def _central_difference(compute: Callable[[], Tensor], weights: Array, data: Array, place: tuple[int, ...]) -> float:
    middle = data[place]
    data[place] = middle + STEP
    above = (compute().data * weights).sum()
    data[place] = middle - STEP
    below = (compute().data * weights).sum()
    data[place] = middle
    return float((above - below) / (2 * STEP))
