"""Factoring a modulus that is too short: Pollard's rho and elliptic curves, with what they cost counted.

The factors of a Paillier modulus are the private key. Both methods are the textbook's; serious ones (sieves) need far
less for what is longer than here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

BATCH = 256
"""Differences that are multiplied before one greatest common divisor is taken."""


@dataclass(frozen=True)
class Factored:
    """A factor, and how many multiplications modulo n it took. Its repr does not show it."""

    factor: int
    multiplications: int

    def __repr__(self) -> str:
        return f"Factored({self.multiplications} multiplications)"


def rho(modulus: int, draw: Callable[[int], int]) -> Factored:
    """Factor a composite by a random walk that runs into itself modulo the smaller prime p after about sqrt(p) steps.

    Pollard (BIT 1975) in Brent's form (BIT 1980).

    Args:
        draw: returns a random number below its argument.
    """
    n, steps = mpz(modulus), 0
    while True:
        constant, y, length = mpz(1 + draw(modulus - 1)), mpz(draw(modulus)), 1
        divisor = mpz(1)
        while divisor == 1:
            x, done = y, 0
            for _ in range(length):
                y = (y * y + constant) % n
            steps += length
            while done < length and divisor == 1:
                before, product = y, mpz(1)
                for _ in range(min(BATCH, length - done)):
                    y = (y * y + constant) % n
                    product = product * (x - y) % n
                done += BATCH
                steps += 2 * min(BATCH, length)
                divisor = gmpy2.gcd(product, n)
            length *= 2
        if divisor == n:  # both primes within one batch: go through it again one by one
            divisor = _one_by_one(x, before, constant, n)
        if divisor != n:
            return Factored(int(divisor), steps)


def _one_by_one(x: mpz, y: mpz, constant: mpz, n: mpz) -> mpz:
    divisor = mpz(1)
    while divisor == 1:
        y = (y * y + constant) % n
        divisor = gmpy2.gcd(x - y, n)
    return divisor


def ecm(modulus: int, bound: int, draw: Callable[[int], int]) -> Factored:
    """Factor a composite by random elliptic curves, until the order of one modulo a prime has small factors only.

    Lenstra (Annals of Mathematics 1987), on Montgomery's curves (Mathematics of Computation 1987) as Suyama chooses
    them. Stage 1 only, and a second stage of one more prime up to 50 times the bound.

    Args:
        bound: the largest prime power that an order may have, in stage 1; a larger one needs fewer curves.
        draw: returns a random number below its argument.

    Raises:
        ValueError: the bound is below 100.
    """
    if bound < 100:
        raise ValueError(f"the bound of stage 1 is {bound}; it must be at least 100")
    n, exponent, done = mpz(modulus), _exponent(bound), 0
    primes = _primes_between(bound, 50 * bound)
    while True:
        curve = _Curve(n, mpz(6 + draw(modulus - 6)))
        point = curve.times(exponent, curve.start)
        divisor = gmpy2.gcd(point[1], n)
        if divisor == 1:
            divisor = gmpy2.gcd(curve.second_stage(point, primes), n)
        done += curve.multiplications
        if 1 < divisor < n:
            return Factored(int(divisor), done)


Point = tuple[mpz, mpz]


class _Curve:
    """b y² = x³ + a x² + x modulo n by x and z alone, of an order that 12 divides, and a point on it."""

    def __init__(self, n: mpz, sigma: mpz) -> None:
        u, v = (sigma * sigma - 5) % n, 4 * sigma % n
        self.n = n
        self.start: Point = (u**3 % n, v**3 % n)
        # (a + 2) / 4 = (v - u)³ (3 u + v) / (16 u³ v); where there is no inverse, gcd(z, n) of any multiple tells.
        below = 16 * u**3 * v % n
        inverse = gmpy2.invert(below, n) if gmpy2.gcd(below, n) == 1 else mpz(0)
        self.quarter = (v - u) ** 3 * (3 * u + v) * inverse % n
        self.multiplications = 0

    def double(self, point: Point) -> Point:
        x, z = point
        total, difference = (x + z) ** 2 % self.n, (x - z) ** 2 % self.n
        four = total - difference
        self.multiplications += 5
        return total * difference % self.n, four * (difference + self.quarter * four) % self.n

    def add(self, first: Point, second: Point, difference: Point) -> Point:
        u = (first[0] - first[1]) * (second[0] + second[1])
        v = (first[0] + first[1]) * (second[0] - second[1])
        self.multiplications += 6
        return difference[1] * ((u + v) ** 2 % self.n) % self.n, difference[0] * ((u - v) ** 2 % self.n) % self.n

    def times(self, factor: mpz, point: Point) -> Point:
        """Climb Montgomery's ladder, whose two points always differ by the given one."""
        low, high = point, self.double(point)
        for bit in bin(factor)[3:]:
            middle = self.add(low, high, point)
            low, high = (middle, self.double(high)) if bit == "1" else (self.double(low), middle)
        return low

    def second_stage(self, point: Point, primes: list[int]) -> mpz:
        """Return a product that p divides if one of the primes, as 2 k half ± j, takes the point to zero."""
        half = int(gmpy2.isqrt(mpz(primes[-1]))) // 2
        near, giant = self._multiples(point, half), self.times(mpz(2 * half), point)
        k, before, here = 1, giant, giant
        product = mpz(1)
        for prime in primes:
            while prime > (2 * k + 1) * half:
                after = self.double(here) if k == 1 else self.add(here, giant, before)
                k, before, here = k + 1, here, after
            other = near[abs(prime - 2 * k * half)]
            product = product * (here[0] * other[1] - here[1] * other[0]) % self.n
            self.multiplications += 3
        return product

    def _multiples(self, point: Point, count: int) -> list[Point]:
        found: list[Point] = [(mpz(0), mpz(0)), point, self.double(point)]
        while len(found) <= count:
            found.append(self.add(found[-1], point, found[-2]))
        return found


def _exponent(bound: int) -> mpz:
    """Multiply the largest powers of all primes that do not exceed the bound."""
    product = mpz(1)
    for prime in _primes_between(1, bound):
        power = prime
        while power * prime <= bound:
            power *= prime
        product *= power
    return product


def _primes_between(low: int, high: int) -> list[int]:
    found, prime = [], mpz(low)
    while (prime := gmpy2.next_prime(prime)) <= high:
        found.append(int(prime))
    return found
