"""Convert between wire messages and the plain data of core.protocol. What does not fit is Refused(MALFORMED)."""

from __future__ import annotations

import dataclasses

from google.protobuf.message import DecodeError

from core.errors import Reason, Refused, SettingsError
from core.protocol import AttemptId, Contribution, RoundDescription, RoundResult, SubmissionHeader, check_client_name
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb

DIGEST_BYTES = 32
LARGEST_KEY_BITS = 8192
LONGEST_SECONDS = 1e7


def _malformed(sentence: str) -> Refused:
    return Refused(Reason.MALFORMED, sentence)


def checked_digest(raw: bytes, what: str) -> bytes:
    """The digest, if it has the length of one."""
    if len(raw) != DIGEST_BYTES:
        raise _malformed(f"{what} has {len(raw)} bytes; a SHA-256 digest has {DIGEST_BYTES}")
    return raw


def checked_seconds(value: float, what: str) -> float:
    """The duration, if it is one."""
    if not 0 <= value <= LONGEST_SECONDS:
        raise _malformed(f"{what} is {value}; expected seconds, 0 to {LONGEST_SECONDS:g}")
    return value


def attempt_id(run: str, round_number: int, attempt: int) -> AttemptId:
    """Check and join the three parts that name an attempt."""
    if len(run) != 16 or any(c not in "0123456789abcdef" for c in run):
        raise _malformed(f"the run is {run[:80]!r}; expected 16 hexadecimal digits")
    if round_number < 1 or attempt < 1:
        raise _malformed(f"round {round_number}, attempt {attempt}; both count from 1")
    return AttemptId(run, round_number, attempt)


def key_to_wire(key: PublicKey) -> pb.PublicKey:
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
    return pb.Encoding(**dataclasses.asdict(encoding))


def encoding_from_wire(message: pb.Encoding) -> Encoding:
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


def description_to_bytes(description: RoundDescription) -> bytes:
    """Serialise a description; digests (and later signatures) cover exactly these bytes."""
    return pb.RoundDescription(
        run=description.id.run,
        task=description.task,
        round=description.id.round,
        attempt=description.id.attempt,
        model_digest=description.model_digest,
        key=key_to_wire(description.key),
        encoding=encoding_to_wire(description.encoding),
        min_cohort=description.min_cohort,
        deadline_seconds=description.deadline_seconds,
    ).SerializeToString(deterministic=True)


def description_from_bytes(raw: bytes) -> RoundDescription:
    message = pb.RoundDescription()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise _malformed("the round description is not one") from error
    return RoundDescription(
        id=attempt_id(message.run, message.round, message.attempt),
        task=message.task,
        model_digest=checked_digest(message.model_digest, "the model's digest"),
        key=key_from_wire(message.key),
        encoding=encoding_from_wire(message.encoding),
        min_cohort=message.min_cohort,
        deadline_seconds=checked_seconds(message.deadline_seconds, "the deadline"),
    )


def submission_header_to_wire(header: SubmissionHeader) -> pb.SubmissionHeader:
    return pb.SubmissionHeader(
        run=header.id.run,
        client=header.client,
        round=header.id.round,
        attempt=header.id.attempt,
        description_digest=header.description_digest,
        length=header.length,
        sha256=header.digest,
        train_seconds=header.train_seconds,
        encrypt_seconds=header.encrypt_seconds,
    )


def submission_header_from_wire(message: pb.SubmissionHeader) -> SubmissionHeader:
    check_client_name(message.client)
    return SubmissionHeader(
        id=attempt_id(message.run, message.round, message.attempt),
        client=message.client,
        description_digest=checked_digest(message.description_digest, "the description's digest"),
        length=message.length,
        digest=checked_digest(message.sha256, "the update's digest"),
        train_seconds=checked_seconds(message.train_seconds, "train_seconds"),
        encrypt_seconds=checked_seconds(message.encrypt_seconds, "encrypt_seconds"),
    )


def contribution_from_wire(message: pb.Contribution) -> Contribution:
    check_client_name(message.client)
    return Contribution(message.client, checked_digest(message.sha256, "a contribution's digest"))


def result_to_wire(result: RoundResult) -> pb.RoundResult:
    return pb.RoundResult(**dataclasses.asdict(result))


def result_from_wire(message: pb.RoundResult) -> RoundResult:
    return RoundResult(**{field.name: getattr(message, field.name) for field in dataclasses.fields(RoundResult)})
