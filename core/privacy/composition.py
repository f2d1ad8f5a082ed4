"""What noisy sums cost together, as one number that adds up, and the epsilon that it comes to.

A sum that one client can move by at most D, under Gaussian noise of standard deviation s, tells two neighbours apart as
well as one draw tells the normal distributions N(0, 1) and N(mu, 1) apart, with mu = D / s. Several such sums, each
allowed to depend on the earlier ones, do so with mu^2 = mu_1^2 + mu_2^2 + ...: exactly, whatever the widths (Dong, Roth
and Su 2019, theorem 2.7 and corollary 3.3). So mu^2 is the cost of a round, and costs are added up.

From mu to (epsilon, delta), exactly too (Balle and Wang, ICML 2018, theorem 8):

    delta(epsilon) = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)

The noise is discrete, and its width is at least 2 steps for each client; its delta then differs from this one by less
than rounding errors do. A sum of n discrete Gaussians is not quite one, which adds (tau d) / 2 to mu^2 (Kairouz, Liu
and Steinke 2021, theorem 1: (tau d) / 4 in zero-concentrated differential privacy, of which rho is mu^2 / 2).
"""

from __future__ import annotations

import functools
from math import erfc, exp, inf, isinf, pi, sqrt

TERMS = 64
"""Of the sum in tau that are added up one by one; all later ones are smaller than the last."""
FAR = 25.0
"""From here on the tail of the normal distribution is computed from its series, which is right to 9 digits there."""


def tau(shares: int, variance: int) -> float:
    """Return how far the sum of `shares` discrete Gaussians, each of this variance, is from being one."""
    first = [exp(-2 * pi**2 * variance * k / (k + 1)) for k in range(1, min(shares, TERMS + 1))]
    rest = max(0, shares - 1 - TERMS) * exp(-2 * pi**2 * variance * TERMS / (TERMS + 1))
    return 10 * (sum(first) + rest)


def cost_of_sum(sensitivity: int, variance: int, honest: int, values: int) -> float:
    """Return mu^2 of one opened sum.

    Args:
        sensitivity: the most that one client can move it (L2 norm), in steps.
        variance: of one client's noise, in steps squared.
        honest: contributors whose noise is counted on; without any, the cost is infinite.
        values: numbers in the sum.
    """
    if honest < 1:
        return inf
    return sensitivity**2 / (honest * variance) + tau(honest, variance) * values / 2


def delta_of(cost: float, epsilon: float) -> float:
    """Return the smallest delta that sums of this cost have at an epsilon of 0 or more."""
    mu = sqrt(cost)
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    return 0.5 * erfc(near / sqrt(2)) - exp(-near * near / 2) * _scaled_tail(far)


def _scaled_tail(x: float) -> float:
    """Return exp(x^2 / 2) Phi(-x), which neither overflows nor vanishes. (e^epsilon is in it: see delta_of.)"""
    if x < FAR:
        return 0.5 * erfc(x / sqrt(2)) * exp(x * x / 2)
    return (1 - 1 / x**2 + 3 / x**4 - 15 / x**6) / (x * sqrt(2 * pi))


@functools.lru_cache(maxsize=4096)  # a key holder asks for each client, and most have spent the same
def epsilon_of_cost(cost: float, delta: float) -> float:
    """Return the smallest epsilon that sums of this cost have at `delta`, rounded up to 12 digits.

    Raises ValueError for a cost below 0, or a delta outside 0 ... 1.
    """
    if not cost >= 0 or not 0 < delta < 1:
        raise ValueError(f"a cost of {cost} at a delta of {delta}; expected 0 or more, and between 0 and 1")
    if cost == 0 or isinf(cost):
        return cost
    if delta_of(cost, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(cost, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(cost, middle) > delta else (low, middle)
    return high
