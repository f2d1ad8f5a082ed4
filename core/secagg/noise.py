"""Where the noise of a ciphertext comes from: n-th powers mod n², each used once.

A Paillier ciphertext is c = (1 + m n) s mod n², where the noise s is the n-th power of an unknown number. Making s
is nearly all the work of encrypting, and does not depend on the message. There are two ways to make it:

    TextbookNoise        s = r^n with r uniform below n: the definition (Paillier, EUROCRYPT 1999)
    ShortExponentNoise   s = h_s^a with h_s = h^n, h = -y², and a of half the modulus' bits
                         (Damgård, Jurik and Nielsen, Int. J. Inf. Secur. 9, 2010, section 4.2)

(With Damgård and Jurik's longer plaintexts, n² and n³ take the places of n and n².)

The second takes 16 to 55 times less processor time (docs/performance.md): the base of all its powers is the same and
can be prepared, and the exponent is half as long. Its numbers all have Jacobi symbol 1, which says how they were made,
and nothing of the message. What it costs is an assumption: that h_s^a for such short a looks the same as the n-th
power of a uniform number of Jacobi symbol 1. For a of half the modulus' bits that follows from the hardness of
factoring n (Goldreich and Rosen, J. Cryptology 16, 2003) together with Paillier's own assumption, if h generates all
those numbers: if n is a product of two primes that are 3 modulo 4, p - 1 and q - 1 share no factor but 2, and h misses
none of their factors. `registrar.key_generation` makes such keys. A client cannot see whether a key is one; but who
makes the key can decrypt anyway.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import gmpy2
from gmpy2 import mpz

from core.secagg.fixed_base import make_fixed_base
from core.secagg.powers import powers, product_of_powers, secret_powers
from core.secagg.scheme import PublicKey

Piece = tuple[mpz, int]
"""An n-th power mod n², and the secret that its root follows from: with it anybody could open the ciphertext."""


class Noise(Protocol):
    """A source of n-th powers mod n². It must never be copied to another process: no power may be used twice."""

    def draw(self, count: int) -> list[mpz]:
        """Return fresh powers, each a number in [1, n²)."""

    def draw_known(self, count: int) -> list[Piece]:
        """Return fresh powers with their secrets, which must be forgotten as soon as they have been used."""

    def power_of_roots(self, known: Sequence[int], exponents: Sequence[int]) -> mpz:
        """Return the product of root^exponent mod n, for roots with these secrets and short public exponents."""


class TextbookNoise:
    """r uniform in [1, n), raised to the n-th power: the definition, and the test of every faster way."""

    def __init__(self, key: PublicKey) -> None:
        self._modulus = mpz(key.modulus)
        self._degree = key.degree

    def draw(self, count: int) -> list[mpz]:
        """Return fresh powers, each a number in [1, n²)."""
        return [power for power, _ in self.draw_known(count)]

    def draw_known(self, count: int) -> list[Piece]:
        """Return fresh powers, each with its root."""
        # r < n shares a factor with n with probability about 2^(1 - bits/2); such an r would factor the key.
        bases = [secrets.randbelow(int(self._modulus) - 1) + 1 for _ in range(count)]
        powers: list[mpz] = gmpy2.powmod_base_list(
            bases, self._modulus**self._degree, self._modulus ** (self._degree + 1)
        )
        return list(zip(powers, bases, strict=True))

    def power_of_roots(self, known: Sequence[int], exponents: Sequence[int]) -> mpz:
        """Return the product of root^exponent mod n."""
        return product_of_powers([mpz(root) for root in known], exponents, self._modulus)


class ShortExponentNoise:
    """Short random powers of one base, which is drawn anew for each of these objects, that is for each key.

    Args:
        key: its modulus must be 1 modulo 4, as every product of two primes that are 3 modulo 4 is.
        expected: about how many powers will be drawn; the tables are sized for that.
        exponent_bits: half the bits of the modulus if left out. A shorter one is faster and needs an assumption of
            its own: that discrete logarithms so short are hard to find mod n².
    """

    def __init__(self, key: PublicKey, expected: int, exponent_bits: int | None = None) -> None:
        if key.modulus % 4 != 1:
            raise ValueError("the modulus is not 1 modulo 4, so it is no product of two primes that are 3 modulo 4")
        modulus = mpz(key.modulus)
        bits = key.bits // 2 if exponent_bits is None else exponent_bits
        y = mpz(secrets.randbelow(int(modulus) - 2) + 2)
        self._modulus, self._root, self._exponent_bits = modulus, -y * y % modulus, bits
        base = powers([self._root], modulus**key.degree, modulus ** (key.degree + 1))[0]
        self._power = make_fixed_base(base, modulus, key.degree, bits, expected)

    def draw(self, count: int) -> list[mpz]:
        """Return fresh powers, each a number in [1, n²)."""
        return self._power.random_powers(count)

    def draw_known(self, count: int) -> list[Piece]:
        """Return fresh powers, each with its exponent."""
        return list(zip(*self._power.known_powers(count), strict=True))

    def power_of_roots(self, known: Sequence[int], exponents: Sequence[int]) -> mpz:
        """Return the root of the base to the sum of products of exponents, in steps that do not depend on it."""
        total = sum(secret * exponent for secret, exponent in zip(known, exponents, strict=True))
        longest = max(exponent.bit_length() for exponent in exponents)
        bits = self._exponent_bits + WINDOW_BITS + longest + len(exponents).bit_length()
        return secret_powers([self._root], total, bits, self._modulus)[0]


WINDOW_BITS = 16
"""Bits that a random exponent may have above those asked for: its last digit is a whole one."""


class NoiseKind(StrEnum):
    """How a client makes its noise; all kinds add up with each other."""

    SHORT = "short"
    SHORT_512 = "short-512"
    TEXTBOOK = "textbook"


def noise_for(key: PublicKey, expected: int, kind: NoiseKind = NoiseKind.SHORT) -> Noise:
    """Return a source of about `expected` powers for one key.

    Short exponents are used only with a modulus that is 1 modulo 4, as those of this project are.
    """
    if kind is NoiseKind.TEXTBOOK or key.modulus % 4 != 1:
        return TextbookNoise(key)
    return ShortExponentNoise(key, expected, 512 if kind is NoiseKind.SHORT_512 else None)
