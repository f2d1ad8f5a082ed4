"""Many powers of one base: tables of the base's powers, so that each further power is a product of entries.

An exponent is cut into digits of `window` bits; for each place there is a table of base^(digit * 2^(window * place)),
and a power is the product of one entry for each place (Brickell, Gordon, McCurley and Wilson, EUROCRYPT 1992, in its
simplest form).
"""

from __future__ import annotations

import os
from typing import Protocol

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from core.secagg import kernel
from core.secagg.kernel.alone import alone

IntArray = npt.NDArray[np.int64]
LARGEST_TABLES = 1 << 27
"""Bytes that a client's tables may take: a phone could not hold what would be fastest for millions of weights."""


class FixedBase(Protocol):
    """Powers of one base modulo n² or n³."""

    def random_powers(self, count: int) -> list[mpz]:
        """Return base^a for fresh uniform exponents a from the operating system's randomness."""

    def known_powers(self, count: int) -> tuple[list[mpz], list[int]]:
        """Return base^a, and the exponents a too."""

    def power(self, exponent: int) -> mpz:
        """Return base^exponent for an exponent that has as many digits as there are tables, or fewer."""


def make_fixed_base(base: mpz, modulus: mpz, degree: int, exponent_bits: int, expected: int) -> FixedBase:
    """Prepare the base for about `expected` powers, with a kernel where there is one.

    Args:
        base: a unit mod n², or mod n³ if the degree is 2.
        modulus: n.
        degree: one less than the power of n that the arithmetic is modulo.
        exponent_bits: the least number of bits in a random exponent.
        expected: about how many powers will be wanted.
    """
    whole = modulus ** (degree + 1)
    entry_bytes, with_kernel = whole.bit_length() // 8, kernel.available(whole.bit_length())
    if degree == 1 and not with_kernel:
        window = best_window(exponent_bits, expected, GmpFixedBase.BUILDING, entry_bytes)
        return GmpFixedBase(base, modulus, exponent_bits, window)
    window = best_window(exponent_bits, expected, 1.0, entry_bytes)
    return (KernelFixedBase if with_kernel else PlainFixedBase)(base, whole, exponent_bits, window)


