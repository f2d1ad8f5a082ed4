"""Powers of 1 + n, and their logarithms, which are easy: that is what all schemes here read plaintexts with.

    (1 + n)^x = 1 + x n + x (x - 1) / 2 n² + ...       mod n² the first two terms are all, mod n³ the first three

(Paillier, EUROCRYPT 1999; Damgård and Jurik, PKC 2001, section 3.)
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz


def exponential(x: mpz | int, modulus: mpz, degree: int) -> mpz:
    """Return (1 + n)^x modulo n^(degree + 1), for a degree of 1 or 2 and an odd n."""
    x = mpz(x) % modulus**degree
    terms = x if degree == 1 else x + x * (x - 1) // 2 % modulus * modulus
    return (1 + terms * modulus) % modulus ** (degree + 1)


def logarithm(power: mpz, prime: mpz, other: mpz, degree: int) -> mpz:
    """Return x modulo prime^degree from (1 + prime * other)^x modulo prime^(degree + 1).

    From the second term x modulo p, with that the third, and with both x modulo p². Nothing but the two being odd and
    without a common factor is needed of them: with other = 1, "prime" may be n itself.
    """
    terms = (power - 1) // prime
    inverse = gmpy2.invert(other, prime**degree)
    x = terms * inverse % prime
    if degree == 2:
        x = (terms - x * (x - 1) // 2 * prime * other * other) * inverse % prime**2
    return x
