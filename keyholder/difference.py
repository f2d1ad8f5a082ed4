"""What a key holder does with a sum that is too similar to an earlier one (core.difference)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from core.difference import too_similar


class DifferenceRule(StrEnum):
    """What a holder does with a sum that is too similar to an earlier one."""

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


def exposed_by(
    contributors: frozenset[str], earlier: Sequence[tuple[str, int, frozenset[str]]], min_cohort: int, run: str = ""
) -> str:
    """Return what this sum and an earlier one tell together.

    In words; empty if every difference is zero or large enough.

    `earlier` gives run, round and contributors of other releases; `run` is that of this one. Two sums of the very same
    clients are allowed: their difference says how all of these moved, and nothing of one of them.
    """
    for other_run, round_number, others in earlier:
        difference = contributors ^ others
        if too_similar(contributors, others, min_cohort):
            names = ", ".join(sorted(difference)[:5])
            other = f"round {round_number}" + (f" of the earlier run {other_run}" if other_run != run else "")
            return f"together with the sum of {other} it tells what {len(difference)} of the clients sent ({names})"
    return ""


Contributors = list[str] | list[list[str]]
"""Of the sum of a release, or of the sum of each of its groups."""


def sums_told(contributors: Contributors) -> list[frozenset[str]]:
    """Return the contributors of every sum that a release makes known: of each group, and of all groups together."""
    groups = [each for each in contributors if isinstance(each, list)]
    if not groups:
        return [frozenset(map(str, contributors))]
    return [*map(frozenset, groups), frozenset(name for group in groups for name in group)]
