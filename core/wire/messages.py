"""Convert between wire messages and the plain data of core.protocol. What does not fit is Refused(MALFORMED)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from core.errors import Reason, Refused, SettingsError
from core.identity.signing import SIGNATURE_BYTES
from core.limits import MOST_HOLDERS
from core.privacy.mechanism import Privacy
from core.protocol import (
    AttemptId,
    ClosedList,
    Commitment,
    HolderSignature,
    KeyCertificate,
    RoundDescription,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
    check_client_name,
    digest,
)
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb

DIGEST_BYTES = 32
LARGEST_KEY_BITS = 8192
LONGEST_SECONDS = 1e7
SUBMISSION_BYTES = 16

M = TypeVar("M", bound=Message)


def _malformed(sentence: str) -> Refused:
    return Refused(Reason.MALFORMED, sentence)


def checked_digest(raw: bytes, what: str) -> bytes:
    """Return the digest, if it has the length of one."""
    if len(raw) != DIGEST_BYTES:
        raise _malformed(f"{what} has {len(raw)} bytes; a SHA-256 digest has {DIGEST_BYTES}")
    return raw


def checked_seconds(value: float, what: str) -> float:
    """Return the duration, if it is one."""
    if not 0 <= value <= LONGEST_SECONDS:
        raise _malformed(f"{what} is {value}; expected seconds, 0 to {LONGEST_SECONDS:g}")
    return value


def _parsed(message: M, raw: bytes, what: str) -> M:
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise _malformed(f"{what} is not one") from error
    return message


def _canonical(raw: bytes, again: bytes, what: str) -> None:
    """Refuse bytes that are not the one encoding of what was read from them, such as those with unknown fields."""
    if raw != again:
        raise _malformed(f"{what} is not written as it should be, in {len(again)} bytes")


def _hexadecimal(text: str, what: str) -> str:
    if len(text) != 16 or any(c not in "0123456789abcdef" for c in text):
        raise _malformed(f"{what} is {text[:80]!r}; expected 16 hexadecimal digits")
    return text


def attempt_id(run: str, round_number: int, attempt: int) -> AttemptId:
    """Check and join the three parts that name an attempt."""
    _hexadecimal(run, "the run")
    if round_number < 1 or attempt < 1:
        raise _malformed(f"round {round_number}, attempt {attempt}; both count from 1")
    return AttemptId(run, round_number, attempt)


def key_to_wire(key: PublicKey) -> pb.PublicKey:
    """Return the message for a public key."""
    size = key.bits // 8 if key.modulus else 0
    return pb.PublicKey(scheme=key.scheme, bits=key.bits, modulus=key.modulus.to_bytes(size, "big"))


def key_from_wire(message: pb.PublicKey) -> PublicKey:
    """Check form only; whether the modulus can be an honest one is for core.secagg to say."""
    if message.bits > LARGEST_KEY_BITS or message.bits % 16:
        raise _malformed(f"the key has {message.bits} bits; expected a multiple of 16 up to {LARGEST_KEY_BITS}")
    expected = 0 if message.scheme == "plain" else message.bits // 8
    if len(message.modulus) != expected:
        raise _malformed(f"the key's modulus has {len(message.modulus)} bytes; expected {expected}")
    return PublicKey(message.scheme, message.bits, int.from_bytes(message.modulus, "big"))


def encoding_to_wire(encoding: Encoding) -> pb.Encoding:
    """Return the message for an encoding."""
    return pb.Encoding(**dataclasses.asdict(encoding))


def encoding_from_wire(message: pb.Encoding) -> Encoding:
    """Return the encoding that a message describes. Raises Refused(MALFORMED)."""
    try:
        return Encoding(
            values=message.values,
            plaintext_bits=message.plaintext_bits,
            max_cohort=message.max_cohort,
            value_bits=message.value_bits,
            fraction_bits=message.fraction_bits,
            count_cap=message.count_cap,
        )
    except SettingsError as error:
        raise _malformed(f"the encoding cannot work: {error}") from error


def privacy_to_wire(privacy: Privacy) -> pb.Privacy:
    """Return the message for the privacy settings."""
    return pb.Privacy(**dataclasses.asdict(privacy))


def privacy_from_wire(message: pb.Privacy) -> Privacy:
    """Return the privacy settings that a message describes. Raises Refused(MALFORMED)."""
    try:
        return Privacy(
            clip_norm=message.clip_norm,
            noise_multiplier=message.noise_multiplier,
            delta=message.delta,
            max_colluders=message.max_colluders,
            epsilon_budget=message.epsilon_budget if message.HasField("epsilon_budget") else None,
        )
    except SettingsError as error:
        raise _malformed(f"the privacy settings cannot work: {error}") from error


def signed_from_wire(body: bytes, signature: bytes) -> Signed:
    """Return a body with its Ed25519 signature, which is not verified here. Raises Refused(MALFORMED)."""
    if len(signature) != SIGNATURE_BYTES:
        raise _malformed(f"a signature has {len(signature)} bytes; Ed25519 signatures have {SIGNATURE_BYTES}")
    return Signed(body, signature)


def certificate_to_bytes(certificate: KeyCertificate) -> bytes:
    """Serialise a key's certificate; the dealer's signature covers exactly these bytes."""
    return pb.KeyCertificate(
        federation=certificate.federation,
        serial=certificate.serial,
        key=key_to_wire(certificate.key),
        threshold=certificate.threshold,
        holders=certificate.holders,
        expires_day=certificate.expires_day,
    ).SerializeToString(deterministic=True)


def certificate_from_bytes(raw: bytes) -> KeyCertificate:
    """Return a key's certificate, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = _parsed(pb.KeyCertificate(), raw, "the key's certificate")
    if not 1 <= message.threshold <= message.holders <= MOST_HOLDERS or not message.serial:
        raise _malformed(
            f"a key with serial number {message.serial} for {message.threshold} of {message.holders} holders"
        )
    made = KeyCertificate(
        federation=_hexadecimal(message.federation, "the federation"),
        serial=message.serial,
        key=key_from_wire(message.key),
        threshold=message.threshold,
        holders=message.holders,
        expires_day=message.expires_day,
    )
    _canonical(raw, certificate_to_bytes(made), "the key's certificate")
    return made


