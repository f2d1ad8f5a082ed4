"""Whose updates are left out of a sum, so that key holders that enforce the difference rule open it.

A client that drops out makes a sum that is too similar to the last one. Where the holders refuse such a sum, others are
left out besides, until the difference is large enough, or none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from core.difference import too_similar
from server.rules import RoundRules
from server.states import RunState

TRIES = 50
"""Cohorts of each size that are tried, drawn so that every party can repeat the draw."""


def least_difference(run: RunState, rules: RoundRules) -> int:
    """Return by how many clients a cohort must differ from earlier ones, if not by none; 0 if it need not.

    It is what t key holders agree to; those that want more would be too few, and those that want less are enough.
    """
    wanted = sorted(run.demands.values())
    if len(wanted) < rules.threshold or not wanted[rules.threshold - 1]:
        return 0
    return max(wanted[rules.threshold - 1], rules.min_cohort)


def allowed_cohort(run: RunState, present: frozenset[str], rules: RoundRules) -> frozenset[str] | None:
    """Return the largest cohort found among these clients whose sum t key holders open; None if there is none.

    Of two as large, one that was opened before is taken: its sum tells least.
    """
    least = least_difference(run, rules)
    for size in range(len(present), rules.least - 1, -1):
        for cohort in _of_size(present, size, run.opened):
            if not any(too_similar(cohort, earlier, least) for earlier in run.opened):
                return cohort
        if not least:
            break
    return None


def _of_size(present: frozenset[str], size: int, opened: Sequence[frozenset[str]]) -> Iterator[frozenset[str]]:
    """Yield cohorts to try: those opened before, then neighbours in the order of names, then some at random."""
    yield from (earlier for earlier in opened if len(earlier) == size and earlier <= present)
    names = sorted(present)
    for start in range(min(len(names), TRIES)):
        out = {names[(start + place) % len(names)] for place in range(len(names) - size)}
        yield present - out
    draw = random.Random(size)  # noqa: S311  it decides who is left out, and nothing secret
    for _ in range(TRIES):
        yield frozenset(draw.sample(names, size))
