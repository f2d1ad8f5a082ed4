"""The questions to the checker, and what the threat model says of each."""

from __future__ import annotations

from core.errors import Reason
from experiments.cheating_server.stage import THREE_OF_FOUR, THRESHOLD, Profile
from experiments.model_check.scene import Broken, Case

FOUR_OF_FIVE = Profile("4 of 5", 5, 4)
TWICE, TOO_FEW, ALONE = frozenset({Broken.TWICE}), frozenset({Broken.TOO_FEW}), frozenset({Broken.ALONE})


def without(*checks: Reason, expects: frozenset[Broken], attempts: int = 1, thorough: bool = False) -> Case:
    """Return the default way of sharing keys, with checks switched off at every honest party."""
    return Case(THREE_OF_FOUR, attempts=attempts, without=frozenset(checks), expects=expects, thorough=thorough)


QUICK = (
    Case(THRESHOLD, expects=ALONE),
    Case(THREE_OF_FOUR),
    without(Reason.LIST_CHANGED, expects=ALONE),
)
ALL = (
    Case(THRESHOLD, orders=True, thorough=True, expects=TWICE | ALONE),
    Case(THREE_OF_FOUR, orders=True, thorough=True),
    Case(FOUR_OF_FIVE, dishonest=2, orders=True),
    Case(THREE_OF_FOUR, attempts=2),
    without(Reason.LIST_CHANGED, expects=ALONE),
    without(Reason.LIST_SIGNATURES, expects=ALONE),
    without(Reason.ALREADY_RELEASED, Reason.STALE_MEMORY, attempts=2, expects=TWICE),  # each of them stops it alone
    without(Reason.COHORT_TOO_SMALL, thorough=True, expects=TOO_FEW),
)
