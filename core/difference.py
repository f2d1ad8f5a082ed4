"""The difference rule: two sums whose contributors differ by a few tell, subtracted, what those few sent."""

from __future__ import annotations

from collections.abc import Set

WINDOW = 50
"""How many of the latest opened sums are compared with. What is older can still be subtracted (N3)."""


def too_similar(one: Set[str], other: Set[str], least: int) -> bool:
    """Return whether two cohorts differ, and by fewer clients than `least`.

    Two sums of the very same clients are not: their difference says how all of these moved, and nothing of one of them.
    """
    return 0 < len(one ^ other) < least
