"""Factoring by the quadratic sieve: many numbers that are squares modulo n, until a product of some is a square twice.

Pomerance (1982), with polynomials that are cheap to change (Contini 1997) and one large prime allowed. It needs far
fewer steps than elliptic curves for what is longer than some 130 bits, and is the method of choice up to some 350.

    (a x + b)^2 = a Q(x)  (mod n)        for every x, where a divides b^2 - n

If Q(x) has small prime factors only, that is a relation. With more relations than primes, some of them multiply to a
square on the right: X^2 = Y^2 (mod n), and half of the time gcd(X - Y, n) is a factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, log, sqrt

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from experiments.arrays import IntArray

Draw = Callable[[int], int]
SKIPPED_BELOW = 30
"""Primes that are not sieved with: they cost most and say least."""
COUNT = 0.7
"""Primes in the base, as a multiple of exp(sqrt(ln n ln ln n))^0.354: near the best for this program, by trying."""
FEWEST = 120
SHORTEST_BITS = 60
SPARE = 20
"""Relations beyond the number of primes."""
LARGE_PRIME = 60
"""How many times larger than the base's largest prime one factor of Q(x) may be."""


@dataclass(frozen=True)
class Sieved:
    """A factor, and how many values of polynomials were looked at. Its repr does not show the factor."""

    factor: int = field(repr=False)
    values: int


@dataclass(frozen=True)
class Base:
    """The primes p modulo which n is a square, and a root of n modulo each; arrays of shape (primes,)."""

    n: mpz
    primes: IntArray
    roots: IntArray
    logs: npt.NDArray[np.float32]

    @property
    def half(self) -> int:
        """Half the length of the interval that polynomials are sieved over."""
        return max(32_768, 8 * int(self.primes[-1]))


@dataclass(frozen=True)
class Relation:
    """square^2 = the product of the base's primes to their exponents, and of -1 to `negative` (mod n)."""

    square: mpz
    exponents: IntArray
    negative: int


@dataclass(frozen=True)
class Polynomial:
    """a x + b, and where its Q(x) is divisible by which prime: at first + k p and at second + k p, from -half on.

    `first` and `second` are -1 for the primes that a is made of.
    """

    a: mpz
    b: mpz
    first: IntArray
    second: IntArray


def quadratic_sieve(modulus: int, draw: Draw) -> Sieved:
    """Factor a composite that is no square and has no factor among the first primes.

    Args:
        draw: returns a random number below its argument.

    Raises:
        ValueError: the modulus has fewer than 60 bits, for which there are too few polynomials.
    """
    if modulus.bit_length() < SHORTEST_BITS:
        raise ValueError(f"the modulus has {modulus.bit_length()} bits; the sieve needs at least {SHORTEST_BITS}")
    base, values = factor_base(mpz(modulus)), 0
    whole: list[Relation] = []
    partial: dict[int, Relation] = {}
    for polynomial in polynomials(base, draw):
        for relation, rest in relations(base, polynomial):
            if rest == 1:
                whole.append(relation)
            elif rest in partial:
                whole.append(_joined(relation, partial[rest], rest, base.n))
            else:
                partial[rest] = relation
        values += 2 * base.half
        if len(whole) > len(base.primes) + SPARE:
            for factor in factors(base, whole):
                return Sieved(int(factor), values)
            whole = whole[SPARE:]
    raise AssertionError("polynomials do not end")


def factor_base(n: mpz) -> Base:
    """Return the primes to factor values by."""
    size = float(gmpy2.log(n))
    count = max(FEWEST, int(COUNT * exp(sqrt(size * log(size))) ** 0.354))
    primes, roots, prime = [2], [1], mpz(2)
    while len(primes) < count:
        prime = gmpy2.next_prime(prime)
        if gmpy2.legendre(n, prime) == 1:
            primes.append(int(prime))
            roots.append(_root(int(n % prime), int(prime)))
    made = np.array(primes, np.int64)
    return Base(n, made, np.array(roots, np.int64), np.log2(made).astype(np.float32))


