"""The primitives of the framework: each function computes its value and says how gradients flow back.

A primitive takes arrays and returns `(value, derivatives)`. There is one derivative per array argument: a
function from the gradient of the value to the gradient of that argument (a vector-Jacobian product). Settings
such as `axis` are keyword arguments and have no derivative.

What every derivative may rely on, and must keep to:

- it never writes to the incoming gradient `g`; its result is a new array or a view of `g`;
- it may have the shape that NumPy broadcast the argument to: `Tensor.backward` calls `unbroadcast`, no one else.

Shapes that do not fit raise ValueError with both shapes in the message (NumPy's own where it has them).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from core.indices import Axis, bag_sizes, check_indices, numpy_axis, place
from core.rows import RowGradient, sum_bags, sum_runs

Array = npt.NDArray[Any]
Derivative = Callable[[Array], Array | RowGradient]
Result = tuple[Array, tuple[Derivative, ...]]


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an array of `shape` was repeated by broadcasting."""
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    repeated = [added + axis for axis, size in enumerate(shape) if size == 1]
    return np.asarray(gradient.sum(axis=(*range(added), *repeated))).reshape(shape)


# --- Elementwise arithmetic ---


def add(a: Array, b: Array) -> Result:
    """Return a + b, broadcast, and its derivatives."""
    return a + b, (lambda g: g, lambda g: g)


def subtract(a: Array, b: Array) -> Result:
    """Return a - b, broadcast, and its derivatives."""
    return a - b, (lambda g: g, lambda g: -g)


def negate(a: Array) -> Result:
    """Return -a and its derivative."""
    return -a, (lambda g: -g,)


def multiply(a: Array, b: Array) -> Result:
    """Return a * b entry by entry, broadcast, and its derivatives."""
    return a * b, (lambda g: g * b, lambda g: g * a)


def divide(a: Array, b: Array) -> Result:
    """Return a / b entry by entry, broadcast, and its derivatives."""
    return a / b, (lambda g: g / b, lambda g: -g * a / b**2)


def power(a: Array, *, exponent: float) -> Result:
    """Return a to a constant power and its derivative."""
    return a**exponent, (lambda g: g * exponent * a ** (exponent - 1) if exponent else np.zeros_like(g),)


