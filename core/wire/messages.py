"""Convert between wire messages and the plain data of core.protocol. What does not fit is Refused(MALFORMED)."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from core.errors import Reason, Refused, SettingsError
from core.identity.signing import SIGNATURE_BYTES
from core.limits import MOST_HOLDERS, check_client_name
from core.privacy.mechanism import Privacy
from core.protocol import (
    AttemptId,
    Commitment,
    Head,
    KeyCertificate,
    ModelOrigin,
    RoundDescription,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
)
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.secagg.share_proof import values_from_bytes, values_to_bytes
from core.server_rules import FEDAVG, ServerRule
from core.wire import federation_pb2 as pb
from core.wire.task_messages import (
    bounds_name,
    clip_from_wire,
    grouping_from_wire,
    grouping_to_wire,
    identity_from_wire,
    identity_to_wire,
    local_from_wire,
    local_to_wire,
    norm_from_wire,
)

DIGEST_BYTES = 32
LARGEST_KEY_BITS = 8192
LONGEST_SECONDS = 1e7
SUBMISSION_BYTES = 16
LARGEST_NUMBER = (1 << 63) - 1

M = TypeVar("M", bound=Message)


def malformed(sentence: str) -> Refused:
    """Return the refusal of a message that is not written as it should be."""
    return Refused(Reason.MALFORMED, sentence)


def checked_digest(raw: bytes, what: str) -> bytes:
    """Return the digest, if it has the length of one."""
    if len(raw) != DIGEST_BYTES:
        raise malformed(f"{what} has {len(raw)} bytes; a SHA-256 digest has {DIGEST_BYTES}")
    return raw


def checked_seconds(value: float, what: str) -> float:
    """Return the duration, if it is one."""
    if not 0 <= value <= LONGEST_SECONDS:
        raise malformed(f"{what} is {value}; expected seconds, 0 to {LONGEST_SECONDS:g}")
    return value


def parsed(message: M, raw: bytes, what: str) -> M:
    """Return the message, filled from these bytes. Raises Refused(MALFORMED)."""
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise malformed(f"{what} is not one") from error
    return message


def require_canonical(raw: bytes, again: bytes, what: str) -> None:
    """Refuse bytes that are not the one encoding of what was read from them, such as those with unknown fields."""
    if raw != again:
        raise malformed(f"{what} is not written as it should be, in {len(again)} bytes")


def hexadecimal(text: str, what: str) -> str:
    """Return the text, if it is 16 hexadecimal digits. Raises Refused(MALFORMED)."""
    if len(text) != 16 or any(c not in "0123456789abcdef" for c in text):
        raise malformed(f"{what} is {text[:80]!r}; expected 16 hexadecimal digits")
    return text


def attempt_id(run: str, round_number: int, attempt: int) -> AttemptId:
    """Check and join the three parts that name an attempt."""
    hexadecimal(run, "the run")
    if round_number < 1 or attempt < 1:
        raise malformed(f"round {round_number}, attempt {attempt}; both count from 1")
    return AttemptId(run, round_number, attempt)


def key_to_wire(key: PublicKey) -> pb.PublicKey:
    """Return the message for a public key."""
    size = key.bits // 8 if key.modulus else 0
    return pb.PublicKey(scheme=key.scheme, bits=key.bits, modulus=key.modulus.to_bytes(size, "big"))


def key_from_wire(message: pb.PublicKey) -> PublicKey:
    """Check form only; whether the modulus can be an honest one is for core.secagg to say."""
    if message.bits > LARGEST_KEY_BITS or message.bits % 16:
        raise malformed(f"the key has {message.bits} bits; expected a multiple of 16 up to {LARGEST_KEY_BITS}")
    expected = 0 if message.scheme == "plain" else message.bits // 8
    if len(message.modulus) != expected:
        raise malformed(f"the key's modulus has {len(message.modulus)} bytes; expected {expected}")
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
        raise malformed(f"the encoding cannot work: {error}") from error


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
            count_noise=message.count_noise if message.HasField("count_noise") else None,
        )
    except SettingsError as error:
        raise malformed(f"the privacy settings cannot work: {error}") from error


def signed_from_wire(body: bytes, signature: bytes) -> Signed:
    """Return a body with its Ed25519 signature, which is not verified here. Raises Refused(MALFORMED)."""
    if len(signature) != SIGNATURE_BYTES:
        raise malformed(f"a signature has {len(signature)} bytes; Ed25519 signatures have {SIGNATURE_BYTES}")
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
        values=values_to_bytes(certificate.key, certificate.values),
    ).SerializeToString(deterministic=True)


@lru_cache(maxsize=128)
def certificate_from_bytes(raw: bytes) -> KeyCertificate:
    """Return a key's certificate, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = parsed(pb.KeyCertificate(), raw, "the key's certificate")
    if not 1 <= message.threshold <= message.holders <= MOST_HOLDERS or not message.serial:
        raise malformed(
            f"a key with serial number {message.serial} for {message.threshold} of {message.holders} holders"
        )
    key = key_from_wire(message.key)
    made = KeyCertificate(
        federation=hexadecimal(message.federation, "the federation"),
        serial=message.serial,
        key=key,
        threshold=message.threshold,
        holders=message.holders,
        expires_day=message.expires_day,
        values=values_from_bytes(key, message.holders, message.values),
    )
    require_canonical(raw, certificate_to_bytes(made), "the key's certificate")
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
        start=None if description.start is None else origin_to_wire(description.start),
        bounds=bounds_name(description.bounded, description.largest_norm),
        largest_norm=description.largest_norm or 0.0,
        rule=None if description.rule.is_default else rule_to_wire(description.rule),
        state_digest=description.state_digest,
        task_identity=None if description.task_identity is None else identity_to_wire(description.task_identity),
        local=None if description.local is None else local_to_wire(description.local),
        clip_factor=description.clip_factor if description.rule.adapts_clip else None,
        grouping=None if description.grouping is None else grouping_to_wire(description.grouping),
    ).SerializeToString(deterministic=True)


