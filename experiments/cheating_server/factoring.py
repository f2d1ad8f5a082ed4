"""Factor what is too short or made of small primes: trial division, and the quadratic sieve for 128 bits in seconds.

The sieve is Pomerance's (1982) with the polynomials of Montgomery (Silverman, Math. Comp. 48, 1987): for q² near
sqrt(2n) / M and b² = n mod q²,

    (q² x + b)² - n  =  q² (q² x² + 2 b x + c),        c = (b² - n) / q²

so values of q² x² + 2 b x + c that fall apart into small primes give squares modulo n; some of them, multiplied, give
u² = v² mod n, and gcd(u - v, n) is a factor every other time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import gmpy2
import numpy as np
import numpy.typing as npt

PRIMES = 350
"""In the factor base."""
SPAN = 30_000
"""Values of x on each side of 0."""
SPARE = 20
"""Relations beyond the number of primes."""
TOLERANCE = 22.0
"""How many bits of a value may be left over by the sieve, which leaves out small powers, for it to be tried."""


@dataclass(frozen=True)
class Relation:
    """root² = the product of the primes' powers, modulo n; exponents[0] counts -1."""

    root: int
    exponents: tuple[int, ...]


def small_factors(modulus: int, limit: int = 1 << 40) -> list[int]:
    """All prime factors of a number with none above `limit` but the last. Raises ValueError if something is left."""
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
    """Two factors of a product of two primes of about one length, up to some 130 bits."""
    base = _factor_base(n)
    relations: list[Relation] = []
    for polynomial in _polynomials(n):
        relations += _sieve(n, base, *polynomial)
        if len(relations) > len(base) + SPARE:
            break
    for dependency in _dependencies([relation.exponents for relation in relations]):
        if 1 < (found := _factor_from(n, base, [relations[row] for row in dependency])) < n:
            return found, n // found
    raise ValueError(f"no factor of a number of {n.bit_length()} bits was found")


def _factor_base(n: int) -> list[int]:
    """Primes that can divide the values: n is a square modulo each."""
    base, prime = [2], 2
    while len(base) < PRIMES:
        prime = int(gmpy2.next_prime(prime))
        if gmpy2.jacobi(n, prime) == 1:
            base.append(prime)
    return base


def _polynomials(n: int) -> Iterator[tuple[int, int]]:
    """q and b, without end: q prime, b² = n mod q²."""
    q = math.isqrt(math.isqrt(2 * n) // SPAN)
    while True:
        q = int(gmpy2.next_prime(q))
        if gmpy2.jacobi(n, q) == 1:
            root = _square_root(n % q, q)
            # Hensel: lift the root from q to q².
            lifted = (root + (n - root * root) // q * pow(2 * root, -1, q) % q * q) % (q * q)
            yield q, lifted


def _sieve(n: int, base: list[int], q: int, b: int) -> Iterator[Relation]:
    a = q * q
    c = (b * b - n) // a
    logs = np.zeros(2 * SPAN, np.float32)
    for prime in base[1:]:
        inverse = pow(a, -1, prime)
        root = _square_root(n % prime, prime)
        for sign in (root, -root):
            logs[(inverse * (sign - b) + SPAN) % prime :: prime] += math.log2(prime)
    x: npt.NDArray[np.int64] = np.arange(-SPAN, SPAN)
    size = np.log2(np.maximum(np.abs(float(a) * x.astype(float) ** 2 + 2.0 * float(b) * x + float(c)), 1))
    for place in np.flatnonzero(logs > size - TOLERANCE).tolist():
        at = place - SPAN
        exponents = _exponents(a * at * at + 2 * b * at + c, base)
        if exponents is not None:
            yield Relation((a * at + b) * pow(q, -1, n) % n, exponents)


def _exponents(value: int, base: list[int]) -> tuple[int, ...] | None:
    """How often -1 and each prime divide the value; None if something is left over."""
    found, rest = [int(value < 0)], abs(value)
    for prime in base:
        count = 0
        while rest and rest % prime == 0:
            rest //= prime
            count += 1
        found.append(count)
    return tuple(found) if rest == 1 else None


def _dependencies(rows: list[tuple[int, ...]]) -> Iterator[list[int]]:
    """Sets of rows that add up to even numbers everywhere: elimination modulo 2, with rows as bits of integers."""
    pivots: dict[int, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        bits = sum((exponent & 1) << place for place, exponent in enumerate(row))
        used = 1 << number
        while bits:
            top = bits.bit_length()
            if top not in pivots:
                pivots[top] = bits, used
                break
            bits, used = bits ^ pivots[top][0], used ^ pivots[top][1]
        else:
            yield [place for place in range(number + 1) if used >> place & 1]


def _factor_from(n: int, base: list[int], relations: list[Relation]) -> int:
    u = math.prod(relation.root for relation in relations) % n
    halves = [sum(column) // 2 for column in zip(*(relation.exponents for relation in relations), strict=True)]
    v = math.prod(pow(prime, half, n) for prime, half in zip(base, halves[1:], strict=True)) % n
    return math.gcd(u - v, n)


def _square_root(a: int, prime: int) -> int:
    """A square root modulo an odd prime (Tonelli and Shanks), of a number that has one."""
    if prime % 4 == 3:
        return pow(a, (prime + 1) // 4, prime)
    odd, twos = prime - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    other = next(z for z in range(2, prime) if gmpy2.jacobi(z, prime) == -1)
    c, root, t = pow(other, odd, prime), pow(a, (odd + 1) // 2, prime), pow(a, odd, prime)
    while t != 1:
        order, square = 0, t
        while square != 1:
            square, order = square * square % prime, order + 1
        step = pow(c, 1 << (twos - order - 1), prime)
        twos, c, root, t = order, step * step % prime, root * step % prime, t * step * step % prime
    return root
