"""Sums that tell more together than each alone: a round opened twice, and rounds that differ by one client."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Reason
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.differences import WITH, WITHOUT, Opened, difference, second_run
from experiments.cheating_server.attacks.models import honest_round
from experiments.cheating_server.backup import Backup
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker


def second_attempt(attacker: Attacker) -> Loot:
    """Open a round, say that it failed, and open its second attempt without the victim."""
    whole = _sum_of(attacker, attacker.describe(attacker.ask_key()), WITH)
    less = _sum_of(attacker, attacker.describe(attacker.ask_key(), attempt=2), WITHOUT)
    return difference(attacker, whole, less)


def opened_again(attacker: Attacker) -> Loot:
    """Have an attempt opened once more, without the victim, after the holders restored their shares from a backup."""
    crafted = attacker.describe(attacker.ask_key())
    backup = Backup(attacker.stage, crafted.description.certificate.serial)
    closed = attacker.full_list(crafted, WITH)
    whole = attacker.read_sum(closed, WITH)
    backup.restore()
    less = attacker.read_sum(closed, WITHOUT)
    return difference(attacker, (crafted, whole), (crafted, less))


def replayed_round(attacker: Attacker) -> Loot:
    """Play a whole attempt once more, list and all, without the victim; the holders' shares are restored as above."""
    crafted = attacker.describe(attacker.ask_key())
    backup = Backup(attacker.stage, crafted.description.certificate.serial)
    whole = _sum_of(attacker, crafted, WITH)
    backup.restore()
    return difference(attacker, whole, _sum_of(attacker, crafted, WITHOUT))


def next_round(attacker: Attacker) -> Loot:
    """Leave the victim out of the second round. The others hardly train otherwise than in the first."""
    closed, opened, plaintexts, after = honest_round(attacker, WITH)
    attacker.rogue.served.opened = opened
    attacker.endorse(closed, WITH, after)
    less = _sum_of(attacker, attacker.describe(attacker.ask_key(), number=2, model=after), WITHOUT)
    return difference(attacker, (closed.round, plaintexts), less)


def next_run(attacker: Attacker) -> Loot:
    """Begin a second training with the same seed, in which all train the same, and leave the victim out."""
    whole = _sum_of(attacker, attacker.describe(attacker.ask_key()), WITH)
    second_run(attacker)
    return difference(attacker, whole, _sum_of(attacker, attacker.describe(attacker.ask_key()), WITHOUT))


def _sum_of(attacker: Attacker, crafted: Round, contributors: Sequence[str]) -> Opened:
    return crafted, attacker.read_sum(attacker.full_list(crafted, contributors), contributors)


DIFFERENCE = (Reason.TOO_SIMILAR,)
ATTACKS = (
    Attack(
        "4a", "n against n-1: a second attempt", second_attempt, Party.HOLDER, Reason.ALREADY_RELEASED,
        also=DIFFERENCE, conspirators="1 client",
    ),
    Attack(
        "4b", "n against n-1: opened once more", opened_again, Party.HOLDER, Reason.ALREADY_RELEASED,
        also=DIFFERENCE, conspirators="1 client", assumed="holders restore used shares",
    ),
    Attack(
        "5a", "n against n-1: the next round", next_round, Party.HOLDER, Reason.TOO_SIMILAR,
        conspirators="1 client", partial=0.9,
    ),
    Attack(
        "5b", "n against n-1: the next run, same seed", next_run, Party.HOLDER, Reason.TOO_SIMILAR,
        conspirators="1 client",
    ),
    Attack(
        "6", "a round replayed with another list", replayed_round, Party.HOLDER, Reason.LIST_CHANGED,
        also=(Reason.ALREADY_RELEASED, *DIFFERENCE), conspirators="1 client", assumed="holders restore used shares",
    ),
)  # fmt: skip
