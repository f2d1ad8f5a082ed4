"""Chapter 2: learning by counting, and finding groups that nobody named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.data.toys import FloatArray, crowds, streetlights
from core.grouping import IntArray, k_means, scale_features, share_of_yes, soft_groups
from experiments.chapters.small_networks import exact_all
from experiments.finding import Finding, shown
from experiments.run import Chapter, Run

GROUPS = 3


def run(run: Run) -> Iterator[Finding]:
    yield from count_walkers()
    yield from group_crowds(run)


def count_walkers() -> Iterator[Finding]:
    """Which lamp tells whether people walk? Count how often they do when it is lit."""
    lamps, walk = streetlights()
    yield from exact_all("share who walk when the lamp is lit", share_of_yes(lamps, walk[:, 0]), [1 / 3, 1, 1 / 2])


def group_crowds(run: Run) -> Iterator[Finding]:
    """Do seven matches fall into groups by themselves, and how firmly?"""
    matches = crowds()
    scaled = scale_features(matches)
    members = k_means(scaled, GROUPS, run.rng(0)).members
    for number in dict.fromkeys(members.tolist()):
        yield shown("matches found together", describe(matches[members == number]))
    alike = sum(_same(members, k_means(scaled, GROUPS, run.rng(1, start)).members) for start in range(100))
    yield shown("the same groups from 100 other starts", alike, "d")
    unscaled = k_means(matches, GROUPS, run.rng(2)).members
    yield shown("the same groups if fans are not scaled to the size of home and away", str(_same(members, unscaled)))
    surest = soft_groups(scaled, GROUPS, run.rng(0)).shares.max(axis=1)
    yield shown("softly: the least sure match belongs to its group by", float(surest.min()), ".1%")


def describe(matches: FloatArray) -> str:
    """Write matches of shape (n, 2) as words."""
    return ", ".join(f"{'home' if home else 'away'} {came / 1000:.0f}k" for home, came in matches)


def _same(one: IntArray, other: IntArray) -> bool:
    """Tell whether two groupings are the same up to a renumbering."""
    return bool(np.array_equal(one[:, None] == one, other[:, None] == other))


CHAPTER = Chapter(2, "counting, and groups that nobody named", run)
