"""The lies: what is in the ciphertexts, what is proven of them, and what is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from gmpy2 import mpz, powmod

from core.bounds.field import add
from core.bounds.parameters import Parameters
from core.protected_update import ProtectedUpdate
from core.protocol import digest
from core.secagg.encoding import LARGEST_CHANGE, IntArray
from core.secagg.paillier import ciphertext_bytes, split_ciphertexts
from core.secagg.scheme import join_payload
from core.wire import federation_pb2 as pb
from core.wire.calls import Upload
from experiments.cheating_client.forge import Disguised, Forge, Lie

BOOST = 90_000
"""Steps by which a liar changes a weight: nearly three times what is allowed."""
TARGET = 4
"""The weight, which no honest client changes."""
ACCOMPLICE = "client-1"
"""Who helps a liar where it needs another client's update."""


def boosted(forge: Forge, slots: IntArray, steps: int = BOOST) -> IntArray:
    """Return the slots with this change of the target weight."""
    slots = slots.copy()
    encoding = forge.description.encoding
    slots[encoding.leading_slots + TARGET] = encoding.offset + steps
    return slots


# ------------------------------------------------------------------------------------------------ ciphertexts


def first_ciphertext(number: Callable[[int], int]) -> Lie:
    """Send, in place of the first ciphertext, this number, given n."""

    def lie(forge: Forge, slots: IntArray) -> ProtectedUpdate:
        honest, key = forge.honest(slots), forge.description.key
        size = ciphertext_bytes(key)
        return replace(honest, ciphertexts=number(key.modulus).to_bytes(size, "big") + honest.ciphertexts[size:])

    return lie


def in_plaintexts(amount: Callable[[Parameters, int], int], plaintext: int = 0) -> Lie:
    """Add to one plaintext what no slot may hold, and prove the honest slots."""

    def lie(forge: Forge, slots: IntArray) -> ProtectedUpdate:
        def change(plaintexts: list[int]) -> None:
            assert forge.parameters is not None
            plaintexts[plaintext] += amount(forge.parameters, forge.description.encoding.slot_bits)

        return forge.prove(forge.encrypt(slots, change), slots)

    return lie


def only_in_ciphertexts(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Encrypt a large change, and prove the honest one."""
    return forge.prove(forge.encrypt(boosted(forge, slots)), slots)


# ------------------------------------------------------------------------------------------------ ranges


def in_both(change: Callable[[Forge, IntArray], IntArray], **lies: Any) -> Lie:
    """Encrypt other slots, and try to prove those."""

    def lie(forge: Forge, slots: IntArray) -> ProtectedUpdate:
        changed = change(forge, slots)
        return forge.prove(forge.encrypt(changed), changed, **lies)

    return lie


def metrics(*values: int) -> Callable[[Forge, IntArray], IntArray]:
    """Report these: the loss, and the four counts of answers."""

    def change(_forge: Forge, slots: IntArray) -> IntArray:
        slots = slots.copy()
        slots[: len(values)] = values
        return slots

    return change


def counted(count: int, examples: int, factor: int) -> Callable[[Forge, IntArray], IntArray]:
    """Say this count and these examples, and change the target by `factor` times the clip."""

    def change(forge: Forge, slots: IntArray) -> IntArray:
        slots = slots.copy()
        encoding = forge.description.encoding
        leading = encoding.leading_slots
        slots[leading:] = encoding.offset
        slots = boosted(forge, slots, factor * LARGEST_CHANGE)
        slots[1:leading] = 0
        slots[1], slots[leading - 1] = examples, count
        return slots

    return change


def not_bits(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Put numbers into the places of bits, so that they add up to a projection that is too long."""

    def lie(projections: Any, _bits: Any) -> Any:
        assert forge.parameters is not None
        out = np.zeros((len(projections), forge.parameters.width + 1), np.int64)
        out[:, 0] = projections + (1 << forge.parameters.width)
        return out.reshape(-1)

    return in_both(lambda forge, slots: boosted(forge, slots, 60_000), bits=lie)(forge, slots)


def altered_columns(columns: Any) -> Any:
    """Change a row in four of ten columns, which then are those of no polynomial."""
    hit = np.random.default_rng(1).random(len(columns)) < 0.4
    columns = columns.copy()
    columns[hit, 1] = add(columns[hit, 1], np.ones(hit.sum(), np.int64))
    return columns


# ------------------------------------------------------------------------------------------------ proofs


def with_proof(proof: Callable[[Forge, IntArray, ProtectedUpdate], bytes]) -> Lie:
    """Send a large change with a proof from elsewhere."""

    def lie(forge: Forge, slots: IntArray) -> ProtectedUpdate:
        false = forge.encrypt(boosted(forge, slots)).payload
        if forge.parameters is None:
            return ProtectedUpdate(false, b"")
        return ProtectedUpdate(false, proof(forge, slots, forge.honest(slots)))

    return lie


def earlier_proof(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Be honest in the first round, and replay its proof in the second."""
    if not forge.earlier:
        return forge.honest(slots)
    return ProtectedUpdate(forge.encrypt(boosted(forge, slots)).payload, forge.earlier[0].proof)


def in_anothers_name(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Prove the liar's own update in another client's name."""
    changed = boosted(forge, slots, LARGEST_CHANGE)
    return forge.prove(forge.encrypt(changed), changed, ACCOMPLICE)


# ------------------------------------------------------------------------------------------------ another's update


def blinded_anew(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Send another client's update under fresh noise, with an attempt at a proof; nobody sees that it is one."""
    key, mine = forge.description.key, forge.encrypt(slots)
    n, size = mpz(key.modulus), ciphertext_bytes(key)
    theirs = split_ciphertexts(forge.others.ciphertexts, forge.description.encoding.plaintexts, size)
    noise = [powmod(mpz(int.from_bytes(os.urandom(size), "big")), n, n**2) for _ in theirs]
    payload = join_payload([c * r % n**2 for c, r in zip(theirs, noise, strict=True)], size)
    return forge.prove(replace(mine, payload=payload), slots)


def copied(forge: Forge, _slots: IntArray) -> ProtectedUpdate:
    """Send another client's update, byte by byte."""
    return forge.others


def copied_with_other_proof(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Send another client's ciphertexts, with some other proof."""
    return ProtectedUpdate(forge.others.ciphertexts, forge.honest(slots).proof)


def disguised(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Sign the digest of other ciphertexts than are sent, so that a copy is not noticed."""
    honest = forge.honest(slots)
    return Disguised(honest.ciphertexts, honest.proof, sent=forge.others.ciphertexts)


# ------------------------------------------------------------------------------------------------ on the way


def honest(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """Make an honest update."""
    return forge.honest(slots)


def sent_as(change: Callable[[bytes], bytes]) -> Callable[[Upload], Upload]:
    """Upload other bytes than were committed to, with a header that fits them."""

    def altered(call: Upload) -> Upload:
        assert isinstance(call.header, pb.SubmitRequest)
        payload, header = change(call.payload), pb.SubmitRequest()
        header.CopyFrom(call.header)
        header.header.length, header.header.sha256 = len(payload), digest(payload)
        return replace(call, header=header, payload=payload)

    return altered


def flipped(payload: bytes) -> bytes:
    """Change one bit."""
    return payload[:5] + bytes([payload[5] ^ 1]) + payload[6:]


def half(proof: bytes) -> bytes:
    """Keep the first half of a proof."""
    return proof[: len(proof) // 2].ljust(len(proof), b"\0")
