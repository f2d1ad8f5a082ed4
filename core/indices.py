"""Numbers of rows, classes and axes: brought into one form and checked before they are used."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_INT64 = np.dtype(np.int64)
Axis = int | Sequence[int] | None
Function = TypeVar("Function", bound=Callable[..., Any])


def as_indices(numbers: npt.ArrayLike | Sequence[int]) -> Array:
    """Return row or class numbers as int64, in which sums and products of them do not overflow.

    An empty list counts as integers; what is no integer is returned as it is, for `check_indices` to refuse.
    """
    array = np.asarray(numbers)
    if array.dtype is _INT64:
        return array
    return array.astype(np.int64, copy=False) if array.dtype.kind in "iu" or array.size == 0 else array


def check_indices(indices: Array, size: int, name: str = "indices") -> Array:
    """Return the numbers as int64; TypeError unless all are integers, IndexError unless all lie in 0 ... size - 1."""
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, not {indices.dtype}")
    rows = as_indices(indices)
    # Without their sign negative numbers are larger than any size: one look finds them and those that are too large.
    if rows.size and largest(rows.view(np.uint64)) >= size:
        raise IndexError(f"{name} from {indices.min()} to {indices.max()} are not all in 0 ... {size - 1}")
    return rows


def smallest(array: Array) -> Any:
    """Return the smallest entry as a Python number: of a few hundred entries three times as fast as `array.min()`."""
    return array.item(array.argmin())


def largest(array: Array) -> Any:
    """Return the largest entry as a Python number, as fast as `smallest`."""
    return array.item(array.argmax())


def sorted_set(numbers: Array) -> Array:
    """Return each of some whole numbers once, rising: of thousands several times as fast as `np.unique`."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def bag_sizes(indices: Array, offsets: Array) -> Array:
    """Return number of entries of each bag; raise ValueError if the offsets do not cut `indices` into bags."""
    if indices.ndim != 1 or offsets.ndim != 1:
        raise ValueError(f"indices of shape {indices.shape} and offsets of shape {offsets.shape} must both be flat")
    sizes = run_lengths(as_indices(offsets), len(indices))
    starts_right = offsets[0] == 0 if len(offsets) else len(indices) == 0
    if not starts_right or (len(sizes) and smallest(sizes) < 0):
        raise ValueError(f"offsets must rise from 0 to at most {len(indices)}, the number of indices")
    return sizes


def run_lengths(starts: Array, total: int) -> Array:
    """Return how long each of some runs is that lie one after the other among `total` entries, shape (runs,)."""
    lengths = np.empty_like(starts)  # np.diff with `append` takes five times as long for a batch
    if len(starts):
        np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
        lengths[-1] = total - starts[-1]
    return lengths


# --- Axes ---


def place(axis: int, ndim: int) -> int:
    """Count an axis from the front, as one of `ndim`; raise IndexError if it is none of them."""
    number = operator.index(axis)
    if not -ndim <= number < ndim:
        raise IndexError(f"there is no axis {number} among {ndim}")
    return number % ndim


def axes_of(axis: Axis) -> tuple[int, ...]:
    """Return one axis or several as a tuple."""
    return tuple(axis) if isinstance(axis, Sequence) else (operator.index(axis),)  # type: ignore[arg-type]


def numpy_axis(axis: Axis) -> int | tuple[int, ...] | None:
    """Return an axis as NumPy takes it: several as a tuple, never a list."""
    return tuple(axis) if isinstance(axis, Sequence) else axis


def count_along(shape: tuple[int, ...], axis: Axis) -> int:
    """Return how many numbers a reduction over these axes takes together; a single number counts as one axis of 1."""
    if axis is None or not shape:
        return math.prod(shape)
    return math.prod(shape[place(each, len(shape))] for each in axes_of(axis))


def takes_dim(function: Function) -> Function:
    """Let a function of `axis` and `keepdims` be called with PyTorch's names `dim` and `keepdim` too."""

    @wraps(function)
    def renamed(*args: Any, **options: Any) -> Any:
        for theirs, ours in (("dim", "axis"), ("keepdim", "keepdims")) if options else ():
            if theirs in options:
                if ours in options:
                    raise TypeError(f"{theirs} is another name of {ours}: pass one of them")
                options[ours] = options.pop(theirs)
        return function(*args, **options)

    return renamed  # type: ignore[return-value]


def sizes_of(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return sizes or axes given one by one, or as one tuple or list."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