def best_window(exponent_bits: int, expected: int, building: float, entry_bytes: int = 1) -> int:
    """Return how many bits of the exponent to look up at once, so that making the tables plus using them is least.

    Args:
        building: what it costs to make an entry, in steps of using one.
        entry_bytes: the size of an entry; tables larger than LARGEST_TABLES are not considered.
    """

    def cost(window: int) -> float:
        entries: int = 2**window
        return -(-exponent_bits // window) * (building * entries + expected)

    def fits(window: int) -> bool:
        size: int = -(-exponent_bits // window) * entry_bytes << window
        return window == 1 or size <= LARGEST_TABLES

    return min(filter(fits, range(1, 17)), key=cost)


class _Digits:
    """Exponents as digits: shape (exponents, places), each in [0, 2^window), the lowest place first."""

    def __init__(self, exponent_bits: int, window: int) -> None:
        self.window = window
        self.places = -(-exponent_bits // window)

    def random(self, count: int) -> IntArray:
        """Draw uniform exponents from the operating system's randomness."""
        words = np.frombuffer(os.urandom(2 * count * self.places), np.uint16).reshape(count, self.places)
        return (words & ((1 << self.window) - 1)).astype(np.int64)

    def exponents(self, digits: IntArray) -> list[int]:
        """Return the exponents that rows of digits stand for."""
        ones = ((digits[:, :, None] >> np.arange(self.window)) & 1).astype(np.uint8).reshape(len(digits), -1)
        return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(ones, axis=1, bitorder="little")]

    def of(self, exponent: int) -> IntArray:
        if not 0 <= exponent < 1 << (self.window * self.places):
            raise ValueError(f"the exponent has more than {self.places} digits of {self.window} bits")
        mask = (1 << self.window) - 1
        return np.array([[exponent >> (self.window * place) & mask for place in range(self.places)]])

    def bases(self, base: mpz, modulus: mpz) -> list[mpz]:
        """Return base^(2^(window * place)) for each place."""
        if single := alone(modulus):
            return single.squares(base, self.window, self.places)
        bases = [base]
        while len(bases) < self.places:
            for _ in range(self.window):
                base = base * base % modulus
            bases.append(base)
        return bases


class PlainFixedBase:
    """Tables of the powers as they are: the definition of the others.

    Args:
        base: a unit modulo `modulus`, which is the whole n² or n³ here.
        window: how many bits of the exponent one entry stands for.
    """

    def __init__(self, base: mpz, modulus: mpz, exponent_bits: int, window: int) -> None:
        self._modulus = modulus
        self._digits = _Digits(exponent_bits, window)
        self._tables = [self._table(power) for power in self._digits.bases(base, modulus)]

    def random_powers(self, count: int) -> list[mpz]:
        """Return the base to the power of that many random exponents."""
        return self._powers(self._digits.random(count))

    def known_powers(self, count: int) -> tuple[list[mpz], list[int]]:
        """Return the base to the power of that many random exponents, and the exponents."""
        digits = self._digits.random(count)
        return self._powers(digits), self._digits.exponents(digits)

    def power(self, exponent: int) -> mpz:
        """Return the base to a given power."""
        return self._powers(self._digits.of(exponent))[0]

    def _table(self, base: mpz) -> list[mpz]:
        powers = [mpz(1)]
        while len(powers) < 1 << self._digits.window:
            powers.append(powers[-1] * base % self._modulus)
        return powers

    def _powers(self, digits: IntArray) -> list[mpz]:
        products = [mpz(1)] * len(digits)
        for table, column in zip(self._tables, digits.T.tolist(), strict=True):
            products = [product * table[digit] % self._modulus for product, digit in zip(products, column, strict=True)]
        return products


class GmpFixedBase:
    """Tables for GMP modulo n², which spare half of each multiplication.

    A number mod n² can be written as r (1 + n)^l with r < n and l < n, and a product of such numbers is the product of
    the r and the sum of the l. So only r, half as long, has to be multiplied in at each step; l joins at the end. The
    entries are the same numbers, written another way.

    Args: as of PlainFixedBase, but `modulus` is n.
    """

    BUILDING = 2.0  # measured

    def __init__(self, base: mpz, modulus: mpz, exponent_bits: int, window: int) -> None:
        self._modulus, self._square = modulus, modulus**2
        self._digits = _Digits(exponent_bits, window)
        self._tables = [self._table(power) for power in self._digits.bases(base, self._square)]

    def random_powers(self, count: int) -> list[mpz]:
        """Return the base to the power of that many random exponents."""
        return self._powers(self._digits.random(count))

    def known_powers(self, count: int) -> tuple[list[mpz], list[int]]:
        """Return the base to the power of that many random exponents, and the exponents."""
        digits = self._digits.random(count)
        return self._powers(digits), self._digits.exponents(digits)

    def power(self, exponent: int) -> mpz:
        """Return the base to a given power."""
        return self._powers(self._digits.of(exponent))[0]

    def _powers(self, digits: IntArray) -> list[mpz]:
        """Multiply place by place, so that one table after the other is in the cache."""
        n, square = self._modulus, self._square
        products, logs = [mpz(1)] * len(digits), [mpz(0)] * len(digits)
        for (factors, exponents), column in zip(self._tables, digits.T.tolist(), strict=True):
            products = [product * factors[digit] % square for product, digit in zip(products, column, strict=True)]
            logs = [log + exponents[digit] for log, digit in zip(logs, column, strict=True)]
        return [times_plain(product, log, n, square) for product, log in zip(products, logs, strict=True)]

    def _table(self, base: mpz) -> tuple[list[mpz], list[mpz]]:
        """Return base^0, base^1 ... base^(2^window - 1): the r of each, and the l of each."""
        n = self._modulus
        step, high = base % n, base // n
        step_inverse = gmpy2.invert(step, n)
        step_log = high * step_inverse % n
        inverse = mpz(1)
        factors, logs = [mpz(1)], [mpz(0)]
        for _ in range((1 << self._digits.window) - 1):
            carry, factor = gmpy2.f_divmod(factors[-1] * step, n)
            inverse = inverse * step_inverse % n
            factors.append(factor)
            # carry * n + factor = factor (1 + n)^(carry / factor) mod n²
            logs.append((logs[-1] + step_log + carry * inverse) % n)
        return factors, logs


class KernelFixedBase:
    """Tables for the kernel: the powers themselves, one table after the other as rows of limbs.

    Args: as of PlainFixedBase.
    """

    def __init__(self, base: mpz, modulus: mpz, exponent_bits: int, window: int) -> None:
        self._digits = _Digits(exponent_bits, window)
        self._modulo = kernel.arithmetic(modulus)
        places = self._digits.places
        bases = self._modulo.enter(self._digits.bases(base, modulus))
        # Row digit * places + place holds base^(digit * 2^(window * place)).
        self._table = np.empty((places << window, self._modulo.words), np.uint64)
        self._table[:places] = self._modulo.enter([mpz(1)] * places)
        self._table[places : 2 * places] = bases
        # The bases stand second in the table: times the entries before, they give the next ones. A kernel has stored a
        # product before it needs it again, if all its lanes together reach no further than from one digit to the next.
        rows = np.arange(places, (places << window) - places)
        at_once = places if places < self._modulo.kernel.lanes else max(len(rows), 1)
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            chosen = np.array([some, places + some % places])
            self._modulo.multiply(self._table, chosen, out=self._table[some[0] + places : some[-1] + places + 1])

    def random_powers(self, count: int) -> list[mpz]:
        """Return the base to the power of that many random exponents."""
        return self._powers(self._digits.random(count))

    def known_powers(self, count: int) -> tuple[list[mpz], list[int]]:
        """Return the base to the power of that many random exponents, and the exponents."""
        digits = self._digits.random(count)
        return self._powers(digits), self._digits.exponents(digits)

    def power(self, exponent: int) -> mpz:
        """Return the base to a given power."""
        return self._powers(self._digits.of(exponent))[0]

    def _powers(self, digits: IntArray) -> list[mpz]:
        places = self._digits.places
        return self._modulo.leave(self._modulo.multiply(self._table, (digits * places + np.arange(places)).T))


def times_plain(factor: mpz, plaintext: mpz | int, modulus: mpz, square: mpz) -> mpz:
    """Return factor * (1 + plaintext * n) mod n², of which all but the remainder mod n is a multiple of n."""
    return (factor + (factor * plaintext % modulus) * modulus) % square
