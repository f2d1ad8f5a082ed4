"""Powers of one number modulo the square of another, with AVX-512 IFMA: its limbs lie side by side in the vectors.

The kernels work on as many numbers at once as a vector has lanes, and take as long for one of them. A client's base of
noise and the one equation of a proof are single powers; this makes them about six times as fast as GMP.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from core.secagg.kernel import IFMA, PAIR_BITS, WINDOW, chosen, library_of

SIDE_BY_SIDE = 8  # limbs of a vector, as in ifma.c
LENGTHS = (24, 40, 64, 80)
"""Limbs of the roots that there is code for: those of 829 to 1244, 1661 to 2076, 2909 to 3324 and 3741 to 4156 bits."""
PAYS_TO = 5
"""Numbers; more of them are faster side by side, in the lanes (measured modulo the square of 2048 bits)."""

Words = npt.NDArray[np.uint64]
"""Pairs of numbers as in lanes.h, the limbs of the second after those of the first: shape (pairs, 2 * limbs)."""


class Alone:
    """Arithmetic modulo the square of an odd number, for one number at a time. Exponents are public.

    Args:
        root: the number.

    Raises ValueError if there is no code for its length; `alone` asks first.
    """

    def __init__(self, root: mpz) -> None:
        self._root, self._square = root, root**2
        self._limbs = _limbs(root)
        if self._limbs not in LENGTHS:
            raise ValueError(f"a root of {root.bit_length()} bits has no code of its own; leave the work to GMP")
        r = mpz(1) << (IFMA.limb_bits * self._limbs)
        self._r, self._leaving = r % self._square, gmpy2.invert(r, self._square)
        self._size = self._limbs * IFMA.limb_bits // 8
        self._one = self._pair(self._r)
        inverse = int(-gmpy2.invert(root, 1 << IFMA.limb_bits) % (1 << IFMA.limb_bits))
        self._modulus = self._cut([root])
        self._arguments = (self._modulus.ctypes.data, inverse, self._limbs)

    def power(self, number: mpz, exponent: int) -> mpz:
        """Return a number to the power of a public exponent, at least 0. Raises MemoryError."""
        pair, length = self._pair(number * self._r % self._square), -(-exponent.bit_length() // WINDOW)
        digits = bytes(exponent >> (WINDOW * place) & (1 << WINDOW) - 1 for place in reversed(range(length)))
        if not _functions().power_alone(pair.ctypes.data, digits, length, self._one.ctypes.data, *self._arguments):
            raise MemoryError("there is no memory for the powers of a number")
        return self._numbers(pair)[0]

    def squares(self, number: mpz, times: int, count: int) -> list[mpz]:
        """Return the number and what it is squared so many times, again and again: number^(2^(times * k))."""
        pair, out = self._pair(number * self._r % self._square), np.empty((count, 2 * self._limbs), np.uint64)
        _functions().squares_alone(out.ctypes.data, pair.ctypes.data, times, count, *self._arguments)
        return self._numbers(out)

    def _pair(self, number: mpz) -> Words:
        quotient, rest = gmpy2.f_divmod(number, self._root)
        return self._cut([rest, self._root - quotient])

    def _cut(self, numbers: list[mpz]) -> Words:
        raw = b"".join(number.to_bytes(self._size, "little") for number in numbers)
        words = np.empty((1, len(numbers) * self._limbs), np.uint64)
        _functions().to_limbs(words.ctypes.data, raw, len(numbers), self._size, self._limbs)
        return words

    def _numbers(self, pairs: Words) -> list[mpz]:
        raw = np.empty((2 * len(pairs), self._size), np.uint8)
        _functions().from_limbs(raw.ctypes.data, pairs.ctypes.data, len(raw), self._size, self._limbs)
        halves = [mpz.from_bytes(half.tobytes(), "little") for half in raw]
        whole = (a - b * self._root for a, b in zip(halves[::2], halves[1::2], strict=True))
        return [number * self._leaving % self._square for number in whole]


def alone(modulus: mpz) -> Alone | None:
    """Return arithmetic for single numbers modulo an odd square; None where there is none, or GMP is faster."""
    if chosen(modulus.bit_length()) != IFMA:
        return None
    root, rest = gmpy2.isqrt_rem(modulus)
    return Alone(root) if not rest and _limbs(root) in LENGTHS else None


def _limbs(root: mpz) -> int:
    """Return how many limbs a number takes, so that R is above 16 times it: a multiple of eight."""
    bits = int(root.bit_length()) + 2 + PAIR_BITS
    return -(-bits // (SIDE_BY_SIDE * IFMA.limb_bits)) * SIDE_BY_SIDE


@cache
def _functions() -> Any:
    functions = library_of(IFMA)
    pointer, size = ctypes.c_void_p, ctypes.c_uint64
    functions.power_alone.argtypes = (pointer, ctypes.c_char_p, size, *[pointer] * 2, size, size)
    functions.squares_alone.argtypes = (*[pointer] * 2, size, size, pointer, size, size)
    functions.squares_alone.restype = None
    return functions
