"""The arithmetic, columns and hash trees of proofs of ranges, where a C compiler was found: several times as fast.

core/bounds asks `available()`, and finds the same numbers and bytes without it.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LIBRARY = Path(__file__).parent / "proofs.so"
HASH_BYTES = 20  # as in proofs.c
_POINTER, _SIZE, _BYTE = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint8

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Factors:
    """Fixed factors w modulo a prime p, each with floor(w 2^64 / p), which saves the division of every product."""

    numbers: IntArray
    quotients: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, numbers: IntArray, prime: int) -> Factors:
        """Return factors from numbers in [0, prime), of any shape."""
        quotients = np.array([(number << 64) // prime for number in numbers.reshape(-1).tolist()], np.uint64)
        return cls(np.ascontiguousarray(numbers), quotients.reshape(numbers.shape))


def available() -> bool:
    """Tell whether it is compiled, runs here, and is not switched off (GROKFED_KERNEL=off)."""
    return os.environ.get("GROKFED_KERNEL") != "off" and _library() is not None


def multiply(a: IntArray, b: IntArray | np.int64) -> IntArray:
    """Return products of elements of [0, prime), of arrays that fit together."""
    left, right = (np.ascontiguousarray(each, np.int64) for each in np.broadcast_arrays(a, b))
    out = np.empty(left.shape, np.int64)
    _library().multiply_numbers(out.ctypes.data, left.ctypes.data, right.ctypes.data, out.size)
    return out


def matrix_product(a: IntArray, b: IntArray) -> IntArray:
    """Return a @ b, shapes (rows, inner) and (inner, columns), of elements of [0, prime); inner is at most 2^13."""
    (rows, inner), columns = a.shape, b.shape[1]
    if inner != b.shape[0] or inner > 1 << 13:
        raise ValueError(f"matrices of shapes {a.shape} and {b.shape} cannot be multiplied here")
    left, right = np.ascontiguousarray(a, np.int64), np.ascontiguousarray(b.T, np.int64)
    out = np.empty((rows, columns), np.int64)
    _library().multiply_rows(out.ctypes.data, left.ctypes.data, right.ctypes.data, rows, columns, inner)
    return out


def mix(weights: IntArray, plus: npt.NDArray[np.uint8], minus: npt.NDArray[np.uint8]) -> IntArray:
    """Return the sums over rows of weight * (plus - minus), shape (copies, 8 * bytes). Raises MemoryError.

    Args:
        weights: in [0, prime), shape (copies, rows); at most 2,040 rows.
        plus, minus: bits, eight to a byte, the highest first: shape (rows, bytes).
    """
    copies, rows = weights.shape
    if plus.shape != minus.shape or len(plus) != rows:
        raise ValueError(f"bits of shapes {plus.shape} and {minus.shape} do not fit {rows} weights")
    kept = np.ascontiguousarray(weights, np.int64)
    first, second = np.ascontiguousarray(plus), np.ascontiguousarray(minus)
    size = first.shape[1]
    out = np.empty((copies, 8 * size), np.int64)
    for weight, mixed in zip(kept, out, strict=True):
        addresses = (each.ctypes.data for each in (mixed, weight, first, second))
        if not _library().mix_bits(*addresses, rows, size):
            raise MemoryError(f"there is no memory for the sums of {rows} weights")
    return out


def transform(numbers: IntArray, factors: Factors, order: IntArray) -> IntArray:
    """Return the number-theoretic transform along the last axis. Args: as of encode(). Raises MemoryError."""
    length = numbers.shape[-1]
    _check_factors(factors, order, length)
    kept, out = np.ascontiguousarray(numbers, np.int64), np.empty(numbers.shape, np.int64)
    addresses = (each.ctypes.data for each in (out, kept, factors.numbers, factors.quotients, order))
    if not _library().transform_rows(*addresses, kept.size // length, length):
        raise MemoryError(f"there is no memory for {length} numbers")
    return out


def _check_factors(factors: Factors, order: IntArray, length: int) -> None:
    if len(factors.numbers) != length - 1 or len(order) != length:
        raise ValueError(f"these factors are not for polynomials of {length} coefficients")


def encode(coefficients: IntArray, shifts: Factors, factors: Factors, order: IntArray) -> IntArray:
    """Return the values of polynomials at all places, shape (cosets * length, rows).

    Args:
        coefficients: shape (rows, length), in [0, prime).
        shifts: the powers of each coset's first place, shape (cosets, length).
        factors: of all levels of a transform, length - 1 in all.
        order: where the results of the transform stand, shape (length,).

    Raises MemoryError.
    """
    rows, length = coefficients.shape
    cosets = len(shifts.numbers)
    _check_factors(factors, order, length)
    if shifts.numbers.shape[1] != length:
        raise ValueError(f"these shifts are not for polynomials of {length} coefficients")
    out = np.empty((cosets * length, rows), np.int64)
    kept = np.ascontiguousarray(coefficients, np.int64)
    addresses = (each.ctypes.data for each in (shifts.numbers, shifts.quotients, factors.numbers, factors.quotients))
    done = _library().encode_rows(
        out.ctypes.data, kept.ctypes.data, *addresses, order.ctypes.data, rows, length, cosets
    )  # fmt: skip
    if not done:
        raise MemoryError(f"there is no memory for {rows} polynomials of {length} coefficients")
    return out


def tree_levels(
    tag: bytes, node: bytes, salts: bytes, columns: IntArray, *, extension: bool | None = None
) -> list[bytes]:
    """Return the hashes of all levels of a tree over columns, the leaves first (core.bounds.tree.Tree).

    Args:
        tag, node: one byte before each leaf, and before each pair of hashes.
        salts: 16 bytes for each column.
        columns: little-endian, contiguous, shape (columns, rows); as many as a power of 2.
        extension: whether to use the processor's instructions for SHA-256; where it has them if left out.

    Raises MemoryError.
    """
    count, rows = columns.shape
    if count & (count - 1) or len(salts) != 16 * count or not columns.flags.c_contiguous:
        raise ValueError(f"{count} columns and {len(salts)} bytes of salts are not those of a tree")
    library = _library()
    with_sha = library.has_sha() if extension is None else extension
    out = np.empty(HASH_BYTES * (2 * count - 1), np.uint8)
    if not library.hash_tree(
        out.ctypes.data, tag[0], node[0], salts, columns.ctypes.data, count, 8 * rows, int(with_sha)
    ):
        raise MemoryError(f"there is no memory for a column of {rows} rows")
    raw, levels = out.tobytes(), []
    while count:
        levels.append(raw[: HASH_BYTES * count])
        raw, count = raw[HASH_BYTES * count :], count // 2
    return levels


@cache
def _library() -> Any:
    """Load the compiled library; None if it is not there or cannot run here."""
    try:
        functions = ctypes.CDLL(str(LIBRARY))
        functions.encode_rows.argtypes = (*[_POINTER] * 7, _SIZE, _SIZE, _SIZE)
        functions.multiply_numbers.argtypes = (*[_POINTER] * 3, _SIZE)
        functions.multiply_rows.argtypes = (*[_POINTER] * 3, _SIZE, _SIZE, _SIZE)
        functions.multiply_numbers.restype = functions.multiply_rows.restype = None
        functions.mix_bits.argtypes = (*[_POINTER] * 4, _SIZE, _SIZE)
        functions.transform_rows.argtypes = (*[_POINTER] * 5, _SIZE, _SIZE)
        functions.hash_tree.argtypes = (
            _POINTER, _BYTE, _BYTE, ctypes.c_char_p, _POINTER, _SIZE, _SIZE, ctypes.c_int
        )  # fmt: skip
    except (OSError, AttributeError):  # missing, of another machine, or of another version
        return None
    return functions if functions.supported() else None
