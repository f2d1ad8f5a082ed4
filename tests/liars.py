"""A client that lies in its proof of ranges: the honest attempt at a proof, with one step replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from gmpy2 import mpz

from core.bounds.parameters import Parameters, parameters_for
from core.bounds.proof import Witness
from core.bounds.transcript import Statement
from core.bounds.verification import verify
from core.errors import Reason, Refused
from core.secagg.encoding import LARGEST_CHANGE, Encoding
from core.secagg.noise import ShortExponentNoise
from core.secagg.scheme import PublicKey, join_payload
from experiments.cheating_client import forger
from registrar.key_generation import generate_private_key

BITS = 256
OFFSET = 1 << 15
VALUES = 60


@cache
def key() -> PublicKey:
    return PublicKey("paillier", BITS, int(generate_private_key(BITS).public_key.n))


def encoding(values: int = VALUES) -> Encoding:
    return Encoding(values, BITS - 32, max_cohort=8)


@dataclass(frozen=True)
class Sent:
    """Numbers in plaintexts, and their encryption with known noise."""

    parameters: Parameters
    statement: Statement
    witness: Witness


def honest_slots(parameters: Parameters, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    changes = np.clip(np.rint(rng.normal(0, 3000, parameters.values)), -31_726, 31_726).astype(np.int64)
    metrics = np.array([3000, 20, 5, 3, 72])[: parameters.leading]
    return np.concatenate([metrics, changes + OFFSET])


def packed(parameters: Parameters, slots: Sequence[int]) -> list[int]:
    """Any whole numbers in slots, also such as do not fit."""
    return forger.packed(parameters.slot_bits, parameters.per_row, slots)


def sent(parameters: Parameters, slots: Any, plaintexts: Sequence[int] | None = None, context: bytes = b"c") -> Sent:
    """Encrypt slots, or other plaintexts of any size."""
    n, noise = mpz(key().modulus), ShortExponentNoise(key(), 8)
    plaintexts = packed(parameters, slots) if plaintexts is None else plaintexts
    pieces = noise.draw_known(len(plaintexts))
    ciphertexts = [(1 + m % n * n) * power % n**2 for m, (power, _) in zip(plaintexts, pieces, strict=True)]
    known = [secret for _, secret in pieces]
    digest = hashlib.sha256(join_payload(ciphertexts, 2 * BITS // 8)).digest()
    witness = Witness(slots, lambda x: noise.power_of_roots(known, x))
    return Sent(parameters, Statement(n, context, digest, ciphertexts), witness)


class Liar(forger.Liar):
    """A forger of proofs about what was sent."""

    def __init__(self, said: Sent, **lies: Any) -> None:
        super().__init__(said.parameters, said.statement, said.witness, **lies)


def check(said: Sent, proof: bytes, context: bytes | None = None) -> None:
    statement = said.statement
    if context is not None:
        statement = Statement(statement.modulus, context, statement.digest, statement.ciphertexts)
    verify(said.parameters, statement, proof)


def parameters(**changes: Any) -> Parameters:
    return replace(parameters_for(encoding()), **changes)


P = parameters()
NORM = 10**9
FIRST = 5
"""The first slot with a weight: five metrics stand before."""
COUNTED = parameters_for(Encoding(VALUES, BITS - 32, max_cohort=8, count_cap=9))


def refused_by(said: Sent, proof: bytes, context: bytes | None = None) -> str:
    """The name of the check that refuses a proof; empty if none does."""
    try:
        check(said, proof, context)
    except Refused as refusal:
        assert refusal.reason is Reason.WRONG_PROOF  # noqa: PT017  most calls expect a refusal, some none
        return str(refusal).partition("(")[2].partition(")")[0] or "length"
    return ""


def with_slot(place: int, value: int, parameters: Parameters = P) -> Any:
    slots = honest_slots(parameters)
    slots[place] = value
    return slots


def counted_slots(count: int = 7, examples: int = 20) -> Any:
    """What a client with `count` sends: changes of up to the clip, each multiplied by the count."""
    changes = honest_slots(P)[FIRST:] - OFFSET
    changes[:2] = LARGEST_CHANGE, -LARGEST_CHANGE
    return np.array([50, 3, 4, 5, examples - 12, count, *(9 * OFFSET + changes * count)])
