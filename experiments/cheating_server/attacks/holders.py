"""Attacks of an aggregator that has a key holder on its side, fewer than can open anything.

What is hidden from one holder may be shown to another: two lists of one attempt, two openings of one round, two
cohorts that differ by one client. How many holders any two groups of t have in common decides what is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Reason, Refused
from experiments.cheating_server.attack import Attack, Conspiracy, Party
from experiments.cheating_server.attacks.copies import cancelling
from experiments.cheating_server.attacks.differences import WITH, WITHOUT, Opened, difference, second_run_after_restart
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.rogue import PartyRefusedError
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, THRESHOLD, VICTIM

FIRST = CONSPIRATORS[0]


def two_lists(attacker: Attacker) -> Loot:
    """Show one list to some holders and the clients, and a later one, with what came of it, to other holders."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    attacker.demand_updates(attacker.close_list(crafted, found.values(), lenders(attacker)))
    late = attacker.commit_as(FIRST, crafted, cancelling(attacker, crafted))
    closed = attacker.close_list(crafted, [*found.values(), late], other_lenders(attacker))
    plaintexts = attacker.read_sum(closed, WITH, other_lenders(attacker))
    return attacker.loot(crafted, plaintexts, len(WITH))


def two_openings(attacker: Attacker) -> Loot:
    """Close one list, and have some holders open the sum of all on it, others the sum without the victim."""
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, WITH, attacker.holders)
    whole = attacker.read_sum(closed, WITH, lenders(attacker))
    less = attacker.read_sum(closed, WITHOUT, other_lenders(attacker))
    return difference(attacker, (crafted, whole), (crafted, less))


def two_attempts(attacker: Attacker) -> Loot:
    """Have a round opened by some holders, and its second attempt, without the victim, by others."""
    crafted = attacker.describe(attacker.ask_key())
    whole = attacker.read_sum(attacker.full_list(crafted, WITH, lenders(attacker)), WITH, lenders(attacker))
    again = attacker.describe(attacker.ask_key(besides=crafted), attempt=2)
    return _less(attacker, (crafted, whole), again)


def two_cohorts(attacker: Attacker) -> Loot:
    """Have two runs of one model opened by different holders, the second without the victim; clients forgot the first.

    Clients that remember refuse the second run, however keys are shared.
    """
    crafted = attacker.describe(attacker.ask_key())
    whole = attacker.read_sum(attacker.full_list(crafted, WITH, lenders(attacker)), WITH, lenders(attacker))
    second_run_after_restart(attacker, forget=True)
    return _less(attacker, (crafted, whole), attacker.describe(attacker.ask_key(besides=crafted)))


def one_share(attacker: Attacker) -> Loot:
    """Open the victim's ciphertexts alone, with the shares of the conspiring holders and made-up ones."""
    crafted = attacker.describe(attacker.ask_key())
    attacker.full_list(crafted, HONEST, lenders(attacker))
    victims, threshold = attacker.updates[VICTIM], attacker.stage.profile.threshold
    answers = attacker.conspirators.partials(crafted.description.certificate, victims)
    for holder in attacker.holders[: threshold - len(answers)]:
        answers[attacker.stage.identities[holder].number] = next(iter(answers.values()))
    try:
        plaintexts = attacker.opened(crafted, victims, answers)
    except Refused as refusal:
        raise PartyRefusedError(Party.NONE.value, refusal.reason.value, str(refusal)) from None
    return attacker.loot(crafted, plaintexts, 1)


def lenders(attacker: Attacker) -> Sequence[str]:
    """Return the first honest holders, as many as an opening needs in addition to the conspirators."""
    return attacker.holders[: attacker.needed(attacker.stage.profile.threshold)]


def other_lenders(attacker: Attacker) -> Sequence[str]:
    """Return the last honest holders, as many again."""
    return attacker.holders[len(attacker.holders) - attacker.needed(attacker.stage.profile.threshold) :]


def _less(attacker: Attacker, whole: Opened, again: Round) -> Loot:
    closed = attacker.full_list(again, WITHOUT, other_lenders(attacker))
    return difference(attacker, whole, (again, attacker.read_sum(closed, WITHOUT, other_lenders(attacker))))


ATTACKS = (
    Attack(
        "26", "one share, for the victim's update alone", one_share, Party.NONE, Reason.WRONG_SHARE,
        conspirators="1 holder", holders=1, control_holders=2, control_note="two holders conspire",
    ),
)  # fmt: skip
A_THRESHOLD = "a threshold of 3 of 4"
CONSPIRACIES = (
    Conspiracy("25", "two lists of one attempt", two_lists, Reason.LIST_CHANGED, (THRESHOLD,), A_THRESHOLD),
    Conspiracy("27", "two openings of one attempt", two_openings, Reason.ALREADY_RELEASED, (THRESHOLD,), A_THRESHOLD),
    Conspiracy("28", "two attempts of one round", two_attempts, Reason.ALREADY_RELEASED, (THRESHOLD,), A_THRESHOLD),
    Conspiracy("29", "two runs of a model, clients forgot", two_cohorts, Reason.MODEL_USED, (THRESHOLD,), A_THRESHOLD),
)
"""Each with one conspiring holder of three or four."""
