"""The attacks, one function each, by what they cheat about."""

from __future__ import annotations

from experiments.cheating_server.attack import Attack
from experiments.cheating_server.attacks import cohorts, copies, holders, keys, lists, models, releases

ATTACKS: tuple[Attack, ...] = tuple(
    sorted(
        (
            *cohorts.ATTACKS,
            *copies.ATTACKS,
            *holders.ATTACKS,
            *keys.ATTACKS,
            *lists.ATTACKS,
            *models.ATTACKS,
            *releases.ATTACKS,
        ),
        key=lambda attack: (int(attack.number.rstrip("abcdef")), attack.number),
    )
)
"""All that must be refused, by number."""
CONSPIRACIES = holders.CONSPIRACIES
"""Those that some ways of sharing keys allow."""
