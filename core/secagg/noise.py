"""Where the noise of a ciphertext comes from: n-th powers mod n², each used once.

A Paillier ciphertext is c = (1 + m n) s mod n², where the noise s is the n-th power of a number nobody knows. Making s
is nearly all the work of encrypting, and does not depend on the message. There are two ways to make it:

    TextbookNoise        s = r^n with r uniform below n: the definition (Paillier, EUROCRYPT 1999)
    ShortExponentNoise   s = h_s^a with h_s = h^n, h = -y², and a of half the modulus' bits
                         (Damgård, Jurik and Nielsen, Int. J. Inf. Secur. 9, 2010, section 4.2)

The second is some forty times faster, because the base of all its powers is the same and can be prepared, and the
exponent is half as long. What it costs is an assumption: that h_s^a for such short a cannot be told from an n-th power
of a uniform number. For a of half the modulus' bits that follows from the hardness of factoring n (Goldreich and Rosen,
J. Cryptology 16, 2003) together with Paillier's own assumption, if n is a product of two primes that are 3 modulo 4
and of which p - 1 and q - 1 share no factor but 2. `core.secagg.key_generation` makes such keys. A client cannot see
whether a key is one; but who makes the key can decrypt anyway.
"""

from __future__ import annotations

import os
import secrets
from enum import StrEnum
from typing import Protocol

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from core.secagg.scheme import PublicKey


class Noise(Protocol):
    """A source of n-th powers mod n². It must never be copied to another process: no power may be used twice."""

    def draw(self, count: int) -> list[mpz]:
        """Return fresh powers, each a number in [1, n²)."""


class TextbookNoise:
    """r uniform in [1, n), raised to the n-th power: the definition, and the test of every faster way."""

    def __init__(self, key: PublicKey) -> None:
        self._modulus = mpz(key.modulus)
        self._square = self._modulus**2

    def draw(self, count: int) -> list[mpz]:
        # r < n shares a factor with n with probability about 2^(1 - bits/2); such an r would factor the key.
        bases = [secrets.randbelow(int(self._modulus) - 1) + 1 for _ in range(count)]
        powers: list[mpz] = gmpy2.powmod_base_list(bases, self._modulus, self._square)
        return powers


class ShortExponentNoise:
    """Short random powers of one base, which is drawn anew for each of these objects, that is for each key.

    Args:
        key: its modulus must be 1 modulo 4, as every product of two primes that are 3 modulo 4 is.
        expected: about how many powers will be drawn; the tables are made as large as pays for so many.
        exponent_bits: half the bits of the modulus if left out. A shorter one is faster and needs an assumption of
            its own: that discrete logarithms so short are hard to find mod n².
    """

    def __init__(self, key: PublicKey, expected: int, exponent_bits: int | None = None) -> None:
        if key.modulus % 4 != 1:
            raise ValueError("the modulus is not 1 modulo 4, so it is no product of two primes that are 3 modulo 4")
        modulus = mpz(key.modulus)
        bits = key.bits // 2 if exponent_bits is None else exponent_bits
        y = mpz(secrets.randbelow(int(modulus) - 2) + 2)
        base = gmpy2.powmod(-y * y, modulus, modulus**2)
        self._power = FixedBase(base, modulus, bits, best_window(bits, expected))

    def draw(self, count: int) -> list[mpz]:
        return self._power.random_powers(count)


class NoiseKind(StrEnum):
    """How a client makes its noise; nobody else can tell, and all kinds add up with each other."""

    SHORT = "short"
    SHORT_512 = "short-512"
    TEXTBOOK = "textbook"


def noise_for(key: PublicKey, expected: int, kind: NoiseKind = NoiseKind.SHORT) -> Noise:
    """Return a source of about so many powers for one key.

    Short exponents are used only with a modulus that is 1 modulo 4, as those of this project are.
    """
    if kind is NoiseKind.TEXTBOOK or key.modulus % 4 != 1:
        return TextbookNoise(key)
    return ShortExponentNoise(key, expected, 512 if kind is NoiseKind.SHORT_512 else None)


