"""What has happened in a run, as plain events, and the epsilon that follows from them.

**Neighbours** are two runs that differ in one client: in one of them it sends, whenever it takes part, what it would
send without having learned anything, a zero update with its noise ("zero-out"; Kairouz et al., ICML 2021, definition
1.1). Who takes part is the same in both. Replacing a client by another one moves the sum twice as far.

**Parties that see who takes part** (the aggregator, key holders, clients): each opened sum is a Gaussian mechanism of
rho = 1 / (2 z^2), in zero-concentrated differential privacy (zCDP), and rhos add up. z is the noise that was really
added: that of all contributors but the colluders. The discrete Gaussian has the same rho as the continuous one (CKS
2020, theorem 4). A sum of n of them is not quite one; that adds (tau d) / 4 to rho, for d values and
tau = 10 sum_{k<n} exp(-2 pi^2 sigma^2 k / (k+1)) (Kairouz, Liu and Steinke 2021, theorem 1): at most 10^-11 here,
because each share is at least 2 steps wide.

**Those that see models only** do not know who took part. Where the clients of a round are chosen at random and in
secret, that hides them further ("amplification by sampling"). A fixed number is chosen, without replacement; the
bound for that (Wang, Balle and Kasiviswanathan, AISTATS 2019, theorem 27) is about replacing a client, so the noise
counts half in it: z / 2. It is proved for the continuous Gaussian; from a sigma of 2 steps on the two differ by less
than rounding errors do. Where it is no better than the first figure, both are the same.

From rho to epsilon: without dp-accounting (the extra `privacy`) rho + 2 sqrt(rho ln(1/delta)) (Bun and Steinke 2016,
proposition 1.3), which anyone can check; with it the tighter conversion of Rényi differential privacy. Both are upper
bounds: what an attacker really learns may be less, and is never more.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf, log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from core.privacy.composition import cost_of_sum
from core.privacy.mechanism import LARGEST_DELTA

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoisySum:
    """A sum was opened to which each contributor had added its noise. Raises ValueError for impossible numbers.

    Attributes:
        round: from 1.
        contributors: whose updates are in it.
        max_colluders: of them, whose noise is not counted on.
        sensitivity: the most that one client can move it, in steps.
        variance: of one client's noise, in steps squared.
        values: numbers in the sum.
        chosen, chosen_from: clients chosen for the round, at random and in secret; the same number if not.
    """

    round: int
    contributors: int
    max_colluders: int
    sensitivity: int
    variance: int
    values: int
    chosen: int = 1
    chosen_from: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.max_colluders < self.contributors:
            raise ValueError(f"{self.max_colluders} of {self.contributors} contributors collude; expected fewer")
        if self.sensitivity < 1 or self.variance < 1 or self.values < 1:
            raise ValueError(f"an impossible mechanism: {self}")
        if not 1 <= self.chosen <= self.chosen_from:
            raise ValueError(f"{self.chosen} clients are chosen from {self.chosen_from}")

    @property
    def noise_multiplier(self) -> float:
        """z: standard deviation of the noise that can be counted on, by the sensitivity."""
        return sqrt((self.contributors - self.max_colluders) * self.variance) / self.sensitivity

    @property
    def rho(self) -> float:
        """What it costs in zero-concentrated differential privacy."""
        honest = self.contributors - self.max_colluders
        return cost_of_sum(self.sensitivity, self.variance, honest, self.values) / 2


@dataclass(frozen=True)
class Spent:
    """What a run has cost so far.

    Attributes:
        epsilon: against parties that see who takes part.
        epsilon_models: against those that see models only.
    """

    epsilon: float
    epsilon_models: float


def spent(events: Iterable[NoisySum], delta: float) -> Spent:
    """Return the epsilons that the events have cost, for a probability `delta` of failing.

    Raises TypeError for an event of an unknown kind: what cannot be accounted for must not look free.
    """
    counts: Counter[NoisySum] = Counter()
    for event in events:
        if not isinstance(event, NoisySum):
            raise TypeError(f"the accountant knows no event of the kind {type(event).__name__}")
        counts[replace(event, round=0)] += 1
    return _spent(tuple(sorted(counts.items(), key=repr)), delta)


def affordable(event: NoisySum, most: int, delta: float, budget: float) -> int:
    """Return how many rounds like this one, up to `most`.

    Cost no more epsilon than the budget (who takes part being seen).
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if epsilon_of(event.rho * middle, delta) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def method() -> str:
    """Return how epsilon is computed here, in words."""
    return "Rényi differential privacy, by dp-accounting" if _tight() else "rho + 2 sqrt(rho ln(1/delta))"


def epsilon_of(rho: float, delta: float) -> float:
    """Return the epsilon that `rho` of zero-concentrated differential privacy comes to."""
    if rho == 0:
        return 0.0
    simple = rho + 2 * sqrt(rho * log(1 / delta))
    return min(simple, _tight_epsilon(rho, delta)) if _tight() else simple


@functools.cache
def _tight() -> bool:
    return find_spec("dp_accounting") is not None


@functools.lru_cache(maxsize=256)
def _spent(counts: tuple[tuple[NoisySum, int], ...], delta: float) -> Spent:
    epsilon = epsilon_of(sum(event.rho * count for event, count in counts), delta)
    sampled = any(event.chosen < event.chosen_from for event, _ in counts)
    amplified = _sampled_epsilon(counts, delta) if sampled and _tight() else inf
    return Spent(epsilon, min(epsilon, amplified))


def _tight_epsilon(rho: float, delta: float) -> float:
    import dp_accounting  # only here: an extra, and slow to import
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(dp_accounting.ZCDpEvent(rho))
    return float(accountant.get_epsilon(delta))


def prepare(event: NoisySum) -> None:
    """Do what takes long in accounting for an event of this kind, if anything does; to be called ahead, in a thread."""
    if _tight():
        epsilon_of(event.rho, LARGEST_DELTA)
        if event.chosen < event.chosen_from:
            _divergences(replace(event, round=0))


def _sampled_epsilon(counts: Sequence[tuple[NoisySum, int]], delta: float) -> float:
    from dp_accounting import rdp

    composed = [(*_divergences(event), count) for event, count in counts]
    total = sum(count * divergences for _, divergences, count in composed)
    return float(rdp.compute_epsilon(composed[0][0], total, delta)[0])


_one_at_a_time = threading.Lock()
"""A caller that needs what is already being computed waits for it instead of computing it again."""


def _divergences(event: NoisySum) -> tuple[FloatArray, FloatArray]:
    """Return the orders, and the Rényi divergences at them that one event costs: events add up.

    So each kind is done once.
    """
    with _one_at_a_time:
        return _computed_divergences(event)


@functools.lru_cache(maxsize=4096)
def _computed_divergences(event: NoisySum) -> tuple[FloatArray, FloatArray]:
    import dp_accounting
    from dp_accounting import rdp

    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    accountant.compose(_replacing(dp_accounting, event))
    return accountant.orders, accountant.rdp


def _replacing(dp_accounting: Any, event: NoisySum) -> Any:
    gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier / 2)
    if event.chosen == event.chosen_from:
        return gaussian
    return dp_accounting.SampledWithoutReplacementDpEvent(event.chosen_from, event.chosen, gaussian)