@lru_cache(maxsize=8)  # each message of a round's later phases has it again
def description_from_bytes(raw: bytes) -> RoundDescription:
    """Return a round's description, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = parsed(pb.RoundDescription(), raw, "the round description")
    signed_key = signed_key_from_wire(message.key)
    if message.seed >= 1 << 63:
        raise malformed(f"the seed is {message.seed}; expected 0 to 2^63 - 1")
    made = RoundDescription(
        federation=hexadecimal(message.federation, "the federation"),
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
        start=_start_from_wire(message) if message.HasField("start") else None,
        bounded=bool(message.bounds),
        largest_norm=norm_from_wire(message),
        rule=rule_from_wire(message.rule) if message.HasField("rule") else FEDAVG,
        state_digest=state_digest_from_wire(message.state_digest),
        task_identity=identity_from_wire(message.task_identity) if message.HasField("task_identity") else None,
        local=local_from_wire(message.local) if message.HasField("local") else None,
        clip_factor=clip_from_wire(message.clip_factor) if message.HasField("clip_factor") else 1.0,
        grouping=grouping_from_wire(message.grouping) if message.HasField("grouping") else None,
    )
    require_canonical(raw, description_to_bytes(made), "the round description")
    return made


def origin_to_wire(origin: ModelOrigin) -> pb.ModelOrigin:
    """Return the message that says which round made a model."""
    return pb.ModelOrigin(run=origin.run, round=origin.round, state_digest=origin.state_digest)


def _start_from_wire(message: pb.RoundDescription) -> ModelOrigin:
    """Return where the model of round 1 comes from; later rounds start from the model of the round before."""
    start = message.start
    if message.round != 1 or start.round < 1:
        raise malformed(f"round {message.round} starts from the model of round {start.round} of {start.run[:80]!r}")
    run = hexadecimal(start.run, "the run that the model comes from")
    return ModelOrigin(run, start.round, state_digest_from_wire(start.state_digest))


def rule_to_wire(rule: ServerRule) -> pb.ServerRule:
    """Return the message for a server's rule."""
    return pb.ServerRule(**dataclasses.asdict(rule))


def rule_from_wire(message: pb.ServerRule) -> ServerRule:
    """Return the rule that a message describes. Raises Refused(MALFORMED)."""
    given = {field.name: value for field, value in message.ListFields()}
    try:
        return ServerRule(**given)
    except SettingsError as error:
        raise malformed(f"the server's rule cannot work: {error}") from error


def state_digest_from_wire(raw: bytes) -> bytes:
    """Return the digest of a rule's state; empty where there is none. Raises Refused(MALFORMED)."""
    return checked_digest(raw, "the digest of the rule's state") if raw else b""


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
        memory_number=commitment.memory.number,
        memory_hash=commitment.memory.hash,
        ciphertexts_sha256=commitment.ciphertexts,
    ).SerializeToString(deterministic=True)


@lru_cache(maxsize=1024)
def commitment_from_bytes(raw: bytes) -> Commitment:
    """Return a commitment, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = parsed(pb.Commitment(), raw, "the commitment")
    check_client_name(message.client)
    if len(message.submission) != SUBMISSION_BYTES:
        raise malformed(f"a submission's number has {len(message.submission)} bytes; expected {SUBMISSION_BYTES}")
    if not 1 <= message.memory_number <= LARGEST_NUMBER:
        raise malformed(f"the client's memory ends with entry {message.memory_number}; expected 1 to 2^63 - 1")
    ciphertexts = message.ciphertexts_sha256
    made = Commitment(
        id=attempt_id(message.run, message.round, message.attempt),
        client=message.client,
        submission=message.submission,
        description_digest=checked_digest(message.description_digest, "the description's digest"),
        digest=checked_digest(message.sha256, "the update's digest"),
        memory=Head(message.memory_number, checked_digest(message.memory_hash, "the memory's hash")),
        ciphertexts=checked_digest(ciphertexts, "the digest of the ciphertexts") if ciphertexts else b"",
    )
    require_canonical(raw, commitment_to_bytes(made), "the commitment")
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
