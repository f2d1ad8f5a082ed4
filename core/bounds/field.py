"""Arithmetic on arrays of numbers modulo one prime of 56 bits, exact on every machine.

A product of two such numbers has 112 bits. Its quotient by the prime, guessed in floating point, is wrong by less than
64, so the remainder, in 64-bit integers that wrap around, is off by less than 64 primes: a number that fits again, and
that one more division puts right. Sums in floating point are of whole numbers below 2^53 only: exact in every order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from core.secagg.kernel import columns as compiled

PRIME = (1 << 56) - (1 << 20) + 1
"""PRIME - 1 is a multiple of 2^20, so there are roots of unity of every order up to that."""
BYTES = 7
"""Length of one element."""
_INVERSE = 1.0 / PRIME
_SUMMED = 64
"""Elements whose sum fits 64 bits with a sign."""
_LIMB, _LIMBS = 19, 3

Elements = npt.NDArray[np.int64]
"""Numbers in [0, PRIME)."""
RandomBytes = Callable[[int], bytes]


def add(a: Elements, b: Elements) -> Elements:
    """Return a + b, element by element."""
    total = a + b
    total -= PRIME
    total += (total >> 63) & PRIME
    return total


def subtract(a: Elements, b: Elements) -> Elements:
    """Return a - b, element by element."""
    difference = a - b
    difference += (difference >> 63) & PRIME
    return difference


def negative(a: Elements) -> Elements:
    """Return -a, element by element."""
    return subtract(np.zeros_like(a), a)


def reduce(numbers: npt.NDArray[np.int64]) -> Elements:
    """Return any 64-bit integers modulo the prime."""
    guess = numbers * _INVERSE
    quotient = np.floor(guess, out=guess).astype(np.int64)
    quotient *= PRIME
    remainder: Elements = np.subtract(numbers, quotient, out=quotient)
    remainder += (remainder >> 63) & PRIME
    remainder -= PRIME
    remainder += (remainder >> 63) & PRIME
    return remainder


def multiply(a: Elements, b: Elements | np.int64) -> Elements:
    """Return a * b, element by element."""
    if compiled.available():
        return compiled.multiply(a, b)
    guess = a.astype(np.float64)
    guess *= _INVERSE
    guess = guess * b
    quotient: Elements = guess.astype(np.int64)
    with np.errstate(over="ignore"):
        quotient *= PRIME
        return reduce(np.subtract(a * b, quotient, out=quotient))


def matrix_product(a: Elements, b: Elements) -> Elements:
    """Return a @ b, in limbs of 19 bits: 3 * 2^13 products of two stay below 2^53. The inner length is at most 2^13."""
    if a.shape[-1] > 1 << 13:
        raise ValueError(f"the inner length is {a.shape[-1]}; at most {1 << 13} products can be added exactly")
    if compiled.available():
        return compiled.matrix_product(a, b)
    left, right = _limbs(a), _limbs(b)
    total = np.zeros((a.shape[0], b.shape[1]), np.int64)
    for place in reversed(range(2 * _LIMBS - 1)):
        products = [left[i] @ right[place - i] for i in range(_LIMBS) if 0 <= place - i < _LIMBS]
        total = add(multiply(total, np.int64(1 << _LIMB)), reduce(sum(products[1:], products[0]).astype(np.int64)))
    return total


def _limbs(a: Elements) -> list[npt.NDArray[np.float64]]:
    mask = (1 << _LIMB) - 1
    return [((a >> (_LIMB * i)) & mask).astype(np.float64) for i in range(_LIMBS)]


def total(terms: Elements) -> Elements:
    """Return the sum over the first axis."""
    while len(terms) > 1:
        terms = np.stack([reduce(terms[i : i + _SUMMED].sum(0)) for i in range(0, len(terms), _SUMMED)])
    whole: Elements = terms[0]
    return whole


def signed(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return elements as the whole numbers nearest to 0 that they can stand for."""
    return np.where(numbers > PRIME // 2, numbers - PRIME, numbers)


def powers(base: int, count: int) -> Elements:
    """Return 1, base, base^2 ..., `count` of them."""
    found, step = np.ones(1, np.int64), base % PRIME
    while len(found) < count:
        found = np.concatenate([found, multiply(found, np.int64(step))])
        step = step * step % PRIME
    return found[:count].copy()


@cache
def root_of_unity(order: int) -> int:
    """Return a number whose powers are `order` different ones; `order` is a power of 2."""
    roots = (pow(base, (PRIME - 1) // order, PRIME) for base in range(2, 100))
    return next(root for root in roots if order == 1 or pow(root, order // 2, PRIME) != 1)


# -------------------------------------------------------------------------------- polynomials


def values_of(coefficients: Elements) -> Elements:
    """Return polynomials' values at the roots of unity 1, w, w^2 ...; the last axis has a power of 2 as its length."""
    return _transform(coefficients, inverse=False)


def coefficients_of(values: Elements) -> Elements:
    """Return the coefficients of the polynomials that have these values at the roots of unity."""
    size = values.shape[-1]
    return multiply(_transform(values, inverse=True), np.int64(pow(size, -1, PRIME)))


def _transform(a: Elements, *, inverse: bool) -> Elements:
    """Return the number-theoretic transform along the last axis (Gentleman and Sande, 1966)."""
    size, leading = a.shape[-1], a.shape[:-1]
    if compiled.available():
        return compiled.transform(a, *compiled_plan(size, inverse))
    factors, order = _plan(size, inverse)
    for level, factor in enumerate(factors):
        halves = a.reshape(*leading, 1 << level, 2, len(factor))
        low, high = halves[..., 0, :], halves[..., 1, :]
        turned = subtract(low, high)
        a = np.empty_like(halves, order="C")
        a[..., 0, :] = add(low, high)
        a[..., 1, :] = multiply(turned, factor) if len(factor) > 1 else turned
    return a.reshape(*leading, size)[..., order]


@cache
def _plan(size: int, inverse: bool) -> tuple[list[Elements], npt.NDArray[np.int64]]:
    """Return the factors of each level, and where each result stands in the end: its place with bits reversed."""
    root, factors = root_of_unity(size), []
    step = pow(root, -1, PRIME) if inverse else root
    half = size // 2
    while half:
        factors.append(powers(step, half))
        half, step = half // 2, step * step % PRIME
    order, bits = np.zeros(size, np.int64), size.bit_length() - 1
    for bit in range(bits):
        order |= ((np.arange(size) >> bit) & 1) << (bits - 1 - bit)
    return factors, order


@cache
def compiled_plan(size: int, inverse: bool) -> tuple[compiled.Factors, npt.NDArray[np.int64]]:
    """Return the factors of all levels in one array, and the order, as the compiled transform takes them."""
    levels, order = _plan(size, inverse)
    return compiled.Factors.of(np.concatenate([np.zeros(0, np.int64), *levels]), PRIME), order


# -------------------------------------------------------------------------------- bytes


def pack(elements: Elements) -> bytes:
    """Return elements as little-endian numbers of 7 bytes."""
    octets = np.ascontiguousarray(elements, "<i8").reshape(-1, 1).view(np.uint8)
    return octets[:, :BYTES].tobytes()


def unpack(raw: bytes) -> npt.NDArray[np.int64]:
    """Return the numbers of 7 bytes that `pack` wrote; whether they are below the prime is for the caller to check."""
    octets = np.frombuffer(raw, np.uint8).reshape(-1, BYTES)
    wide = np.zeros((len(octets), 8), np.uint8)
    wide[:, :BYTES] = octets
    return wide.view("<i8").reshape(-1).astype(np.int64)


def expand(label: bytes, seed: bytes, count: int) -> Elements:
    """Return `count` elements that follow from a seed: pieces of SHAKE-256, without those above the prime."""
    return _drawn(lambda length: hashlib.shake_256(label + seed).digest(length), count)


def draw(count: int, random_bytes: RandomBytes = os.urandom) -> Elements:
    """Return `count` uniform elements."""
    return _drawn(random_bytes, count)


def _drawn(source: RandomBytes, count: int) -> Elements:
    spare = 8  # one in 2^36 is passed over
    while True:
        numbers = unpack(source(BYTES * (count + spare)))
        numbers = numbers[numbers < PRIME]
        if len(numbers) >= count:
            return numbers[:count]
        spare *= 2
