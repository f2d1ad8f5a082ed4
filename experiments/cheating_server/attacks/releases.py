"""Sums that tell more together than each alone: a round opened twice, and rounds that differ by one client."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from core.errors import Reason
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.differences import (
    WITH,
    WITHOUT,
    Opened,
    difference,
    second_run,
    second_run_after_restart,
)
from experiments.cheating_server.attacks.models import honest_round
from experiments.cheating_server.backup import Backup
from experiments.cheating_server.ciphertexts import deltas
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, OTHERS, VICTIM


def second_attempt(attacker: Attacker) -> Loot:
    """Open a round, say that it failed, and open its second attempt without the victim."""
    whole = _sum_of(attacker, attacker.describe(attacker.ask_key()), WITH)
    less = _sum_of(attacker, attacker.describe(attacker.ask_key(), attempt=2), WITHOUT)
    return difference(attacker, whole, less)


def opened_again(attacker: Attacker) -> Loot:
    """Have an attempt opened again, without the victim, after the holders restored their shares from a backup."""
    crafted = attacker.describe(attacker.ask_key())
    backup = Backup(attacker.stage, crafted.description.certificate.serial)
    closed = attacker.full_list(crafted, WITH)
    whole = attacker.read_sum(closed, WITH)
    backup.restore()
    less = attacker.read_sum(closed, WITHOUT)
    return difference(attacker, (crafted, whole), (crafted, less))


def replayed_round(attacker: Attacker) -> Loot:
    """Play a whole attempt again, list and all, without the victim; the holders' shares are restored as above."""
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


def run_after_run(attacker: Attacker, *, forget: bool = False) -> Loot:
    """End the first training, and begin a second one from the same model with clients that were started again."""
    whole = _sum_of(attacker, attacker.describe(attacker.ask_key()), WITH)
    second_run_after_restart(attacker, forget=forget)
    return difference(attacker, whole, _sum_of(attacker, attacker.describe(attacker.ask_key()), WITHOUT))


def four_sums(attacker: Attacker) -> Loot:
    """Open four sums of one model, no two of which are too similar, and combine them to the victim's update."""
    opened: list[Opened] = []
    for cohort in FOUR_COHORTS:
        if opened:
            second_run_after_restart(attacker, forget=True)
        opened.append(_sum_of(attacker, attacker.describe(attacker.ask_key()), cohort))
    first, second, third, fourth = (
        deltas(crafted.encoding, plaintexts, len(cohort))
        for (crafted, plaintexts), cohort in zip(opened, FOUR_COHORTS, strict=True)
    )
    return Loot.of(first - second + third - fourth, attacker.stage.truth(VICTIM))


def _sum_of(attacker: Attacker, crafted: Round, contributors: Sequence[str]) -> Opened:
    return crafted, attacker.read_sum(attacker.full_list(crafted, contributors), contributors)


C, D = CONSPIRATORS[:2], CONSPIRATORS[2:]
FOUR_COHORTS = ((VICTIM, *OTHERS), (OTHERS[0], *C), (*C, *D), (OTHERS[1], *D))
"""v + a + b, a + C, C + D, b + D: the first less the second, plus the third less the fourth, is v.

Any two differ by three clients or more, which is the minimum cohort here.
"""
DIFFERENCE = (Reason.TOO_SIMILAR,)
ATTACKS = (
    Attack(
        "4a", "n against n-1: a second attempt", second_attempt, Party.HOLDER, Reason.ALREADY_RELEASED,
        also=DIFFERENCE, conspirators="1 client",
    ),
    Attack(
        "4b", "n against n-1: opened again", opened_again, Party.HOLDER, Reason.ALREADY_RELEASED,
        also=DIFFERENCE, conspirators="1 client", assumed="holders restore used shares",
    ),
    Attack(
        "5a", "n against n-1: the next round", next_round, Party.HOLDER, Reason.TOO_SIMILAR,
        conspirators="1 client", partial=0.9,
    ),
    Attack(
        "5b", "n against n-1: the next run, same seed", next_run, Party.CLIENT, Reason.ANOTHER_RUN,
        also=(Reason.MODEL_USED, *DIFFERENCE), conspirators="1 client",
    ),
    Attack(
        "31a", "a model used again: clients start again", run_after_run, Party.CLIENT, Reason.MODEL_USED,
        also=DIFFERENCE, conspirators="1 client",
    ),
    Attack(
        "31b", "a model used again: clients forgot", partial(run_after_run, forget=True), Party.HOLDER,
        Reason.MODEL_USED, also=DIFFERENCE, conspirators="1 client", assumed="clients lose what they remember",
    ),
    Attack(
        "31c", "four sums of a model, none too similar", four_sums, Party.HOLDER, Reason.MODEL_USED,
        conspirators="4 clients", assumed="clients lose what they remember", keys=4,
    ),
    Attack(
        "6", "a round replayed with another list", replayed_round, Party.HOLDER, Reason.LIST_CHANGED,
        also=(Reason.ALREADY_RELEASED, *DIFFERENCE), conspirators="1 client", assumed="holders restore used shares",
    ),
)  # fmt: skip