def description_to_bytes(description: RoundDescription) -> bytes:
    """Serialise a description; digests and signatures cover exactly these bytes."""
    return pb.RoundDescription(
        federation=description.federation,
        run=description.id.run,
        task=description.task,
        seed=description.seed,
        round=description.id.round,
        attempt=description.id.attempt,
        model_digest=description.model_digest,
        key=signed_key_to_wire(description.signed_certificate),
        encoding=encoding_to_wire(description.encoding),
        min_cohort=description.min_cohort,
        deadline_seconds=description.deadline_seconds,
        privacy=None if description.privacy is None else privacy_to_wire(description.privacy),
    ).SerializeToString(deterministic=True)


def description_from_bytes(raw: bytes) -> RoundDescription:
    """Return a round's description, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = _parsed(pb.RoundDescription(), raw, "the round description")
    signed_key = signed_key_from_wire(message.key)
    if message.seed >= 1 << 63:
        raise _malformed(f"the seed is {message.seed}; expected 0 to 2^63 - 1")
    made = RoundDescription(
        federation=_hexadecimal(message.federation, "the federation"),
        id=attempt_id(message.run, message.round, message.attempt),
        task=message.task,
        seed=message.seed,
        model_digest=checked_digest(message.model_digest, "the model's digest"),
        certificate=certificate_from_bytes(signed_key.body),
        signed_certificate=signed_key,
        encoding=encoding_from_wire(message.encoding),
        min_cohort=message.min_cohort,
        deadline_seconds=checked_seconds(message.deadline_seconds, "the deadline"),
        privacy=privacy_from_wire(message.privacy) if message.HasField("privacy") else None,
    )
    _canonical(raw, description_to_bytes(made), "the round description")
    return made


def signed_key_to_wire(signed: Signed) -> pb.SignedKey:
    """Return the message for a signed certificate of a key."""
    return pb.SignedKey(certificate=signed.body, signature=signed.signature)


def signed_key_from_wire(message: pb.SignedKey) -> Signed:
    """Return the signed certificate, which is not verified here. Raises Refused(MALFORMED)."""
    return signed_from_wire(message.certificate, message.signature)


def round_to_wire(signed: Signed) -> pb.SignedDescription:
    """Return the message for a signed description."""
    return pb.SignedDescription(description=signed.body, signature=signed.signature)


def round_from_wire(message: pb.SignedDescription) -> Signed:
    """Return the signed description, which is not verified here. Raises Refused(MALFORMED)."""
    return signed_from_wire(message.description, message.signature)


def commitment_to_bytes(commitment: Commitment) -> bytes:
    """Serialise a commitment; digests and signatures cover exactly these bytes."""
    return pb.Commitment(
        run=commitment.id.run,
        round=commitment.id.round,
        attempt=commitment.id.attempt,
        client=commitment.client,
        submission=commitment.submission,
        description_digest=commitment.description_digest,
        sha256=commitment.digest,
    ).SerializeToString(deterministic=True)


def commitment_from_bytes(raw: bytes) -> Commitment:
    """Return a commitment, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = _parsed(pb.Commitment(), raw, "the commitment")
    check_client_name(message.client)
    if len(message.submission) != SUBMISSION_BYTES:
        raise _malformed(f"a submission's number has {len(message.submission)} bytes; expected {SUBMISSION_BYTES}")
    made = Commitment(
        id=attempt_id(message.run, message.round, message.attempt),
        client=message.client,
        submission=message.submission,
        description_digest=checked_digest(message.description_digest, "the description's digest"),
        digest=checked_digest(message.sha256, "the update's digest"),
    )
    _canonical(raw, commitment_to_bytes(made), "the commitment")
    return made


