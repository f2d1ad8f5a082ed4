"""Groups: a division of the aggregator's own, and groups of a single client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from core.errors import Reason
from core.protocol import digest
from core.robust import Grouping
from core.round_sums import groups_of
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.crafted import ClosedList
from experiments.cheating_server.honest import Setting
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, VICTIM

SIX = (*HONEST, *CONSPIRATORS[:3])
PAIRS = Setting(min_cohort=2, max_colluders=0)
"""Three groups of two: in one with a conspirator the victim would be alone."""
Groups = list[list[str]]


def own_division(attacker: Attacker) -> Loot:
    """Close an honest list, and exchange the victim's companion for a conspirator of another group."""
    closed = _listed(attacker)
    return _read_victim(attacker, closed, with_conspirator(_groups(closed, SIX)))


def alone_in_its_group(attacker: Attacker) -> Loot:
    """Close an honest list, and say that only one update for each group has come."""
    closed = _listed(attacker)
    return _read_victim(attacker, closed, _groups(closed, HONEST))


def with_conspirator(groups: Groups) -> Groups:
    """Exchange the victim's companion for the first conspirator of another group."""
    (companion,) = (name for group in groups if VICTIM in group for name in group if name != VICTIM)
    wanted = next(name for name in CONSPIRATORS if name != companion)
    exchanged = {companion: wanted, wanted: companion}
    return [sorted(exchanged.get(name, name) for name in group) for group in groups]


@contextmanager
def not_dividing() -> Iterator[None]:
    """Let key holders take the aggregator's word for who is in which group."""
    with patch("keyholder.orders.groups_of", lambda *about: with_conspirator(groups_of(*about))):
        yield


def _listed(attacker: Attacker) -> ClosedList:
    return attacker.full_list(attacker.describe(attacker.ask_key(), grouping=Grouping(3)), SIX)


def _groups(closed: ClosedList, contributors: Sequence[str]) -> Groups:
    crafted, commitments = closed.round, [digest(each.body) for each in closed.commitments]
    return groups_of(crafted.description, crafted.digest, commitments, contributors)


def _read_victim(attacker: Attacker, closed: ClosedList, groups: Groups) -> Loot:
    """Have the sums of these groups opened, and read that of the victim's."""
    contributors, crafted = sorted(name for group in groups for name in group), closed.round
    plaintexts = attacker.read_sum(closed, contributors, groups=groups)
    place, count = next(place for place, group in enumerate(groups) if VICTIM in group), crafted.encoding.plaintexts
    return attacker.loot(crafted, plaintexts[place * count : (place + 1) * count], len(groups[place]))


ATTACKS = (
    Attack(
        "38", "clients in groups of the aggregator's choice", own_division, Party.HOLDER, Reason.WRONG_SUM,
        conspirators="3 clients", setting=PAIRS, control=PAIRS, around=not_dividing,
        control_note="holders take the aggregator's groups",
    ),
    Attack(
        "39", "a group of the victim alone", alone_in_its_group, Party.HOLDER, Reason.COHORT_TOO_SMALL,
        conspirators="3 clients", setting=PAIRS,
    ),
)  # fmt: skip