def power_of(a: Array, b: Array) -> Result:
    """a ** b of two arrays; 0 ** b has slope 0 in b, though log(0) is infinite."""
    value = a**b

    def to_base(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(b == 0, 0, g * b * a ** (b - 1))

    def to_exponent(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((a == 0) & (b >= 0), 0, g * value * np.log(a))

    return value, (to_base, to_exponent)


def cast(a: Array, *, dtype: npt.DTypeLike) -> Result:
    """Return the same numbers in another type; `backward` gives the gradient the type of the argument."""
    return a.astype(dtype), (lambda g: g,)


def absolute(a: Array) -> Result:
    """|a|; the slope at exactly 0 is 0."""
    return np.abs(a), (lambda g: g * np.sign(a),)


def exp(a: Array) -> Result:
    """Return e to the power of each entry and its derivative."""
    value = np.exp(a)
    return value, (lambda g: g * value,)


def log(a: Array) -> Result:
    """Return the natural logarithm of each entry and its derivative."""
    return np.log(a), (lambda g: g / a,)


# --- Activations ---


def relu(a: Array) -> Result:
    """max(a, 0); the slope at exactly 0 is 0, so a closed gate stays closed."""
    return np.maximum(a, 0), (lambda g: g * (a > 0),)


def leaky_relu(a: Array, *, negative_slope: float) -> Result:
    """a where positive, negative_slope * a elsewhere."""
    slope = np.where(a > 0, 1, negative_slope).astype(a.dtype)
    return a * slope, (lambda g: g * slope,)


def clip(a: Array, *, low: float | None, high: float | None) -> Result:
    """Limit to low ... high, or on one side if the other is None; the slope is 1 between, bounds included."""
    if low is None and high is None:
        raise ValueError("clip needs a lowest or a highest number")
    limited = np.clip(a, low, high)
    # A number that is kept has slope 1, also on a bound; where the bounds cross, nothing is kept.
    return limited, (lambda g: g * ((low is None or a >= low) & (high is None or a <= high)),)


def hardtanh(a: Array) -> Result:
    """Limit to -1 ... 1; the slope is 1 strictly between and 0 elsewhere, the bounds included."""
    return np.clip(a, -1, 1), (lambda g: g * ((a > -1) & (a < 1)),)


def sigmoid(a: Array) -> Result:
    """Return 1 / (1 + exp(-a)) and its derivative."""
    value = stable_sigmoid(a)
    return value, (lambda g: g * value * (1 - value),)


def tanh(a: Array) -> Result:
    """Return tanh(a) and its derivative."""
    value = np.tanh(a)
    return value, (lambda g: g * (1 - value**2),)


def softplus(a: Array) -> Result:
    """log(1 + exp(a)) without overflow."""
    return stable_softplus(a), (lambda g: g * stable_sigmoid(a),)


def log_softmax(a: Array, *, axis: int = -1) -> Result:
    """Return the logarithm of the softmax along an axis and its derivative."""
    value = stable_log_softmax(a, axis)
    return value, (lambda g: g - np.exp(value) * g.sum(axis=axis, keepdims=True),)


def softmax(a: Array, *, axis: int = -1) -> Result:
    """Return positive numbers that sum to 1 along the axis."""
    value = np.exp(stable_log_softmax(a, axis))
    return value, (lambda g: value * (g - (g * value).sum(axis=axis, keepdims=True)),)


def stable_sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)), with both sides multiplied by exp(a) where a is negative, so that exp cannot overflow."""
    value: Array = np.exp(np.minimum(a, 0)) / (1 + np.exp(-np.abs(a)))
    return value


def stable_softplus(a: Array) -> Array:
    """log(1 + exp(a)), computed from exp(-|a|), which cannot overflow."""
    value: Array = np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))
    return value


def stable_log_softmax(a: Array, axis: int = -1) -> Array:
    """Return logarithm of the softmax; the largest entry is moved to 0 first, so that exp cannot overflow."""
    if not a.size:  # there is no largest entry
        place(axis, a.ndim)
        return a
    moved = a - a.max(axis=axis, keepdims=True)
    value: Array = moved - np.log(np.exp(moved).sum(axis=axis, keepdims=True))
    return value


# --- Losses of each example, fused with their activation: apart they would overflow ---


def binary_cross_entropy(logits: Array, *, targets: Array) -> Result:
    """-log P(target) for P(1) = sigmoid(logit), entry by entry; targets in [0, 1] of the same shape."""
    if logits.shape != targets.shape:
        raise ValueError(f"logits of shape {logits.shape} need targets of that shape, not {targets.shape}")
    # max(x, 0) - x y + log(1 + exp(-|x|)): for x = 1000, y = 1 the first two terms cancel exactly.
    return stable_softplus(logits) - logits * targets, (lambda g: g * (stable_sigmoid(logits) - targets),)


def cross_entropy(logits: Array, *, targets: Array) -> Result:
    """-log P(target) for P = softmax(logits).

    Args:
        logits: shape (..., classes).
        targets: class numbers, shape (...).
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, not {targets.shape}"
        )
    chosen = check_indices(targets, logits.shape[-1], "targets")[..., None]
    log_probabilities = stable_log_softmax(logits)

    def derivative(g: Array) -> Array:
        slope: Array = np.exp(log_probabilities)
        np.put_along_axis(slope, chosen, np.take_along_axis(slope, chosen, -1) - 1, -1)
        return g[..., None] * slope

    return -np.take_along_axis(log_probabilities, chosen, -1)[..., 0], (derivative,)


# --- Sums and maxima over axes ---


