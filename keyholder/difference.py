"""The difference rule: two sums whose contributors differ by a few tell, subtracted, what those few sent."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

WINDOW = 50
"""How many of the latest releases are compared with. What is older can still be subtracted (N3)."""


class DifferenceRule(StrEnum):
    """What a holder does with a sum that is too similar to an earlier one."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


def exposed_by(
    contributors: frozenset[str], earlier: Sequence[tuple[str, int, frozenset[str]]], min_cohort: int
) -> str:
    """What this sum and an earlier one tell together, in a sentence; empty if every difference is none or large enough.

    `earlier` gives run, round and contributors of other releases. Two sums of the very same clients are allowed: their
    difference says how all of these moved, and nothing of one of them.
    """
    for _, round_number, others in earlier:
        difference = contributors ^ others
        if 0 < len(difference) < min_cohort:
            names = ", ".join(sorted(difference)[:5])
            return (
                f"together with the sum of round {round_number} it tells what {len(difference)} of the clients sent "
                f"({names}); a difference of fewer than {min_cohort} is not opened"
            )
    return ""
