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

from core.indices import Axis, bag_sizes, check_indices, count_along, numpy_axis, place
from core.rows import RowGradient, sum_bags, sum_runs

Array = npt.NDArray[Any]
Derivative = Callable[[Array], Array | RowGradient]
Result = tuple[Array, tuple[Derivative, ...]]


def chained(first: Callable[..., Result], second: Callable[[Array], Result]) -> Callable[..., Result]:
    """Return two primitives, the second of one array, as one: a single place in the graph, with the same numbers."""

    def both(*arrays: Array, **settings: Any) -> Result:
        between, derivatives = first(*arrays, **settings)
        value, (to_between,) = second(between)
        if len(derivatives) > 1:
            return value, tuple(lambda g, to_one=each: to_one(to_between(g)) for each in derivatives)
        (to_a,) = derivatives
        return value, (lambda g: to_a(to_between(g)),)  # type: ignore[arg-type]  # no table of rows

    return both


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


# --- Sums and maxima over axes ---


def sum(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the sum along axes, all of them if None, and its derivative."""
    along = numpy_axis(axis)

    def derivative(g: Array) -> Array:
        gradient = np.empty(a.shape, g.dtype)  # np.broadcast_to takes as long as a small network's whole step
        gradient[...] = g if along is None or keepdims else np.expand_dims(g, along)
        return gradient

    total: Array = a.sum(axis=along, keepdims=keepdims)
    return total, (derivative,)


def mean(a: Array, *, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the mean along axes, of all entries if None, and its derivative. Raises ValueError for no entries."""
    total, (to_sum,) = sum(a, axis=axis, keepdims=keepdims)
    count = count_along(a.shape, axis)
    if not count and total.size:
        raise ValueError(f"a tensor of shape {a.shape} has no mean: it holds no numbers")
    divisor = a.dtype.type(count or 1) if a.dtype.kind == "f" else count or 1
    return total / divisor, (lambda g: to_sum(g / divisor),)


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
            inputs = _as_rows(left)
            slopes = g.reshape(len(inputs), right.shape[1])
            # Of one row each entry is one product, for which BLAS takes three times as long.
            gradient = inputs.T * slopes if len(inputs) == 1 else inputs.T @ slopes
        else:
            gradient = left.swapaxes(-1, -2) @ g.reshape(product.shape)
        return gradient if b.ndim > 1 else gradient[..., 0]

    def to_left(g: Array) -> Array:
        g = g.reshape(product.shape) if single else g
        return _times_matrix(g, right.T) if right.ndim == 2 else g @ right.swapaxes(-1, -2)

    return product.squeeze(single) if single else product, (to_left, to_right)


def _times_matrix(rows: Array, matrix: Array) -> Array:
    """rows @ matrix in one product over all leading axes: NumPy would make a small one for each of them."""
    product: Array = _as_rows(rows) @ matrix
    return product if rows.ndim == 2 else product.reshape(*rows.shape[:-1], matrix.shape[1])


def _as_rows(array: Array) -> Array:
    """Return an array with all leading axes as one."""
    return array if array.ndim == 2 else array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


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


def embedding_bag(
    table: Array, weights: Array | None = None, *, indices: Array, offsets: Array, mode: str = "sum"
) -> Result:
    """Sum of the rows in each bag, each row times its weight where weights are given; divided as `mode` says.

    Args:
        table: shape (rows, dim).
        weights: None or shape (entries,).
        indices: row numbers of all bags, one bag after the other, shape (entries,).
        offsets: where each bag starts in `indices`, shape (bags,); an empty bag sums to 0.
        mode: "sum", or "mean" or "root", which divide by the number of entries or by its root.
    """
    sizes = bag_sizes(indices, offsets)
    indices = check_indices(indices, len(table))
    if weights is None:
        sums = sum_bags(table, indices, offsets, sizes)
        if mode == "sum":
            return sums, (lambda g: RowGradient(table.shape, indices, g, sizes),)
        divisor = _divisor(sizes, mode, sums.dtype)
        return sums / divisor, (lambda g: RowGradient(table.shape, indices, g / divisor, sizes),)
    if weights.shape != indices.shape:
        raise ValueError(f"weights of shape {weights.shape} do not fit indices of shape {indices.shape}")
    rows, column = table.take(indices, axis=0), weights[:, None]
    sums = sum_runs(rows * column, offsets, sizes)
    divisor = _divisor(sizes, mode, sums.dtype)
    return sums / divisor, (
        lambda g: RowGradient(table.shape, indices, (g / divisor).repeat(sizes, axis=0) * column),
        lambda g: ((g / divisor).repeat(sizes, axis=0) * rows).sum(axis=1),
    )


def _divisor(sizes: Array, mode: str, dtype: npt.DTypeLike) -> Array:
    """Return what the sums of bags are divided by, shape (bags, 1); an empty bag counts as one entry."""
    counts = np.ones_like(sizes) if mode == "sum" else np.maximum(sizes, 1)
    return (np.sqrt(counts) if mode == "root" else counts).astype(dtype)[:, None]