# --- Many powers of one base ---

BUILDING = 2.0
"""What it costs to make one table entry, in multiplications of one power: measured."""


def best_window(exponent_bits: int, expected: int) -> int:
    """Return how many bits of the exponent to look up at once, so that making the tables plus using them is least."""

    def cost(window: int) -> float:
        entries: int = 2**window
        return -(-exponent_bits // window) * (BUILDING * entries + expected)

    return min(range(1, 17), key=cost)


class FixedBase:
    """Tables of base^(digit * 2^(window * place)), so that a power is a product of one entry for each place.

    A number mod n² can be written as r (1 + n)^l with r < n and l < n, and a product of such numbers is the product of
    the r and the sum of the l. So only r, half as long, has to be multiplied in at each step; l joins at the end. The
    entries are the same numbers, written another way.

    Args:
        base: a unit mod n².
        modulus: n.
        exponent_bits: the least number of random bits in an exponent.
        window: bits of the exponent that one entry stands for.
    """

    def __init__(self, base: mpz, modulus: mpz, exponent_bits: int, window: int) -> None:
        self._modulus, self._square = modulus, modulus**2
        self._window = window
        self._places = -(-exponent_bits // window)
        self._tables = [self._table(base)]
        for _ in range(self._places - 1):
            for _ in range(window):
                base = base * base % self._square
            self._tables.append(self._table(base))

    def random_powers(self, count: int) -> list[mpz]:
        """Return base^a for fresh uniform exponents a from the operating system's randomness."""
        return self._powers(self._random_digits(count))

    def power(self, exponent: int) -> mpz:
        """Return base^exponent for an exponent of at most `window` bits times the number of tables."""
        mask = (1 << self._window) - 1
        digits = [exponent >> (self._window * place) & mask for place in range(self._places)]
        return self._powers(np.array([digits]))[0]

    def _powers(self, digits: npt.NDArray[np.int64]) -> list[mpz]:
        """Return one power for each row of digits, place by place, so that one table after the other is at hand."""
        n, square = self._modulus, self._square
        products, logs = [mpz(1)] * len(digits), [mpz(0)] * len(digits)
        for (factors, exponents), column in zip(self._tables, digits.T.tolist(), strict=True):
            products = [product * factors[digit] % square for product, digit in zip(products, column, strict=True)]
            logs = [log + exponents[digit] for log, digit in zip(logs, column, strict=True)]
        return [times_plain(product, log, n, square) for product, log in zip(products, logs, strict=True)]

    def _random_digits(self, count: int) -> npt.NDArray[np.int64]:
        """Draw digits, shape (count, places), each uniform in [0, 2^window)."""
        bits = count * self._places * self._window
        random = np.frombuffer(os.urandom(-(-bits // 8)), np.uint8)
        ones = np.unpackbits(random, count=bits).reshape(count, self._places, self._window)
        digits: npt.NDArray[np.int64] = ones @ (1 << np.arange(self._window))
        return digits

    def _table(self, base: mpz) -> tuple[list[mpz], list[mpz]]:
        """Return base^0, base^1 ... base^(2^window - 1): the r of each, and the l of each."""
        n = self._modulus
        step, high = base % n, base // n
        step_inverse = gmpy2.invert(step, n)
        step_log = high * step_inverse % n
        inverse = mpz(1)
        factors, logs = [mpz(1)], [mpz(0)]
        for _ in range((1 << self._window) - 1):
            carry, factor = gmpy2.f_divmod(factors[-1] * step, n)
            inverse = inverse * step_inverse % n
            factors.append(factor)
            # carry * n + factor = factor (1 + n)^(carry / factor) mod n²
            logs.append((logs[-1] + step_log + carry * inverse) % n)
        return factors, logs


def times_plain(factor: mpz, plaintext: mpz | int, modulus: mpz, square: mpz) -> mpz:
    """Return factor * (1 + plaintext * n) mod n², of which all but the remainder mod n is a multiple of n."""
    return (factor + (factor * plaintext % modulus) * modulus) % square
