"""The attacks, one function each, by what they cheat about."""

from __future__ import annotations

from experiments.cheating_server.attack import Attack
from experiments.cheating_server.attacks import (
    budgets,
    cohorts,
    copies,
    counts,
    groups,
    holders,
    keys,
    lists,
    models,
    releases,
    restored,
)

MODULES = (budgets, cohorts, copies, counts, groups, holders, keys, lists, models, releases, restored)


def _in_order(attack: Attack) -> tuple[int, str]:
    return int(attack.number.rstrip("abcdef")), attack.number


ATTACKS: tuple[Attack, ...] = tuple(sorted((each for module in MODULES for each in module.ATTACKS), key=_in_order))
"""All that must be refused, by number."""
CONSPIRACIES = holders.CONSPIRACIES
"""Those that some ways of sharing keys allow."""
