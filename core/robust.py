"""Groups: a round's contributors divided at random, and a robust rule over the means of the groups' opened sums.

One client of a group with any update moves that group's mean wherever it likes. A rule that does not follow single
groups bounds what that does to the model, as long as most groups have no such client (docs/rules.md).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from core.errors import SettingsError
from core.secagg.encoding import CohortSum
from core.server_rules import ServerRule

FloatArray = npt.NDArray[np.float64]
Client = TypeVar("Client", int, str)
MOST_GROUPS = 10_000
TRIMMED = 0.25
"""Share of the groups that the trimmed mean leaves out at either end; at least one."""
STEPS = 10
SMOOTHING = 1e-6
"""Of the geometric median: steps of the algorithm, and the least distance to a group's mean that counts."""


class Robust(StrEnum):
    """Rules over the means of groups."""

    median = "median"
    trimmed_mean = "trimmed-mean"
    geometric_median = "geometric-median"


def median(means: FloatArray) -> FloatArray:
    """Return the median of each weight, shape (values,), of means of shape (groups, values). Yin et al., ICML 2018."""
    return np.asarray(np.median(means, axis=0), dtype=np.float64)


def trimmed_mean(means: FloatArray) -> FloatArray:
    """Return the mean of each weight without its largest and smallest values. Yin et al., ICML 2018."""
    cut = max(1, int(TRIMMED * len(means)))
    return np.asarray(np.sort(means, axis=0)[cut : len(means) - cut].mean(axis=0), dtype=np.float64)


def geometric_median(means: FloatArray) -> FloatArray:
    """Return the point with the least sum of distances, by the smoothed Weiszfeld algorithm.

    Pillutla, Kakade and Harchaoui, "Robust aggregation for federated learning" (IEEE TSP 2022), Algorithm 2. Squares
    are added up exactly: NumPy's order, and so the last bit, depends on the processor, and key holders would refuse.
    """
    point = means.mean(axis=0)
    for _ in range(STEPS):
        distances = np.array([math.sqrt(math.fsum(row)) for row in np.square(means - point).tolist()])
        weights = 1 / np.maximum(SMOOTHING, distances)
        point = (weights[:, None] * means).sum(axis=0) / weights.sum()
    return np.asarray(point, dtype=np.float64)


RULES: dict[Robust, Callable[[FloatArray], FloatArray]] = {
    Robust.median: median,
    Robust.trimmed_mean: trimmed_mean,
    Robust.geometric_median: geometric_median,
}


@dataclass(frozen=True)
class Grouping:
    """How many groups a round's contributors are divided into, and the rule over their means.

    Raises SettingsError for groups that no rule can choose from.
    """

    groups: int
    robust: Robust = Robust.median

    def __post_init__(self) -> None:
        if not 3 <= self.groups <= MOST_GROUPS:
            raise SettingsError(
                f"--groups is {self.groups}; 3 to {MOST_GROUPS} are possible, because of two groups none can say which "
                "is wrong"
            )

    def require_room(self, clients: int, min_cohort: int) -> None:
        """Raise SettingsError unless each group of this many clients has at least the minimum cohort."""
        smallest = min(self.sizes(clients))
        if smallest < min_cohort:
            raise SettingsError(
                f"{clients} clients in {self.groups} groups are {smallest} in the smallest, and the minimum cohort is "
                f"{min_cohort}; use fewer groups, more clients, or a smaller --min-cohort"
            )

    def require_rule(self, rule: ServerRule) -> None:
        """Raise SettingsError for a server's rule that needs the mean of one sum."""
        if rule.corrects_clients:
            raise SettingsError(
                f"--groups is {self.groups}, and --rule {rule.name} needs the mean of one sum; leave one out"
            )
        if rule.adapts_clip:
            raise SettingsError(f"--groups is {self.groups}, and --clip-quantile counts in one sum; leave one out")

    def sizes(self, clients: int) -> list[int]:
        """Return how many of these clients are in each group."""
        return [len(range(group, clients, self.groups)) for group in range(self.groups)]

    def divide(self, clients: Sequence[Client], seed: bytes) -> list[list[Client]]:
        """Return the members of each group, ascending; sizes differ by one at most. Anyone can repeat the division.

        Args:
            seed: with SHA-256 it decides the order of the clients, who are then dealt out in turn.
        """
        order = sorted(clients, key=lambda client: hashlib.sha256(seed + f" {client}".encode()).digest())
        return [sorted(order[group :: self.groups]) for group in range(self.groups)]

    def mean(self, means: Sequence[FloatArray]) -> FloatArray:
        """Return the robust mean, shape (values,), of the mean updates of the groups, each of that shape."""
        return RULES[self.robust](np.stack(means))

    def sentence(self, min_cohort: int) -> str:
        """What this reveals, for people."""
        return (
            f"groups: every round opens {self.groups} sums of at least {min_cohort} clients each instead of one, and "
            f"the {self.robust.value} of their means makes the model; who sees the sums learns each group's own mean, "
            "so a client hides among its group only, and groups of changing clients can be compared between rounds"
        )


def seed_of(seed: int, round_number: int) -> bytes:
    """Return what divides the clients of a round where no key holders sign a list: virtual clients, and studies."""
    return f"groups {seed} {round_number}".encode()


def joined(sums: Sequence[CohortSum]) -> CohortSum:
    """Return the sum over all groups, for the cohort's own metrics."""
    contributors = sum(each.contributors for each in sums)
    counts = [each.count for each in sums if each.count is not None]
    return CohortSum(
        contributors=contributors,
        delta_sum=np.sum([each.delta_sum for each in sums], axis=0),
        examples=sum(each.examples for each in sums),
        mean_loss=sum(each.mean_loss * each.contributors for each in sums) / contributors,
        correct=sum(each.correct for each in sums),
        count=sum(counts) if counts else None,
        positives=sum(each.positives for each in sums),
        true_positives=sum(each.true_positives for each in sums),
    )
