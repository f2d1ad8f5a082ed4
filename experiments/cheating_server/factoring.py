"""Factor what is too short or made of small primes: trial division, and the quadratic sieve for 128 bits in seconds."""

from __future__ import annotations

import secrets

import gmpy2

from experiments.attacks.quadratic_sieve import quadratic_sieve


def small_factors(modulus: int, limit: int = 1 << 40) -> list[int]:
    """Return all prime factors, none but the last above `limit`. Raises ValueError if something is left."""
    found: list[int] = []
    rest, prime = modulus, 1
    while rest > 1 and prime < limit:
        if gmpy2.is_prime(rest):
            return [*found, rest]
        prime = int(gmpy2.next_prime(prime))
        if rest % prime == 0:
            found.append(prime)
            rest //= prime
    raise ValueError(f"{rest.bit_length()} bits of the number have no small factors")


def factor(n: int) -> tuple[int, int]:
    """Return the two factors of a product of two primes of similar length."""
    found = quadratic_sieve(n, secrets.randbelow).factor
    return found, n // found