def signed_commitment_to_wire(signed: Signed) -> pb.SignedCommitment:
    """Return the message for a signed commitment."""
    return pb.SignedCommitment(commitment=signed.body, signature=signed.signature)


def signed_commitment_from_wire(message: pb.SignedCommitment) -> Signed:
    """Return the signed commitment, which is not verified here. Raises Refused(MALFORMED)."""
    return signed_from_wire(message.commitment, message.signature)


def timings_from_wire(message: pb.CommitRequest) -> Timings:
    """Return how many seconds a client trained and encrypted. Raises Refused(MALFORMED)."""
    return Timings(
        checked_seconds(message.train_seconds, "train_seconds"),
        checked_seconds(message.encrypt_seconds, "encrypt_seconds"),
    )


def holder_signatures_to_wire(signatures: Iterable[HolderSignature]) -> list[pb.HolderSignature]:
    """Return the messages for the key holders' signatures."""
    return [pb.HolderSignature(holder=each.holder, signature=each.signature) for each in signatures]


def holder_signatures_from_wire(messages: Iterable[pb.HolderSignature]) -> tuple[HolderSignature, ...]:
    """Return at most MOST_HOLDERS signatures, not verified here. Raises Refused(MALFORMED)."""
    return tuple(
        HolderSignature(each.holder, signed_from_wire(b"", each.signature).signature)
        for each in itertools.islice(messages, MOST_HOLDERS)
    )


def list_statement(description_digest: bytes, commitment_digests: Sequence[bytes]) -> bytes:
    """Return what a key holder signs under a closed list it has checked."""
    return pb.ListStatement(
        description_digest=description_digest,
        list_digest=digest(b"".join(commitment_digests)),
        clients=len(commitment_digests),
    ).SerializeToString(deterministic=True)


def model_statement(federation: str, run: str, round_number: int, model_digest: bytes) -> bytes:
    """Return what a key holder signs under a model it has recomputed."""
    return pb.ModelStatement(
        federation=federation, run=run, round=round_number, model_digest=model_digest
    ).SerializeToString(deterministic=True)


def list_to_wire(closed: ClosedList) -> pb.ListClosed:
    """Return the message for a closed list."""
    return pb.ListClosed(
        round=closed.round,
        attempt=closed.attempt,
        description_digest=closed.description_digest,
        commitments=b"".join(closed.commitment_digests),
        signatures=holder_signatures_to_wire(closed.signatures),
    )


def list_from_wire(message: pb.ListClosed) -> ClosedList:
    """Return the closed list, whose signatures are not verified here. Raises Refused(MALFORMED)."""
    raw = message.commitments
    if len(raw) % DIGEST_BYTES:
        raise _malformed(f"the closed list has {len(raw)} bytes; expected a multiple of {DIGEST_BYTES}")
    return ClosedList(
        round=message.round,
        attempt=message.attempt,
        description_digest=checked_digest(message.description_digest, "the description's digest"),
        commitment_digests=tuple(raw[start : start + DIGEST_BYTES] for start in range(0, len(raw), DIGEST_BYTES)),
        signatures=holder_signatures_from_wire(message.signatures),
    )


def submission_header_to_wire(header: SubmissionHeader) -> pb.SubmissionHeader:
    """Return the message that announces an update."""
    return pb.SubmissionHeader(
        run=header.id.run,
        round=header.id.round,
        attempt=header.id.attempt,
        length=header.length,
        sha256=header.digest,
    )


def submission_header_from_wire(message: pb.SubmissionHeader) -> SubmissionHeader:
    """Return what is announced of an update. Raises Refused(MALFORMED)."""
    return SubmissionHeader(
        id=attempt_id(message.run, message.round, message.attempt),
        length=message.length,
        digest=checked_digest(message.sha256, "the update's digest"),
    )


def result_to_wire(result: RoundResult) -> pb.RoundResult:
    """Return the message for the result of a round."""
    return pb.RoundResult(**dataclasses.asdict(result))


def result_from_wire(message: pb.RoundResult) -> RoundResult:
    """Return the result of a round."""
    return RoundResult(**{field.name: getattr(message, field.name) for field in dataclasses.fields(RoundResult)})
