"""Draw whole numbers from the discrete Gaussian, exactly.

P(x) is proportional to exp(-x^2 / (2 variance)) for every whole number x. Floating point can only come near such a
distribution, and what it leaves out has been used to undo the noise (Mironov, CCS 2012). Here every decision is made by
comparing whole numbers, after Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS
2020, algorithms 1 to 3, for many draws at once. `draw_one()` at the end is the same, one draw after the other, as in
the paper: to read, and to test the fast one by.

How long a draw takes depends a little on what is drawn. Noise for a whole update is drawn at once, so that only a sum
over thousands of draws shows in the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import isqrt

import numpy as np
import numpy.typing as npt

RandomBytes = Callable[[int], bytes]
"""Returns this many random bytes: the operating system's, except in experiments that are to be repeated."""
LARGEST_VARIANCE = 1 << 24
"""Up to here no product below leaves 64 bits; the argument is at _accept()."""
MOST_STEPS = 1 << 8
"""Of one geometric draw: more come with a probability of exp(-256) a draw."""

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def draw(variance: int, count: int, random_bytes: RandomBytes = os.urandom) -> IntArray:
    """Return `count` independent draws, shape (count,).

    Args:
        variance: sigma^2 in the formula above, a whole number from 1 to LARGEST_VARIANCE. The draws' own variance is
            smaller by less than one part in 10^30 from 4 on.

    Raises:
        ValueError: the variance or the count is out of range.
    """
    _check(variance)
    if count < 0:
        raise ValueError(f"{count} draws are asked for; expected 0 or more")
    found, missing = [np.zeros(0, dtype=np.int64)], count
    while missing:
        # Nearly half of the candidates are kept; which ones come first says nothing about them.
        kept = _candidates(variance, missing * 9 // 4 + 16, random_bytes)[:missing]
        found.append(kept)
        missing -= len(kept)
    return np.concatenate(found)


def _check(variance: int) -> None:
    if not 1 <= variance <= LARGEST_VARIANCE:
        raise ValueError(f"the variance is {variance}; expected a whole number from 1 to {LARGEST_VARIANCE}")


def _candidates(variance: int, count: int, random_bytes: RandomBytes) -> IntArray:
    """Algorithm 3 for `count` candidates: those of them that are accepted, in their order."""
    t = isqrt(variance) + 1
    laplace = _laplace(t, count, random_bytes)
    return laplace[_accept(laplace, t, variance, random_bytes)]


def _accept(laplace: IntArray, t: int, variance: int, random_bytes: RandomBytes) -> Flags:
    """Bernoulli(exp(-(|y| - variance/t)^2 / (2 variance))), multiplied out to one fraction of whole numbers.

    In 64 bits: |y| < 2^8 t by MOST_STEPS, so |y| t < 2^8 t^2, which is at most 2^32 for t up to 2^12. The only larger
    t, 2^12 + 1, comes with the variance 2^24, and then |y| t - variance < 2^8 (2^12 + 1)^2 - 2^24 < 2^32 too. So the
    square is below 2^64. The denominator 2 variance t^2 is below 2^50, which leaves 14 bits for the k of
    _bernoulli_series().
    """
    scaled = np.abs(laplace).astype(np.uint64) * np.uint64(t)
    distance = np.where(scaled > variance, scaled - np.uint64(variance), np.uint64(variance) - scaled)
    return _bernoulli_exp(distance * distance, 2 * variance * t * t, random_bytes)


def _laplace(t: int, count: int, random_bytes: RandomBytes) -> IntArray:
    """Algorithm 2, discrete Laplace of scale t, for `count` candidates: those of them that are accepted."""
    low = _below(t, count, random_bytes)
    low = low[_bernoulli_exp(low, t, random_bytes)]
    high = _geometric(len(low), random_bytes)
    magnitude = (low + np.uint64(t) * high).astype(np.int64)
    negative = _below(2, len(low), random_bytes) == 1
    signed = np.where(negative, -magnitude, magnitude)
    kept: IntArray = signed[~negative | (magnitude > 0)]  # else 0 would come twice as often as it should
    return kept


def _geometric(count: int, random_bytes: RandomBytes) -> Words:
    """Return how often Bernoulli(exp(-1)) says yes before the first no, shape (count,)."""
    steps = np.zeros(count, dtype=np.uint64)
    going = np.arange(count)
    for step in range(1, MOST_STEPS):
        going = going[_bernoulli_series(np.ones(len(going), dtype=np.uint64), 1, random_bytes)]
        if not len(going):
            return steps
        steps[going] = step
    raise AssertionError("a draw with a probability of exp(-255)")


def _bernoulli_exp(numerator: Words, denominator: int, random_bytes: RandomBytes) -> Flags:
    """Algorithm 1: true with probability exp(-numerator / denominator), for each numerator, shape (n,)."""
    whole, rest = np.divmod(numerator, np.uint64(denominator))
    kept = _bernoulli_series(rest, denominator, random_bytes)
    # exp(-whole) is the probability of `whole` times yes to exp(-1), without a no between.
    kept[kept] = _geometric(int(kept.sum()), random_bytes) >= whole[kept]
    return kept


def _bernoulli_series(numerator: Words, denominator: int, random_bytes: RandomBytes) -> Flags:
    """True with probability exp(-numerator / denominator), each numerator at most the denominator.

    For k = 1, 2, ... ask Bernoulli(numerator / (denominator k)) until the first no; it comes at an odd k with the
    probability 1 - x + x^2/2! - x^3/3! + ... = exp(-x).
    """
    odd = np.zeros(len(numerator), dtype=np.bool_)
    going, left = np.arange(len(numerator)), numerator
    k = 0
    while len(going):
        k += 1
        assert k < 1 << 14  # reached with a probability below 1 / (2^13)!
        yes = _below(denominator * k, len(going), random_bytes) < left
        if k % 2:
            odd[going[~yes]] = True
        going, left = going[yes], left[yes]
    return odd


def _below(limit: int, count: int, random_bytes: RandomBytes) -> Words:
    """Whole numbers from 0 to limit - 1, each as likely as any other, shape (count,); limit is below 2^64."""
    last = np.uint64((1 << 64) - (1 << 64) % limit - 1)
    drawn = _words(count, random_bytes)
    while len(again := np.flatnonzero(drawn > last)):
        drawn[again] = _words(len(again), random_bytes)
    return drawn % np.uint64(limit)


def _words(count: int, random_bytes: RandomBytes) -> Words:
    return np.frombuffer(random_bytes(8 * count), dtype="<u8").astype(np.uint64)


# ------------------------------------------------------------------------------------------------ one at a time


def draw_one(variance: int, random_bytes: RandomBytes = os.urandom) -> int:
    """Algorithm 3, for a variance that is a whole number, in whole numbers of any length."""
    _check(variance)
    t = isqrt(variance) + 1
    while True:
        y = _laplace_one(t, random_bytes)
        if _bernoulli_exp_one((abs(y) * t - variance) ** 2, 2 * variance * t * t, random_bytes):
            return y


def _laplace_one(t: int, random_bytes: RandomBytes) -> int:
    """Algorithm 2 with s = 1."""
    while True:
        low = _below_one(t, random_bytes)
        if not _bernoulli_exp_one(low, t, random_bytes):
            continue
        high = 0
        while _bernoulli_exp_one(1, 1, random_bytes):
            high += 1
        magnitude, negative = low + t * high, _below_one(2, random_bytes)
        if not (negative and magnitude == 0):
            return -magnitude if negative else magnitude


def _bernoulli_exp_one(numerator: int, denominator: int, random_bytes: RandomBytes) -> bool:
    """Algorithm 1: true with probability exp(-numerator / denominator)."""
    while numerator > denominator:
        if not _bernoulli_exp_one(1, 1, random_bytes):
            return False
        numerator -= denominator
    k = 1
    while _below_one(denominator * k, random_bytes) < numerator:
        k += 1
    return k % 2 == 1


def _below_one(limit: int, random_bytes: RandomBytes) -> int:
    """Return a whole number from 0 to limit - 1, by drawing again whatever is not below it."""
    bits = (limit - 1).bit_length()
    while True:
        number = int.from_bytes(random_bytes(-(-bits // 8)), "little") & ((1 << bits) - 1)
        if number < limit:
            return number
