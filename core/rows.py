"""Rows of a table that are looked up by number: sums of many of them, and gradients that go to a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.indices import Array, smallest, sorted_set

_BAGS_AT_A_TIME = 32
_LONG = 16  # entries in a bag, on average, and numbers in a row, from which on matrix products win
_PAIRS: dict[Any, npt.DTypeLike] = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}


@dataclass(frozen=True)
class RowGradient:
    """The gradient of a table of which a few rows were looked up: 0 everywhere else, repeated rows add up.

    Attributes:
        shape: the table's shape, (rows, ...).
        indices: row numbers, shape (entries,).
        values: shape (entries, ...); or (bags, ...), if the entries of a bag all receive the same.
        sizes: None, or how many entries each bag has, one bag after the other, shape (bags,).
    """

    shape: tuple[int, ...]
    indices: Array
    values: Array
    sizes: Array | None = None

    def dense(self) -> Array:
        """Return the gradient as a whole array of the table's shape."""
        table = np.zeros(self.shape, self.values.dtype)
        self.add_to(table)
        return table

    def add_to(self, table: Array, factor: float = 1) -> None:
        """Add this gradient times a factor to a table, in place."""
        values = self.values if factor == 1 else factor * self.values
        if self.sizes is None:
            add_to_rows(table, self.indices, values)
        else:
            add_bags_to_rows(table, self.indices, values, self.sizes)


class RowMoments:
    """Running averages of the gradient of a table and of its square: only of rows that were looked up so far.

    Of all others both are 0. So what is computed from them costs no more than the rows in use, and is the same.

    Attributes:
        rows: row numbers, in the order in which they were first looked up, shape (in use,).
        mean: shape (in use, ...).
        square: shape (in use, ...).
        steps: how many gradients there were.
    """

    def __init__(self, table: Array) -> None:
        self.rows = np.zeros(0, np.int64)
        self.mean, self.square = np.zeros((2, 0, *table.shape[1:]), table.dtype)
        self.steps = 0
        self._place = np.full(len(table), -1)  # of each row of the table in `rows`

    def gradient(self, parts: Sequence[RowGradient]) -> Array:
        """Take up the rows of a gradient that are new; return the whole gradient of all rows in use, in their order."""
        for part in parts:
            self._take_up(part.indices[self._place.take(part.indices) < 0])
        whole, *others = (self._placed(part) for part in parts)
        for other in others:
            whole += other
        return whole

    def whole(self) -> dict[str, Array]:
        """Return the number of steps and both averages by name, these in the table's shape."""
        mean, square = np.zeros((2, len(self._place), *self.mean.shape[1:]), self.mean.dtype)
        mean[self.rows], square[self.rows] = self.mean, self.square
        return {"steps": np.asarray(self.steps), "mean": mean, "square": square}

    def _take_up(self, indices: Array) -> None:
        if len(indices):
            fresh = sorted_set(indices)
            self._place[fresh] = np.arange(len(self.rows), len(self.rows) + len(fresh))
            zeros = np.zeros((len(fresh), *self.mean.shape[1:]), self.mean.dtype)
            self.rows = np.concatenate([self.rows, fresh])
            self.mean, self.square = np.concatenate([self.mean, zeros]), np.concatenate([self.square, zeros])

    def _placed(self, part: RowGradient) -> Array:
        places = self._place.take(part.indices)
        dense = RowGradient(self.mean.shape, places, part.values, part.sizes).dense()
        return dense.astype(self.mean.dtype, copy=False)


def sum_bags(table: Array, indices: Array, offsets: Array, sizes: Array) -> Array:
    """Sum the rows of each bag of row numbers: (rows, dim) -> (bags, dim)."""
    if not _are_long(len(offsets), len(indices), table.shape[1:]):
        return sum_runs(table.take(indices, axis=0), offsets, sizes)
    sums = np.zeros((len(offsets), table.shape[1]), table.dtype)
    ones = np.ones(sizes.max(), table.dtype)
    for total, start, size in zip(sums, offsets.tolist(), sizes.tolist(), strict=True):
        np.matmul(ones[:size], table.take(indices[start : start + size], axis=0), out=total)
    return sums


def sum_runs(rows: Array, offsets: Array, sizes: Array) -> Array:
    """Sum consecutive runs of rows: (entries, dim) -> (bags, dim)."""
    if len(sizes) and smallest(sizes) > 0:
        return np.add.reduceat(rows, offsets, axis=0)
    filled = sizes > 0  # reduceat would give an empty bag the row that follows it
    sums = np.zeros((len(offsets), *rows.shape[1:]), rows.dtype)
    if filled.any():
        sums[filled] = np.add.reduceat(rows, offsets[filled], axis=0)
    return sums


def add_to_rows(table: Array, indices: Array, values: Array) -> None:
    """Add `values`, shape (entries, ...), to the rows `indices` of a table in place; repeated rows add up."""
    if not values.size:
        return
    indices = indices.astype(np.int64, copy=False)  # or places in a large table overflow small integers
    if not table.flags.c_contiguous:  # a flat view of it would be a copy, and the additions lost
        np.add.at(table, indices, values)
        return
    # np.add.at on a flat array is 3 to 10 times faster than on rows, and than sorting and np.add.reduceat.
    flat_table, flat_values = table.reshape(-1), np.ascontiguousarray(values).reshape(-1)
    width = values[0].size
    if width % 2 == 0 and table.dtype == values.dtype and table.dtype in _PAIRS:
        # A complex number is two floats, added separately; np.add.at takes as long for it as for one of them.
        pair = _PAIRS[table.dtype]
        flat_table, flat_values, width = flat_table.view(pair), flat_values.view(pair), width // 2
    places = indices if width == 1 else (indices[:, None] * width + np.arange(width)).reshape(-1)
    np.add.at(flat_table, places, flat_values)


def add_bags_to_rows(table: Array, indices: Array, values: Array, sizes: Array) -> None:
    """Add the value of its bag to the row of each entry, in place; shapes as in `RowGradient`.

    The rows of long bags receive (how often each row is in each bag) @ values: one product for a few bags at a
    time, as with many bags nearly all those counts would be 0.
    """
    if not _are_long(len(values), len(indices), values.shape[1:]):
        add_to_rows(table, indices, values.repeat(sizes, axis=0))
        return
    bags = np.repeat(np.arange(len(values)), sizes)
    indices = indices.astype(np.int64, copy=False)
    one = values.dtype.type(1)  # of the same type, or np.add.at is ten times slower
    for first in range(0, len(values), _BAGS_AT_A_TIME):
        part = values[first : first + _BAGS_AT_A_TIME]
        start, end = np.searchsorted(bags, [first, first + len(part)])
        rows, places = np.unique(indices[start:end], return_inverse=True)
        counts = np.zeros((len(rows), len(part)), values.dtype)
        np.add.at(counts.reshape(-1), places * len(part) + (bags[start:end] - first), one)
        sums = table.take(rows, axis=0)  # faster than table[rows] +=
        sums += counts @ part
        table[rows] = sums


def _are_long(bags: int, entries: int, row: tuple[int, ...]) -> bool:
    """Return whether bags of wide rows are so long that matrix products are faster than work on each entry."""
    return len(row) == 1 and row[0] >= _LONG and entries >= _LONG * bags > 0
