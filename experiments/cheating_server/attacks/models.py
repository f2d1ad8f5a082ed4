"""Models of the attacker's choosing: one that silences every client but the victim.

A weight of 10^17 plus a step of 0.05 is 10^17 again: numbers of 53 bits have no room for it. So a client that trains on
such weights sends a change of nothing, and the cohort's sum is the victim's update.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.errors import Reason
from core.federated import next_model
from core.identity.signing import MODEL, SIGNATURE_BYTES
from core.protocol import HolderSignature, digest
from core.secagg.opening import OpenedSum, combine
from core.wire.holder_messages import model_statement, sign_statement
from core.wire.streams import model_bytes
from experiments.arrays import FloatArray
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.ciphertexts import deltas
from experiments.cheating_server.conspirators import MADE_UP
from experiments.cheating_server.crafted import ClosedList, Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import HONEST, OTHERS, VICTIM

SILENT = 1e17


def different_models(attacker: Attacker) -> Loot:
    """Describe the right model to all, give it to the victim, and give the others one that silences them."""
    start, silent = attacker.stage.start, _silencing(attacker)
    attacker.rogue.served.models[0] = lambda caller: start if caller == VICTIM else silent
    crafted = attacker.describe(attacker.ask_key())
    return _read_only_voice(attacker, crafted, start)


def not_pinned(attacker: Attacker) -> Loot:
    """Start round 1 from the silencing model; still give the victim the right one."""
    _serve_silencing(attacker, 0, attacker.stage.start)
    crafted = attacker.describe(attacker.ask_key(), model=_silencing(attacker))
    return _read_only_voice(attacker, crafted, attacker.stage.start)


def not_endorsed(attacker: Attacker) -> Loot:
    """Run round 1 honestly, then start round 2 from the silencing model, which no holder signed."""
    _, _, _, after = honest_round(attacker)
    return _second_round(attacker, after, ())


def forged_endorsement(attacker: Attacker) -> Loot:
    """Do the same with signatures: the aggregator's own in the holders' names, and random ones."""
    _, _, _, after = honest_round(attacker)
    body = _statement(attacker, _silencing(attacker))
    own = sign_statement(attacker.identity.signing, "server", MODEL, body, MADE_UP)
    forged = [replace(own, holder=name) for name in attacker.stage.holders]
    random = HolderSignature(attacker.stage.holders[0], secrets.token_bytes(SIGNATURE_BYTES), MADE_UP)
    return _second_round(attacker, after, (*forged, random))


def repeated_endorsement(attacker: Attacker) -> Loot:
    """Do the same with a conspiring holder's genuine signature, repeated until there are enough."""
    _, _, _, after = honest_round(attacker)
    (*_, true) = attacker.conspirators.sign_model(_statement(attacker, _silencing(attacker)))
    names = (true.holder, *attacker.holders)
    return _second_round(attacker, after, tuple(replace(true, holder=name) for name in names))


def model_of_choice(attacker: Attacker) -> Loot:
    """Have holders endorse the silencing model as what follows from the opened sum."""
    closed, opened, _, after = honest_round(attacker)
    return _endorsed_instead(attacker, closed, opened, after)


def second_model(attacker: Attacker) -> Loot:
    """Have holders endorse the true model, and then the silencing one as well."""
    closed, opened, _, after = honest_round(attacker)
    attacker.rogue.served.opened = opened
    attacker.endorse(closed, HONEST, after)
    return _endorsed_instead(attacker, closed, opened, after)


def honest_round(
    attacker: Attacker, contributors: Sequence[str] = HONEST
) -> tuple[ClosedList, bytes, list[int], FloatArray]:  # fmt: skip
    """Run round 1 by the rules; return its list, the opened sum as bytes and plaintexts, and the model after it."""
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, contributors)
    found = opened_sum(attacker, closed, contributors)
    cohort = crafted.encoding.decode(found.plaintexts, len(contributors))
    return closed, found.to_bytes(crafted.key), list(found.plaintexts), next_model(attacker.stage.start, cohort)


def opened_sum(attacker: Attacker, closed: ClosedList, contributors: Sequence[str]) -> OpenedSum:
    """Have the sum of a list opened by the rules."""
    crafted, profile = closed.round, attacker.stage.profile
    total = attacker.total(crafted, contributors)
    partials = attacker.open_sum(closed, contributors) | attacker.conspirators.partials(
        crafted.description.certificate, total
    )
    return combine(crafted.key, profile.threshold, profile.holders, total, partials)


def _endorsed_instead(attacker: Attacker, closed: ClosedList, opened: bytes, after: FloatArray) -> Loot:
    attacker.rogue.served.opened = opened
    attacker.endorse(closed, HONEST, _silencing(attacker))
    return _second_round(attacker, after, attacker.rogue.served.endorsements[1])


def _second_round(attacker: Attacker, after: FloatArray, endorsements: tuple[HolderSignature, ...]) -> Loot:
    attacker.rogue.served.endorsements[1] = endorsements
    _serve_silencing(attacker, 1, after)
    crafted = attacker.describe(attacker.ask_key(), number=2, model=_silencing(attacker))
    return _read_only_voice(attacker, crafted, after)


def _serve_silencing(attacker: Attacker, number: int, victims: FloatArray) -> None:
    silent = _silencing(attacker)
    attacker.rogue.served.models[number] = lambda caller: victims if caller == VICTIM else silent


def _read_only_voice(attacker: Attacker, crafted: Round, victims: FloatArray) -> Loot:
    found = attacker.open_round(crafted, OTHERS) | attacker.open_round(crafted, [VICTIM])
    closed = attacker.close_list(crafted, found.values())
    attacker.demand_updates(closed)
    plaintexts = attacker.read_sum(closed, HONEST)
    truth = attacker.stage.truth(VICTIM, crafted.description.id.round, victims)
    return Loot.of(deltas(crafted.encoding, plaintexts, len(HONEST)), truth)


def _silencing(attacker: Attacker) -> FloatArray:
    return np.full(len(attacker.stage.start), SILENT)


def _statement(attacker: Attacker, model: FloatArray) -> bytes:
    return model_statement(attacker.identity.federation, attacker.rogue.run, 1, digest(model_bytes(model)))


THEN_DIGEST = (Reason.WRONG_DIGEST,)
ATTACKS = (
    Attack("8", "a different model for each client", different_models, Party.CLIENT, Reason.WRONG_DIGEST),
    Attack(
        "9a", "a crafted model in round 1", not_pinned, Party.CLIENT, Reason.MODEL_LINEAGE, also=THEN_DIGEST
    ),
    Attack(
        "9b", "a crafted model, not endorsed", not_endorsed, Party.CLIENT, Reason.MODEL_LINEAGE, also=THEN_DIGEST
    ),
    Attack(
        "9c", "a crafted model, endorsement forged", forged_endorsement, Party.CLIENT, Reason.MODEL_LINEAGE,
        also=THEN_DIGEST,
    ),
    Attack(
        "9d", "a crafted model, one endorsement twice", repeated_endorsement, Party.CLIENT, Reason.MODEL_LINEAGE,
        also=THEN_DIGEST, conspirators="1 holder", holders=1,
    ),
    Attack(
        "18", "a model that does not follow from the sum", model_of_choice, Party.HOLDER, Reason.WRONG_MODEL,
        also=THEN_DIGEST,
    ),
    Attack("19", "two models of one round", second_model, Party.HOLDER, Reason.WRONG_MODEL, also=THEN_DIGEST),
)  # fmt: skip
