"""Clients whose updates are false: malformed, or with a proof that is not theirs. Key holders with wrong answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from client.participant import Participant
from core.bounds.proof import Witness, prove
from core.errors import Reason
from core.protected_update import ProtectedUpdate, UpdateMaker, statement_of
from core.protocol import RoundDescription, digest
from core.secagg.encoding import IntArray
from core.secagg.noise import NoiseKind
from core.secagg.paillier import Encrypted, PaillierEncryptor, ciphertext_bytes
from core.wire import federation_pb2 as pb
from core.wire.calls import Upload

Lie = Callable[["LyingMaker", IntArray], ProtectedUpdate]
"""Returns a false update, given the slots of the honest one."""


def _malformed(maker: LyingMaker, slots: IntArray) -> ProtectedUpdate:
    """Send a first ciphertext that is too large; no two are equal, for copies are refused already when committed to."""
    made = maker.honest(slots)
    too_large = os.urandom(16).rjust(maker.size_of_ciphertext, b"\xff")
    return replace(made, ciphertexts=too_large + made.ciphertexts[len(too_large) :])


def _changed(slots: IntArray) -> IntArray:
    """Return other numbers, so that a sum with this update in it would be wrong."""
    changed = slots.copy()
    changed[-1] += 7
    return changed


def _proof_of_another(maker: LyingMaker, slots: IntArray) -> ProtectedUpdate:
    return replace(maker.honest(_changed(slots)), proof=maker.honest(slots).proof)


def _rubbish(maker: LyingMaker, slots: IntArray) -> ProtectedUpdate:
    made = maker.honest(_changed(slots))
    return replace(made, proof=os.urandom(len(made.proof)))


def _other_numbers(maker: LyingMaker, slots: IntArray) -> ProtectedUpdate:
    """Prove the honest slots in all but the last step, which ties them to the ciphertexts: these hold others."""
    return maker.proven(slots, maker.encrypted(_changed(slots)))


NAMED = (Reason.WRONG_PROOF, Reason.BAD_CIPHERTEXT)
"""Why a client that lies is refused, and left out from then on."""
LIES: dict[str, Lie] = {
    "malformed": _malformed,
    "another proof": _proof_of_another,
    "rubbish": _rubbish,
    "other numbers": _other_numbers,
}


def wrong_answer(call: Upload) -> Upload:
    """Return a key holder's Release with another first number, and its proof as it is."""
    payload = bytearray(call.payload)
    payload[8] ^= 1
    header = pb.ReleaseRequest.FromString(call.header.SerializeToString())
    header.header.sha256 = digest(bytes(payload))
    return replace(call, header=header, payload=bytes(payload))


class LyingMaker(UpdateMaker):
    """Makes honest updates, and then spoils them.

    Args:
        told: where each false payload is noted, by its SHA-256.
    """

    def __init__(self, lie: Lie, told: dict[bytes, bytes], *about: Any) -> None:
        super().__init__(*about)
        self._lie, self._told = lie, told

    def make(self, slots: IntArray) -> ProtectedUpdate:
        """Lie about these slots."""
        made = self._lie(self, slots)
        self._told[digest(made.payload)] = made.payload
        return made

    def honest(self, slots: IntArray) -> ProtectedUpdate:
        """Return an honest client's update."""
        return super().make(slots)

    @property
    def size_of_ciphertext(self) -> int:
        """In bytes."""
        return ciphertext_bytes(self._description.key)

    def encrypted(self, slots: IntArray) -> Encrypted:
        """Return ciphertexts of these slots, with what a proof about them takes."""
        assert isinstance(self._encryptor, PaillierEncryptor)
        return self._encryptor.encrypt_known(self._description.encoding.pack(slots))

    def proven(self, slots: IntArray, encrypted: Encrypted) -> ProtectedUpdate:
        """Return an update whose proof speaks of these slots, whatever is in the ciphertexts."""
        assert self._description.proven is not None
        about = statement_of(self._description, *self._about, encrypted.payload)
        proof = prove(self._description.proven, about, Witness(slots, encrypted.power_of_roots))
        return ProtectedUpdate(encrypted.payload, proof)


class FickleClient(Participant):
    """A client that lies when the scenario says so.

    Args:
        lies: the name of the lie, by the client's name.
        told: where each false payload is noted, by its SHA-256.
    """

    def __init__(self, lies: Mapping[str, str], told: dict[bytes, bytes], *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._lies, self._told = lies, told

    def update_maker(self, description: RoundDescription, description_digest: bytes) -> UpdateMaker:
        """Return what makes this round's update."""
        if self.name not in self._lies or description.proven is None:
            return super().update_maker(description, description_digest)
        lie = LIES[self._lies[self.name]]
        return LyingMaker(lie, self._told, description, description_digest, self.name, NoiseKind.SHORT)
