"""The exact interval of a share, for claims that must hold whatever the share is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, lgamma, log, log1p

CONFIDENCE = 0.95


@lru_cache(maxsize=4096)
def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934): never too narrow, whatever the share.

    Each end is wrong with a probability of at most (1 - confidence) / 2. Raises ValueError for impossible counts.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials} trials succeeded; expected 0 to all of at least one")
    tail = (1 - confidence) / 2
    lower = 0.0 if successes == 0 else _solve(lambda p: 1 - _at_most(successes - 1, trials, p), tail)
    upper = 1.0 if successes == trials else _solve(lambda p: -_at_most(successes, trials, p), -tail)
    return lower, upper


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Find where a function that rises on [0, 1] reaches the target."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2


def _at_most(successes: int, trials: int, p: float) -> float:
    """Return the probability of at most this many successes, each with probability p."""
    if p <= 0 or p >= 1:
        return 1.0 if p <= 0 or successes >= trials else 0.0
    whole = lgamma(trials + 1)
    terms = (
        exp(whole - lgamma(k + 1) - lgamma(trials - k + 1) + k * log(p) + (trials - k) * log1p(-p))
        for k in range(successes + 1)
    )
    return min(1.0, sum(terms))
