"""The numbers that operations and layers are checked on, by the finite differences of `book.gradient_check`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from book.gradient_check import check_gradients
from core.ops import Array
from core.tensor import Tensor

__all__ = ["PAIRS", "check_gradients", "check_operation", "numbers"]

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
