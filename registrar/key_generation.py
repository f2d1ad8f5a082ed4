"""Generation of Paillier keys. Only the registrar may import this module."""

from __future__ import annotations

import secrets

import gmpy2
from gmpy2 import mpz
from phe import PaillierPrivateKey, PaillierPublicKey

SMALL_PRIMES = (gmpy2.primorial(1 << 8), gmpy2.primorial(1 << 16))
"""Products of the primes up to a bound; the short one sorts most candidates out."""


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
    """
    while True:
        candidate = mpz(secrets.randbits(bits) | 3 << (bits - 2) | 3)
        rough = all(gmpy2.gcd(candidate >> 1, product) == 1 for product in SMALL_PRIMES)
        if rough and gmpy2.is_prime(candidate, 40):
            return candidate
