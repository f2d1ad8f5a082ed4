"""Several modular multiplications at once, where a C compiler was found and the processor has the instructions.

There are two kernels: one for AVX-512 IFMA, which multiplies eight numbers at once, and one for AVX2, which multiplies
four. Neither is ever needed: what uses them asks `available()` and else leaves the work to GMP, with the same results
to the bit. GROKFED_KERNEL in the environment names the kernel to use (ifma or avx2), or is off; the default is the
fastest that there is.

    >>> from core.secagg.kernel import Montgomery, available
    >>> if available():
    ...     modulo_77 = Montgomery(77)
    ...     numbers = modulo_77.enter([10, 20, 30])
    ...     products = modulo_77.multiply(numbers, [[0, 1], [1, 2]])  # 10 * 20 and 20 * 30
    ...     assert modulo_77.leave(products) == [200 % 77, 600 % 77]
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

WINDOW = 5  # as in lanes.h
PAIR_BITS = 2  # by which R is longer for pairs: above 16 n instead of 4 n (lanes.h)

Rows = npt.NDArray[np.uint64]
"""Numbers, each a row of limbs, or of the limbs of a pair: shape (numbers, words)."""

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_uint64


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel, as its source describes it.

    Attributes:
        lanes: how many numbers it works on at once, however few there are.
        limb_bits: bits of a number in each word.
        limbs_at_a_time: numbers have a multiple of so many limbs, and at least `fewest_limbs`.
    """

    name: str
    lanes: int
    limb_bits: int
    limbs_at_a_time: int
    fewest_limbs: int
    most_limbs: int

    @property
    def library(self) -> Path:
        """Where it is compiled to."""
        return Path(__file__).parent / f"{self.name}.so"

    @property
    def most_bits(self) -> int:
        """The longest modulus: R, a power of two, must be above four times the modulus."""
        return self.most_limbs * self.limb_bits - 2

    def limbs(self, bits: int) -> int:
        """Return how many limbs a modulus takes."""
        step = self.limbs_at_a_time
        return max(self.fewest_limbs, -(-(bits + 2) // (step * self.limb_bits)) * step)


IFMA = Kernel("ifma", lanes=8, limb_bits=52, limbs_at_a_time=2, fewest_limbs=2, most_limbs=320)
AVX2 = Kernel("avx2", lanes=4, limb_bits=27, limbs_at_a_time=4, fewest_limbs=8, most_limbs=480)
KERNELS = (IFMA, AVX2)
"""The fastest first."""


def chosen(bits: int = 0) -> Kernel | None:
    """Return the kernel to use for a modulus: compiled, for this processor, and not switched off; None for GMP."""
    asked = os.environ.get("GROKFED_KERNEL", "on")
    usable = (kernel for kernel in KERNELS if asked in ("on", kernel.name) and bits <= kernel.most_bits)
    return next((kernel for kernel in usable if _library(kernel.library) is not None), None)


def available(bits: int = 0) -> bool:
    """Tell whether there is a kernel to use for such a modulus."""
    return chosen(bits) is not None


class Montgomery:
    """Arithmetic modulo an odd number, on numbers in Montgomery's form: x stands as x R mod n, R = 2^(limbs * bits).

    Args:
        kernel: the one that `chosen` returns, if left out.
        pairs: whether the modulus is the square of a number q, modulo which a row is a pair that stands for a - b q. A
            product takes five eighths of the work then, a square half of it (lanes.h).

    Attributes:
        words: of a row.
        r: R modulo n, or with pairs modulo n = q².

    Raises ValueError if the modulus is even or too long for the kernel, or is no square, or if there is no kernel.
    """

    def __init__(self, modulus: mpz | int, kernel: Kernel | None = None, *, pairs: bool = False) -> None:
        self.modulus = mpz(modulus)
        bits = self.modulus.bit_length()
        kernel = kernel or chosen(bits) or chosen()
        if kernel is None:
            raise ValueError("there is no kernel for this processor, or it is switched off; leave the work to GMP")
        self.kernel, limb_bits = kernel, kernel.limb_bits
        if self.modulus % 2 == 0 or bits > kernel.most_bits:
            raise ValueError(f"a modulus of {bits} bits must be odd and of at most {kernel.most_bits:,} bits")
        self._pairs, self._divisor = pairs, gmpy2.isqrt(self.modulus) if pairs else self.modulus
        self._limbs = kernel.limbs(self._divisor.bit_length() + PAIR_BITS * pairs)
        self.words = self._limbs << pairs
        if pairs and (self._divisor**2 != self.modulus or self.words > kernel.most_limbs):
            raise ValueError(f"a modulus of {bits} bits is no square, or too long for pairs")
        self._functions = _library(kernel.library)
        self._size = -(-self._limbs * limb_bits // 8)
        self._inverse = int(-gmpy2.invert(self._divisor, 1 << limb_bits) % (1 << limb_bits))
        self._divisor_row = self._cut([self._divisor])
        self.r = (mpz(1) << (limb_bits * self._limbs)) % self.modulus
        self._constants = self.rows([self.r * self.r % self.modulus, mpz(1)])
        self._one = self.rows([self.r])

    def rows(self, numbers: Sequence[mpz]) -> Rows:
        """Cut numbers below 2 n into limbs, as they are; with pairs they are below n."""
        if not self._pairs:
            return self._cut(numbers)
        divided = (gmpy2.f_divmod(number, self._divisor) for number in numbers)
        halves = (half for quotient, rest in divided for half in (rest, self._divisor - quotient))
        return self._cut(halves).reshape(len(numbers), self.words)

    def rows_of_bytes(self, raw: bytes, size: int) -> Rows:
        """Cut numbers below 2 n, each of `size` little-endian bytes, into limbs, as they are; not for pairs."""
        rows = np.empty((len(raw) // size, self._limbs), np.uint64)
        self._functions.to_limbs(_address(rows), raw, len(rows), size, self._limbs)
        return rows

    def integers(self, rows: Rows) -> list[mpz]:
        """Return the numbers that stand in rows, each in [0, n)."""
        self._check_rows(rows)
        raw = np.empty((len(rows) << self._pairs, self._size), np.uint8)
        self._functions.from_limbs(_address(raw), _address(rows), len(raw), self._size, self._limbs)
        numbers = [mpz.from_bytes(row.tobytes(), "little") for row in raw]
        if self._pairs:
            numbers = [a - b * self._divisor for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        return [number % self.modulus for number in numbers]

    def enter(self, numbers: Sequence[mpz | int]) -> Rows:
        """Bring numbers in [0, n) into Montgomery's form."""
        return self._times(self.rows([mpz(number) for number in numbers]), constant=0)

    def leave(self, rows: Rows) -> list[mpz]:
        """Return the numbers that stand in Montgomery's form."""
        return self.integers(self._times(rows, constant=1))

    def multiply(self, table: Rows, chosen: npt.ArrayLike, out: Rows | None = None) -> Rows:
        """Multiply rows of a table: out[k] = table[chosen[0][k]] * table[chosen[1][k]] * ..., divided by R each time.

        Args:
            table: shape (numbers, words).
            chosen: numbers of rows, shape (factors, products).
            out: where the products go, shape (products, words); new if left out. It may be a part of the table, if no
                product is a factor of one of the next `kernel.lanes`.
        """
        places = np.ascontiguousarray(chosen, np.int64)
        factors, products = places.shape
        if not factors:
            raise ValueError("a product needs at least one factor")
        if places.size and not 0 <= places.min() <= places.max() < len(table):
            raise ValueError(f"rows {places.min()} to {places.max()} are not all in a table of {len(table)}")
        out = self._empty(products) if out is None else out
        for rows in (table, out):
            self._check_rows(rows)
        if out.shape != (products, self.words):
            raise ValueError(f"{products} products do not fit rows of shape {out.shape}")
        self._functions.multiply_rows(
            _address(out), _address(table), _address(places), factors, products,
            _address(self._divisor_row), self._inverse, self._limbs, self._pairs,
        )  # fmt: skip
        return out

    def power(self, numbers: Rows, exponent: int, bits: int | None = None, *, public: bool = False) -> Rows:
        """Raise numbers in Montgomery's form to one exponent, in steps that depend on its length only.

        What is read from memory depends on the length only, too; with `bits` given, on that instead of the length. A
        public exponent saves these precautions, and a twentieth of the time.

        Raises ValueError if the exponent is negative or has more bits than that, and MemoryError.
        """
        self._check_rows(numbers)
        bits = exponent.bit_length() if bits is None else bits
        if not 0 <= exponent < 1 << bits:
            raise ValueError(f"an exponent of {exponent.bit_length()} bits is negative or has more than {bits}")
        length = -(-bits // WINDOW)
        digits = bytes(exponent >> (WINDOW * place) & (1 << WINDOW) - 1 for place in reversed(range(length)))
        out = self._empty(len(numbers))
        done = self._functions.powers_of_rows(
            _address(out), _address(numbers), len(numbers), digits, length, not public,
            _address(self._one), _address(self._divisor_row), self._inverse, self._limbs, self._pairs,
        )  # fmt: skip
        if not done:
            raise MemoryError(f"there is no memory for the powers of {self.kernel.lanes} numbers")
        return out

    def _check_rows(self, rows: Rows) -> None:
        if rows.dtype != np.uint64 or not rows.flags.c_contiguous or rows.shape[1:] != (self.words,):
            raise ValueError(f"rows must be contiguous, of {self.words} words, not of shape {rows.shape}")

    def _times(self, rows: Rows, constant: int) -> Rows:
        table = np.concatenate([rows, self._constants])
        count = len(rows)
        return self.multiply(table, [np.arange(count), np.full(count, count + constant)])

    def _empty(self, count: int) -> Rows:
        return np.empty((count, self.words), np.uint64)

    def _cut(self, numbers: Iterable[mpz]) -> Rows:
        return self.rows_of_bytes(b"".join(number.to_bytes(self._size, "little") for number in numbers), self._size)


def arithmetic(modulus: mpz) -> Montgomery:
    """Return arithmetic for many products of a number: with pairs, if the modulus is a square and not too long.

    Raises ValueError as `Montgomery`.
    """
    kernel, root = chosen(modulus.bit_length()), gmpy2.isqrt(modulus)
    fits = kernel is not None and 2 * kernel.limbs(root.bit_length() + PAIR_BITS) <= kernel.most_limbs
    return Montgomery(modulus, kernel, pairs=fits and root**2 == modulus)


def library_of(kernel: Kernel) -> Any:
    """Return the functions of a kernel that can be used here."""
    return _library(kernel.library)


def _address(array: npt.NDArray[Any]) -> int:
    return array.ctypes.data


@cache
def _library(path: Path) -> Any:
    """Load a compiled kernel; None if it is not there or cannot run here."""
    try:
        functions = ctypes.CDLL(str(path))
        modulo = (_POINTER, _SIZE, _SIZE, ctypes.c_int)
        functions.multiply_rows.argtypes = (*[_POINTER] * 3, _SIZE, _SIZE, *modulo)
        functions.powers_of_rows.argtypes = (
            _POINTER, _POINTER, _SIZE, ctypes.c_char_p, _SIZE, ctypes.c_int, _POINTER, *modulo
        )  # fmt: skip
        functions.to_limbs.argtypes = (_POINTER, ctypes.c_char_p, _SIZE, _SIZE, _SIZE)
        functions.from_limbs.argtypes = (_POINTER, _POINTER, _SIZE, _SIZE, _SIZE)
    except (OSError, AttributeError):  # missing, of another machine, or of another version
        return None
    for name in ("multiply_rows", "to_limbs", "from_limbs"):
        getattr(functions, name).restype = None
    return functions if functions.supported() else None
