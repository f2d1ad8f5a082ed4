"""Attacks of an aggregator that has a key holder on its side, fewer than can open anything.

What one holder swears it has not seen, another may be shown: two lists of one attempt, two openings of one round, two
cohorts that differ by one client. The quorum, of how many holders must sign each list, decides what is noticed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from core.errors import Refused
from core.wire import federation_pb2 as pb
from experiments.cheating_server.attacks.copies import cancelling
from experiments.cheating_server.ciphertexts import deltas
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker, Round
from experiments.cheating_server.rogue import PartyRefusedError
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, OTHERS, VICTIM

FIRST = CONSPIRATORS[0]
WITH, WITHOUT = (*HONEST, FIRST), (*OTHERS, FIRST)


def two_lists(attacker: Attacker) -> Loot:
    """Show one list to some holders and the clients, and a later one, with what came of it, to other holders."""
    made = attacker.describe(attacker.ask_key())
    found = attacker.open_round(made)
    attacker.demand_updates(attacker.close_list(made, found.values(), signers(attacker)))
    late = attacker.commit_as(FIRST, made, cancelling(attacker, made))
    closed = attacker.close_list(made, [*found.values(), late], other_signers(attacker))
    plaintexts = attacker.read_sum(closed, WITH, other_lenders(attacker))
    return Loot.of(deltas(made.encoding, plaintexts, len(WITH)), attacker.stage.truth(VICTIM))


def two_releases(attacker: Attacker) -> Loot:
    """Have a round opened by some holders, and its second attempt, without the victim, by others."""
    made = attacker.describe(attacker.ask_key())
    whole = attacker.read_sum(attacker.full_list(made, WITH, signers(attacker)), WITH, lenders(attacker))
    again = attacker.describe(attacker.ask_key(besides=made), attempt=2)
    return _less(attacker, (made, whole), again)


def two_cohorts(attacker: Attacker) -> Loot:
    """Have two runs of one seed opened by unlike holders, the second without the victim."""
    made = attacker.describe(attacker.ask_key())
    whole = attacker.read_sum(attacker.full_list(made, WITH, signers(attacker)), WITH, lenders(attacker))
    attacker.rogue.run = secrets.token_hex(8)
    for client in HONEST:
        attacker.rogue.push(client, pb.Notice(welcome=pb.Welcome(run=attacker.rogue.run, rounds=1)))
    return _less(attacker, (made, whole), attacker.describe(attacker.ask_key(besides=made)))


def one_share(attacker: Attacker) -> Loot:
    """Open the victim's ciphertexts alone, with the shares of the conspiring holders and made-up ones beside."""
    made = attacker.describe(attacker.ask_key())
    attacker.full_list(made, HONEST, signers(attacker))
    victims, threshold = attacker.updates[VICTIM], attacker.stage.profile.threshold
    answers = attacker.own_partials(made, victims)
    for holder in attacker.holders[: threshold - len(answers)]:
        answers[attacker.stage.identities[holder].number] = next(iter(answers.values()))
    try:
        plaintexts = attacker.opened(made, victims, answers)
    except Refused as refusal:
        raise PartyRefusedError("arithmetic", refusal.reason.value, str(refusal)) from None
    return Loot.of(deltas(made.encoding, plaintexts, 1), attacker.stage.truth(VICTIM))


def signers(attacker: Attacker) -> Sequence[str]:
    """So many honest holders, the first ones, as a list needs beside the conspirators."""
    return attacker.holders[: _needed(attacker, attacker.stage.profile.quorum)]


def other_signers(attacker: Attacker) -> Sequence[str]:
    """As many again, the last ones."""
    return attacker.holders[len(attacker.holders) - _needed(attacker, attacker.stage.profile.quorum) :]


def lenders(attacker: Attacker) -> Sequence[str]:
    """So many honest holders, the first ones, as an opening needs beside the conspirators."""
    return attacker.holders[: _needed(attacker, attacker.stage.profile.threshold)]


def other_lenders(attacker: Attacker) -> Sequence[str]:
    """As many again, the last ones."""
    return attacker.holders[len(attacker.holders) - _needed(attacker, attacker.stage.profile.threshold) :]


def _needed(attacker: Attacker, count: int) -> int:
    return count - (len(attacker.stage.holders) - len(attacker.holders))


def _less(attacker: Attacker, whole: tuple[Round, Sequence[int]], again: Round) -> Loot:
    closed = attacker.full_list(again, WITHOUT, other_signers(attacker))
    less = attacker.read_sum(closed, WITHOUT, other_lenders(attacker))
    first = deltas(whole[0].encoding, whole[1], len(WITH))
    return Loot.of(first - deltas(again.encoding, less, len(WITHOUT)), attacker.stage.truth(VICTIM))