def sum(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the sum along axes, all of them if None, and its derivative."""
    along = numpy_axis(axis)
    total = a.sum(axis=along, keepdims=True)

    def derivative(g: Array) -> Array:
        gradient = np.empty(a.shape, g.dtype)  # np.broadcast_to takes as long as a small network's whole step
        gradient[...] = g.reshape(total.shape)
        return gradient

    return total if keepdims else total.squeeze(along), (derivative,)


def max(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return largest entry; entries that share the maximum share its gradient equally."""
    along = numpy_axis(axis)
    top = a.max(axis=along, keepdims=True)

    def derivative(g: Array) -> Array:
        winners = a == top
        share: Array = winners / winners.sum(axis=along, keepdims=True)
        return g.reshape(top.shape) * share

    return top if keepdims else top.squeeze(along), (derivative,)


# --- Shapes ---


def reshape(a: Array, *, shape: tuple[int, ...]) -> Result:
    """Return the entries in another shape, in the same order, and the derivative."""
    return a.reshape(shape), (lambda g: g.reshape(a.shape),)


def permute(a: Array, *, axes: tuple[int, ...]) -> Result:
    """Return the array with its axes in another order and the derivative."""
    back = np.argsort([axis % a.ndim for axis in axes])
    return a.transpose(axes), (lambda g: g.transpose(back),)


def broadcast_to(a: Array, *, shape: tuple[int, ...]) -> Result:
    """Return the array repeated to a shape and the derivative, in that shape."""
    return np.broadcast_to(a, shape), (lambda g: g,)


def concatenate(*arrays: Array, axis: int = 0) -> Result:
    """Return the arrays one after the other along an axis, and a derivative for each."""
    ends = np.cumsum([array.shape[axis] for array in arrays])
    return np.concatenate(arrays, axis), tuple(
        lambda g, start=end - array.shape[axis], end=end: g.take(np.arange(start, end), axis)
        for array, end in zip(arrays, ends, strict=True)
    )


def getitem(a: Array, *, index: Any) -> Result:
    """a[index] for any index NumPy knows; entries taken twice receive both gradients."""
    parts = index if isinstance(index, tuple) else (index,)
    taken_once = all(part is None or part is ... or isinstance(part, int | slice) for part in parts)

    def derivative(g: Array) -> Array:
        gradient = np.zeros(a.shape, g.dtype)
        if taken_once:
            gradient[index] = g
        else:
            np.add.at(gradient, index, g)
        return gradient

    return a[index], (derivative,)


# --- Products ---


def matmul(a: Array, b: Array) -> Result:
    """Return matrix product of (..., n, k) and (..., k, m); leading axes broadcast; a vector is one row or column."""
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise ValueError(f"matrix product of shapes {a.shape} and {b.shape}: as many columns as rows must meet")
    left = a if a.ndim > 1 else a[None, :]
    right = b if b.ndim > 1 else b[:, None]
    product = _times_matrix(left, right) if right.ndim == 2 else left @ right
    single = (-2,) * (a.ndim == 1) + (-1,) * (b.ndim == 1)

    def to_right(g: Array) -> Array:
        if right.ndim == 2:  # one product over all leading axes at once
            rows = math.prod(left.shape[:-1])
            gradient = left.reshape(rows, left.shape[-1]).T @ g.reshape(rows, right.shape[1])
        else:
            gradient = left.swapaxes(-1, -2) @ g.reshape(product.shape)
        return gradient if b.ndim > 1 else gradient[..., 0]

    def to_left(g: Array) -> Array:
        g = g.reshape(product.shape)
        return _times_matrix(g, right.T) if right.ndim == 2 else g @ right.swapaxes(-1, -2)

    return product.squeeze(single), (to_left, to_right)


def _times_matrix(rows: Array, matrix: Array) -> Array:
    """rows @ matrix in one product over all leading axes: NumPy would make a small one for each of them."""
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
    return (flat @ matrix).reshape(*rows.shape[:-1], matrix.shape[1])


# --- Tables of rows ---


def embedding(table: Array, *, indices: Array) -> Result:
    """Return rows of a table.

    Args:
        table: shape (rows, ...).
        indices: row numbers of any shape; the result has shape (*indices.shape, ...).
    """
    rows = check_indices(indices, len(table))
    values = (rows.size, *table.shape[1:])
    return table.take(rows, axis=0), (lambda g: RowGradient(table.shape, rows.reshape(-1), g.reshape(values)),)


def embedding_bag(table: Array, weights: Array | None = None, *, indices: Array, offsets: Array) -> Result:
    """Sum of the rows in each bag, each row times its weight where weights are given.

    Args:
        table: shape (rows, dim).
        weights: None or shape (entries,).
        indices: row numbers of all bags, one bag after the other, shape (entries,).
        offsets: where each bag starts in `indices`, shape (bags,); an empty bag sums to 0.
    """
    sizes = bag_sizes(indices, offsets)
    indices = check_indices(indices, len(table))
    bags = np.repeat(np.arange(len(offsets)), sizes)
    if weights is None:
        sums = sum_bags(table, indices, offsets, sizes)
        return sums, (lambda g: RowGradient(table.shape, indices, g, bags),)
    if weights.shape != indices.shape:
        raise ValueError(f"weights of shape {weights.shape} do not fit indices of shape {indices.shape}")
    rows, column = table.take(indices, axis=0), weights[:, None]
    return sum_runs(rows * column, offsets, sizes), (
        lambda g: RowGradient(table.shape, indices, g.take(bags, axis=0) * column),
        lambda g: (g.take(bags, axis=0) * rows).sum(axis=1),
    )
