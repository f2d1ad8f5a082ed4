"""Generation of Paillier keys. Only the registrar may import this module."""

from __future__ import annotations

import secrets
from functools import cache

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz
from phe import PaillierPrivateKey, PaillierPublicKey

WINDOW = 1 << 13
"""Candidates that are sieved together; with 1024 bits, some two of them are what is looked for."""
ROUNDS = 30
"""Of GMP's test: Baillie-PSW, and 6 rounds of Miller and Rabin's. A random number of 1024 bits that is not prime passes
with less than 2^-100 (Damgård, Landrock and Pomerance, Mathematics of Computation 61, 1993)."""

IntArray = npt.NDArray[np.int64]


def generate_private_key(bits: int) -> PaillierPrivateKey:
    """Make a key whose modulus has exactly `bits` bits, from the operating system's randomness.

    Both primes are 3 modulo 4, p - 1 and q - 1 share no factor but 2, and neither has another factor below 2^16: so
    minus a random square generates all numbers of Jacobi symbol 1, but for a chance of about 2^-15 times the few
    factors it can miss. That is what short random exponents stand on (core.secagg.noise).
    """
    while True:
        p, q = _prime(bits // 2), _prime(bits // 2)
        if p != q and gmpy2.gcd(p - 1, q - 1) == 2:
            return PaillierPrivateKey(PaillierPublicKey(int(p * q)), int(p), int(q))


def _prime(bits: int) -> mpz:
    """Draw a prime p of `bits` bits that is 3 modulo 4, at least 3/4 of the largest such number, and 2 times rough + 1.

    The product of two of these has exactly twice as many bits.

    From a random start, the candidates of a window are sieved, and tried in random order; each window gives one prime
    at the most. That is hardly less random than drawing each candidate (Brandt and Damgård, CRYPTO '92).
    """
    while True:
        start = mpz(secrets.randbits(bits) | 3 << (bits - 2) | 3)
        left = _sieved(start)
        secrets.SystemRandom().shuffle(left)
        for step in left:
            candidate = start + 4 * step
            # The first test is quick, and nearly all that are not prime fail it.
            if candidate.bit_length() == bits and gmpy2.is_strong_prp(candidate, 2) and _certain(candidate):
                return candidate


def _certain(candidate: mpz) -> bool:
    return bool(gmpy2.is_prime(candidate, ROUNDS))


def _sieved(start: mpz) -> list[int]:
    """Return the k < WINDOW for which neither c = start + 4 k nor (c - 1) / 2 has an odd factor below 2^16."""
    primes, inverses = _small_primes()
    residues = _residues(start)
    keeps = np.ones(WINDOW, np.bool_)
    for wrong in (0, 1):  # c = 0, and c = 1: then the prime divides c - 1
        first = (wrong - residues) * inverses % primes
        few = int(np.searchsorted(primes, WINDOW))
        for prime, at in zip(primes[:few].tolist(), first[:few].tolist(), strict=True):
            keeps[at::prime] = False
        once = first[few:]
        keeps[once[once < WINDOW]] = False
    return np.flatnonzero(keeps).tolist()


@cache
def _small_primes() -> tuple[IntArray, IntArray]:
    """Return the odd primes below 2^16, and the inverses of 4 modulo each."""
    primes, prime = [], 3
    while prime < 1 << 16:
        primes.append(prime)
        prime = int(gmpy2.next_prime(prime))
    return np.array(primes), np.array([pow(4, -1, prime) for prime in primes])


def _residues(number: mpz) -> IntArray:
    """Return a number modulo each of the small primes."""
    primes, _ = _small_primes()
    return np.array([int(number % prime) for prime in primes.tolist()])