def _root(square: int, prime: int) -> int:
    """Return a square root modulo a prime, by Tonelli and Shanks."""
    odd, twos = prime - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    other = next(z for z in range(2, prime) if gmpy2.legendre(z, prime) == -1)
    c, root, t = pow(other, odd, prime), pow(square, (odd + 1) // 2, prime), pow(square, odd, prime)
    while t != 1:
        order, again = 0, t
        while again != 1:
            again, order = again * again % prime, order + 1
        step = pow(c, 1 << (twos - order - 1), prime)
        twos, c = order, step * step % prime
        root, t = root * step % prime, t * c % prime
    return root


# ------------------------------------------------------------------------------------------------ polynomials


def polynomials(base: Base, draw: Draw) -> Iterator[Polynomial]:
    """Yield polynomials without end: for each product a of some primes, all b with b^2 = n (mod a), up to the sign."""
    seen: set[tuple[int, ...]] = set()
    width = min(80, len(base.primes) // 3)
    while True:
        chosen = _primes_of_a(base, width, draw)
        if chosen in seen:
            width = min(width + 1, len(base.primes) - 1)  # there are not many
        else:
            seen.add(chosen)
            yield from _of_one_a(base, list(chosen))


def _primes_of_a(base: Base, width: int, draw: Draw) -> tuple[int, ...]:
    """Choose places of primes whose product is about sqrt(2 n) / half, which keeps Q(x) small."""
    wanted = (float(gmpy2.log2(base.n)) + 1) / 2 - np.log2(base.half)
    count = max(2, ceil(wanted / 11))
    centre = int(np.searchsorted(base.logs, wanted / count))
    low = max(1, min(centre - width // 2, len(base.primes) - width))
    places: set[int] = set()
    while len(places) < count - 1:
        places.add(low + draw(width))
    missing = wanted - float(base.logs[list(places)].sum())
    last = int(np.abs(base.logs - missing).argmin())
    while last in places:
        last = last + 1 if last + 1 < len(base.primes) else last - count
    return tuple(sorted({*places, last}))


def _of_one_a(base: Base, chosen: list[int]) -> Iterator[Polynomial]:
    p, a = base.primes, mpz(1)
    for place in chosen:
        a *= int(p[place])
    parts = [_part(base, a, place) for place in chosen]
    outside = np.ones(len(p), bool)
    outside[chosen] = False
    inverse = np.array([int(gmpy2.invert(a, int(q))) if out else 0 for q, out in zip(p, outside, strict=True)])
    steps = [np.array([int(part % int(q)) for q in p]) * 2 * inverse % p for part in parts]
    b = sum(parts, mpz(0))
    reduced = np.array([int(b % int(q)) for q in p])
    first, second = ((sign * base.roots - reduced) * inverse + base.half for sign in (1, -1))
    for number in range(1, 1 << (len(parts) - 1)):
        yield Polynomial(a, b, *(np.where(outside, roots % p, -1) for roots in (first, second)))
        # Gray's code: one part changes its sign, and every root moves by the same step.
        place = (number & -number).bit_length() - 1
        sign = 1 if (number >> (place + 1)) & 1 else -1
        b += 2 * sign * parts[place]
        first, second = first - sign * steps[place], second - sign * steps[place]


def _part(base: Base, a: mpz, place: int) -> mpz:
    """Return a summand of b: a root of n modulo one prime of a, and 0 modulo the others."""
    prime = int(base.primes[place])
    rest = a // prime
    return rest * (int(base.roots[place]) * gmpy2.invert(rest, prime) % prime)


# ------------------------------------------------------------------------------------------------ relations


def relations(base: Base, polynomial: Polynomial) -> Iterator[tuple[Relation, int]]:
    """Yield relations of one polynomial, each with the large prime that is left over, or 1."""
    sieve = np.zeros(2 * base.half, np.float32)
    for prime, first, second, size in zip(
        base.primes.tolist(), polynomial.first.tolist(), polynomial.second.tolist(), base.logs, strict=True
    ):
        if prime > SKIPPED_BELOW and first >= 0:
            sieve[first::prime] += size
            sieve[second::prime] += size
    largest = LARGE_PRIME * int(base.primes[-1])
    most = float(gmpy2.log2(base.n)) / 2 + np.log2(base.half) - 0.5
    for place in np.flatnonzero(sieve > most - np.log2(largest) - 8).tolist():
        found = _relation(base, polynomial, place)
        if found is not None and found[1] < largest:
            yield found


def _relation(base: Base, polynomial: Polynomial, place: int) -> tuple[Relation, int]:
    a, b = polynomial.a, polynomial.b
    square = a * (place - base.half) + b
    value = (square * square - base.n) // a
    rest, exponents = abs(value), np.zeros(len(base.primes), np.int64)
    at = place % base.primes
    divides = (at == polynomial.first) | (at == polynomial.second) | (polynomial.first < 0)
    for index in np.flatnonzero(divides).tolist():
        rest, power = gmpy2.remove(rest, int(base.primes[index]))
        exponents[index] = power + (polynomial.first[index] < 0)  # a itself stands on the right side too
    return Relation(square % base.n, exponents, int(value < 0)), int(rest)


def _joined(one: Relation, other: Relation, rest: int, n: mpz) -> Relation:
    """Multiply two relations with the same large prime, and divide by its square."""
    square = one.square * other.square * gmpy2.invert(rest, n) % n
    return Relation(square, one.exponents + other.exponents, one.negative + other.negative)


# ------------------------------------------------------------------------------------------------ squares


def factors(base: Base, found: Sequence[Relation]) -> Iterator[mpz]:
    """Yield factors from products of relations in which all exponents are even."""
    for chosen in dependencies([_odd(relation) for relation in found]):
        square, exponents = mpz(1), np.zeros(len(base.primes), np.int64)
        for place in chosen:
            square = square * found[place].square % base.n
            exponents += found[place].exponents
        root = mpz(1)
        for prime, power in zip(base.primes.tolist(), (exponents // 2).tolist(), strict=True):
            root = root * gmpy2.powmod(prime, power, base.n) % base.n
        factor = gmpy2.gcd(square - root, base.n)
        if 1 < factor < base.n:
            yield factor


def _odd(relation: Relation) -> int:
    """Return which exponents are odd, as the bits of a number; the lowest is that of -1."""
    bits = np.packbits(relation.exponents % 2 == 1, bitorder="little").tobytes()
    return int.from_bytes(bits, "little") << 1 | relation.negative % 2


def dependencies(rows: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of rows whose exclusive or is zero: Gaussian elimination on rows of bits."""
    by_top: dict[int, tuple[int, int]] = {}
    for place, row in enumerate(rows):
        made_of = 1 << place
        while row:
            top = row.bit_length()
            if top not in by_top:
                by_top[top] = (row, made_of)
                break
            row, made_of = row ^ by_top[top][0], made_of ^ by_top[top][1]
        else:
            yield [each for each in range(place + 1) if made_of >> each & 1]
