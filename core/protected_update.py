"""What a client uploads: ciphertexts and, if the round asks for one, a proof that their numbers lie in their ranges.

The client makes it, the aggregator and every key holder check it, with the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from core.bounds.parameters import Parameters
from core.bounds.proof import Witness, prove
from core.bounds.transcript import Statement, longest, part_sizes, usual
from core.bounds.verification import Later, verify
from core.errors import Reason, Refused
from core.hashing import hash_parts
from core.protocol import Commitment, RoundDescription, digest
from core.secagg.encoding import Encoding, IntArray
from core.secagg.factory import encryptor_for, payload_bytes
from core.secagg.noise import NoiseKind
from core.secagg.paillier import Encrypted, PaillierEncryptor, ciphertext_bytes, split_ciphertexts
from core.secagg.scheme import Checker, Encryptor, PublicKey

CONTEXT = b"grokfed bounds v1"


@dataclass(frozen=True)
class ProtectedUpdate:
    """One upload, cut in two. The repr shows nothing of either."""

    ciphertexts: bytes
    proof: bytes

    def __repr__(self) -> str:
        return f"ProtectedUpdate({len(self.ciphertexts)} bytes, {len(self.proof)} of proof)"

    @property
    def payload(self) -> bytes:
        """What is sent."""
        return self.ciphertexts + self.proof


def lengths(description: RoundDescription) -> tuple[int, int]:
    """Return the least and the largest number of bytes that an upload of a round can have."""
    key = description.key
    ciphertexts, parameters = payload_bytes(key, description.encoding.plaintexts), description.proven
    if parameters is None:
        return ciphertexts, ciphertexts
    about = parameters, key.bits // 8, key.degree
    return ciphertexts + sum(part_sizes(*about)), ciphertexts + longest(*about)


def usual_bytes(key: PublicKey, encoding: Encoding, proven: Parameters | None) -> int:
    """Return the mean number of bytes of an upload, of which the proof's vary by a few hundred."""
    proof = 0 if proven is None else usual(proven, key.bits // 8, key.degree)
    return payload_bytes(key, encoding.plaintexts) + proof


def split_update(description: RoundDescription, payload: bytes) -> ProtectedUpdate:
    """Cut an upload in two. Raises Refused(WRONG_LENGTH)."""
    least, most = lengths(description)
    if not least <= len(payload) <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        raise Refused(Reason.WRONG_LENGTH, f"the update has {len(payload)} bytes; expected {expected}")
    ciphertexts = payload_bytes(description.key, description.encoding.plaintexts)
    return ProtectedUpdate(payload[:ciphertexts], payload[ciphertexts:])


def check_update(
    checker: Checker,
    description: RoundDescription,
    commitment: Commitment,
    update: ProtectedUpdate,
    later: Later | None = None,
) -> None:
    """Refuse an upload that cannot stand in a sum, or whose numbers are not proven to lie in their ranges.

    Args:
        later: as of verify().

    Raises Refused(WRONG_LENGTH, BAD_CIPHERTEXT, WRONG_DIGEST or WRONG_PROOF).
    """
    checker.check(update.ciphertexts)
    if digest(update.ciphertexts) != commitment.ciphertexts_digest:
        message = f"the ciphertexts of {commitment.client!r} are not those it committed to"
        raise Refused(Reason.WRONG_DIGEST, message)
    if (parameters := description.proven) is not None:
        about = statement_of(description, commitment.description_digest, commitment.client, update.ciphertexts)
        verify(parameters, about, update.proof, later)


class UpdateMaker:
    """Encrypts one client's numbers for a round, and proves what the round asks for. Prepares the encryption at once.

    Args:
        description_digest, client: what the proof is bound to, so that it serves no other attempt and no other client.
    """

    def __init__(self, description: RoundDescription, description_digest: bytes, client: str, noise: NoiseKind) -> None:
        self._description, self._about = description, (description_digest, client)
        self._encryptor: Encryptor = encryptor_for(description.key, description.encoding.plaintexts, noise)

    def close(self) -> None:
        """Stop preparing."""
        self._encryptor.close()

    def make(self, slots: IntArray) -> ProtectedUpdate:
        """Return the upload for the numbers of all slots, shape (leading_slots + values,).

        The proof is made and checked before anything is committed to or sent, in one go, and nothing it was made with
        is kept: a client that is killed in between begins again with other ciphertexts and other masks.

        Raises ValueError for numbers out of their ranges.
        """
        parameters, plaintexts = self._description.proven, self._description.encoding.pack(slots)
        if parameters is None or not isinstance(self._encryptor, PaillierEncryptor):
            return ProtectedUpdate(self._encryptor.encrypt(plaintexts), b"")
        return self._proven(parameters, slots, self._encryptor.encrypt_known(plaintexts))

    def _proven(self, parameters: Parameters, slots: IntArray, encrypted: Encrypted) -> ProtectedUpdate:
        about = statement_of(self._description, *self._about, encrypted.payload)
        proof = prove(parameters, about, Witness(slots, encrypted.power_of_roots))
        verify(parameters, about, proof)
        return ProtectedUpdate(encrypted.payload, proof)


def statement_of(
    description: RoundDescription, description_digest: bytes, client: str, ciphertexts: bytes
) -> Statement:
    """Return what a proof is about: these ciphertexts of this client in this round, and nothing else."""
    context = hash_parts(CONTEXT, description_digest, client.encode())
    return statement_about(description.key, description.encoding, context, ciphertexts)


def statement_about(key: PublicKey, encoding: Encoding, context: bytes, ciphertexts: bytes) -> Statement:
    """Return what a proof is about, for a context that says whose the ciphertexts are and what they are for."""
    numbers: Sequence[mpz] = split_ciphertexts(ciphertexts, encoding.plaintexts, ciphertext_bytes(key))
    return Statement(mpz(key.modulus), context, digest(ciphertexts), numbers, key.degree)
