"""Everything that arrives is checked before it is believed, and comes back as it was sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused_with

from core.errors import Reason, Refused
from core.limits import MOST_HOLDERS, check_client_name
from core.protocol import (
    AttemptId,
    ClosedList,
    Commitment,
    Head,
    HolderSignature,
    HolderStart,
    KeyCertificate,
    LedgerState,
    ReportedRequest,
    RoundDescription,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
    Vouch,
    digest,
)
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb
from core.wire import holder_messages, messages

RUN, FEDERATION = "0123456789abcdef", "fedcba9876543210"
CERTIFICATE = KeyCertificate(
    federation=FEDERATION,
    serial=7,
    key=PublicKey("paillier", 256, (1 << 255) + 1),
    threshold=2,
    holders=3,
    expires_day=20_000,
    values=(2, 3, (1 << 255) - 1),
)
DESCRIPTION = RoundDescription(
    federation=FEDERATION,
    id=AttemptId(RUN, 3, 1),
    task="spam",
    seed=(1 << 63) - 1,
    model_digest=digest(b"model"),
    certificate=CERTIFICATE,
    signed_certificate=Signed(messages.certificate_to_bytes(CERTIFICATE), b"k" * 64),
    encoding=Encoding(values=10, plaintext_bits=224, max_cohort=5, count_cap=9),
    min_cohort=3,
    deadline_seconds=60.0,
)
COMMITMENT = Commitment(
    DESCRIPTION.id, "anna", b"n" * 16, digest(b"description"), digest(b"update"), Head(3, bytes(32))
)
STATE = pb.LedgerState(number=1, hash=bytes(32), life=bytes(16))
LEDGER = LedgerState(Head(7, bytes(32)), b"l" * 16, (("h9", b"m" * 16),))
SIGNATURES = (HolderSignature("h1", b"1" * 64, LEDGER), HolderSignature("h2", b"2" * 64, LEDGER))


def test_signed_bodies_survive_the_wire_and_have_one_form() -> None:
    for plain, write, read in (
        (DESCRIPTION, messages.description_to_bytes, messages.description_from_bytes),
        (CERTIFICATE, messages.certificate_to_bytes, messages.certificate_from_bytes),
        (COMMITMENT, messages.commitment_to_bytes, messages.commitment_from_bytes),
    ):
        raw = write(plain)  # type: ignore[arg-type]
        assert read(raw) == plain
        assert write(read(raw)) == raw  # type: ignore[arg-type]


UNKNOWN_FIELD = bytes.fromhex("fa0103") + b"abc"
"""Field 31, three bytes long, which no message of this protocol has."""


def test_what_is_signed_has_no_room_for_unread_bytes() -> None:
    for plain, write, read in (
        (DESCRIPTION, messages.description_to_bytes, messages.description_from_bytes),
        (CERTIFICATE, messages.certificate_to_bytes, messages.certificate_from_bytes),
        (COMMITMENT, messages.commitment_to_bytes, messages.commitment_from_bytes),
    ):
        raw = write(plain)  # type: ignore[arg-type]
        for longer in (raw + UNKNOWN_FIELD, UNKNOWN_FIELD + raw, raw + raw):
            with refused_with(Reason.MALFORMED, "is not written as it should be"):
                read(longer)


def test_what_travels_with_them_survives_the_wire() -> None:
    header = SubmissionHeader(DESCRIPTION.id, 17, digest(b"payload"))
    closed = ClosedList(3, 1, digest(b"description"), (digest(b"a"), digest(b"b")), SIGNATURES)
    assert messages.submission_header_from_wire(messages.submission_header_to_wire(header)) == header
    assert holder_messages.list_from_wire(holder_messages.list_to_wire(closed)) == closed
    signed = Signed(b"body", b"s" * 64)
    for write, read in (
        (messages.signed_key_to_wire, messages.signed_key_from_wire),
        (messages.round_to_wire, messages.round_from_wire),
        (messages.signed_commitment_to_wire, messages.signed_commitment_from_wire),
    ):
        assert read(write(signed)) == signed  # type: ignore[operator]


def test_a_result_survives_the_wire() -> None:
    result = RoundResult(
        1, 2, *(float(n) for n in range(3, 13)), exposure="two differ", true_positives=7, wordless=1 << 40
    )
    assert messages.result_from_wire(messages.result_to_wire(result)) == result


def test_timings_survive_the_wire() -> None:
    request = pb.CommitRequest(train_seconds=1.5, encrypt_seconds=2.5)
    assert messages.timings_from_wire(request) == Timings(1.5, 2.5)
    for wrong in (float("nan"), -1.0, 1e8):
        with pytest.raises(Refused, match="expected seconds"):
            messages.timings_from_wire(pb.CommitRequest(train_seconds=wrong))


def malformed(read: Callable[[bytes], object], message: Message, changes: dict[str, Any], word: str) -> None:
    for name, value in changes.items():
        setattr(message, name, value)
    with refused_with(Reason.MALFORMED, word):
        read(message.SerializeToString())


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("federation", "0123", "federation is '0123'; expected 16 hexadecimal"),
        ("run", "0123", "run is '0123'; expected 16 hexadecimal"),
        ("run", "0123456789abcdeG", "16 hexadecimal"),
        ("round", 0, "count from 1"),
        ("attempt", 0, "count from 1"),
        ("seed", 1 << 63, "seed is"),
        ("model_digest", b"short", "5 bytes"),
        ("deadline_seconds", float("nan"), "nan"),
        ("deadline_seconds", -1.0, "-1.0"),
        ("deadline_seconds", 1e300, "1e.300"),
    ],
)
def test_malformed_descriptions_are_refused(field: str, value: object, word: str) -> None:
    message = pb.RoundDescription.FromString(messages.description_to_bytes(DESCRIPTION))
    malformed(messages.description_from_bytes, message, {field: value}, word)


def test_a_description_without_a_whole_key_is_refused() -> None:
    message = pb.RoundDescription.FromString(messages.description_to_bytes(DESCRIPTION))
    message.key.signature = b"short"
    malformed(messages.description_from_bytes, message, {}, "signature has 5 bytes; Ed25519 signatures have 64")
    message = pb.RoundDescription.FromString(messages.description_to_bytes(DESCRIPTION))
    message.key.certificate = b"\xff"
    malformed(messages.description_from_bytes, message, {}, "key's certificate is not one")


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": 0}, {"threshold": 0}, {"threshold": 4}, {"holders": 11}, {"holders": 0}, {"federation": "F" * 16},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_malformed_certificates_are_refused(changes: dict[str, Any]) -> None:
    message = pb.KeyCertificate.FromString(messages.certificate_to_bytes(CERTIFICATE))
    malformed(messages.certificate_from_bytes, message, changes, "serial number|16 hexadecimal")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"client": ""}, "client's name"),
        ({"client": "a/b"}, "client's name"),
        ({"client": "a" * 65}, "client's name"),
        ({"submission": b"n" * 15}, "15 bytes; expected 16"),
        ({"description_digest": b""}, "description's digest has 0 bytes"),
        ({"sha256": b"x" * 33}, "update's digest has 33 bytes"),
        ({"run": ""}, "16 hexadecimal"),
    ],
)
def test_malformed_commitments_are_refused(changes: dict[str, Any], word: str) -> None:
    message = pb.Commitment.FromString(messages.commitment_to_bytes(COMMITMENT))
    malformed(messages.commitment_from_bytes, message, changes, word)


def test_malformed_lists_are_refused() -> None:
    whole = holder_messages.list_to_wire(ClosedList(1, 1, digest(b"d"), (digest(b"a"),), SIGNATURES))
    for change, word in (
        ({"commitments": b"x" * 33}, "33 bytes; expected a multiple of 32"),
        ({"description_digest": b"x"}, "1 bytes"),
    ):
        message = pb.ListClosed.FromString(whole.SerializeToString())
        for name, value in change.items():
            setattr(message, name, value)
        with pytest.raises(Refused, match=word):
            holder_messages.list_from_wire(message)


def test_no_more_signatures_are_read_than_there_can_be_holders() -> None:
    many = [pb.HolderSignature(holder=f"h{n}", signature=b"s" * 64, ledger=STATE) for n in range(MOST_HOLDERS)]
    beyond = pb.HolderSignature(holder="x", signature=b"malformed, and never looked at")
    assert len(holder_messages.holder_signatures_from_wire([*many, beyond])) == MOST_HOLDERS
    with pytest.raises(Refused, match="a signature has 3 bytes"):
        holder_messages.holder_signatures_from_wire([pb.HolderSignature(holder="h", signature=b"abc", ledger=STATE)])


def test_what_holders_sign_names_everything_it_is_about() -> None:
    lists = [
        holder_messages.list_statement(d, commitments)
        for d in (digest(b"d"), digest(b"e"))
        for commitments in ((), (digest(b"a"),), (digest(b"a"), digest(b"b")), (digest(b"b"), digest(b"a")))
    ]
    models = [
        holder_messages.model_statement(f, run, n, m)
        for f in (FEDERATION, "f" * 16) for run in (RUN, "e" * 16) for n in (1, 2) for m in (digest(b"m"), digest(b"n"))
    ]  # fmt: skip
    requests = [
        holder_messages.request_statement(f, AttemptId(run, n, a), d)
        for f in (FEDERATION, "f" * 16) for run in (RUN, "e" * 16) for n in (1, 2) for a in (1, 2) for d in (digest(b"r"), digest(b"s"))
    ]  # fmt: skip
    assert len({*lists, *models, *requests}) == 8 + 16 + 32


def test_a_signature_covers_the_statement_and_every_part_of_the_ledgers_state() -> None:
    states = [
        LedgerState(Head(number, chained), life, peers)
        for number in (1, 2) for chained in (digest(b"a"), digest(b"b")) for life in (b"l" * 16, b"m" * 16)
        for peers in ((), (("h1", b"l" * 16),), (("h1", b"m" * 16),), (("h2", b"l" * 16),))
    ]  # fmt: skip
    signed = {holder_messages.signed_statement(what, state) for what in (b"a", b"b") for state in states}
    assert len(signed) == 2 * 32


START = HolderStart(FEDERATION, "h1", b"l" * 16, Head(7, digest(b"a")), 3, ((b"k" * 16, 4),))
VOUCH = Vouch(
    FEDERATION,
    "h1",
    b"l" * 16,
    Head(5, digest(b"b")),
    9,
    digest(b"c"),
    (ReportedRequest(RUN, 2, digest(b"d"), digest(b"m")),),
)


def test_starts_and_vouches_come_back_as_they_were() -> None:
    assert holder_messages.start_from_bytes(holder_messages.start_to_bytes(START)) == START
    assert holder_messages.vouch_from_bytes(holder_messages.vouch_to_bytes(VOUCH)) == VOUCH
    nothing = replace(VOUCH, head=Head(), serial=0, list_digest=b"", requests=())
    assert holder_messages.vouch_from_bytes(holder_messages.vouch_to_bytes(nothing)) == nothing


@pytest.mark.parametrize(
    "change",
    [{"holder": "a b"}, {"life": b"short"}, {"head": Head(0, digest(b"a"))}, {"head": Head(1, b"short")},
     {"federation": "x"}, {"earlier": ((b"short", 1),)}, {"earlier": ((b"k" * 16, 1),) * 201}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_malformed_start_is_refused(change: dict[str, Any]) -> None:
    with refused_with(Reason.MALFORMED):
        holder_messages.start_from_bytes(holder_messages.start_to_bytes(replace(START, **change)))


@pytest.mark.parametrize(
    "change",
    [{"about": ""}, {"life": b""}, {"head": Head(1, b"")}, {"list_digest": b"short"},
     {"requests": (ReportedRequest(RUN, 1, b"short", digest(b"m")),)}, {"requests": VOUCH.requests * 17}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_malformed_vouch_is_refused(change: dict[str, Any]) -> None:
    with refused_with(Reason.MALFORMED):
        holder_messages.vouch_from_bytes(holder_messages.vouch_to_bytes(replace(VOUCH, **change)))


@pytest.mark.parametrize(
    "change",
    [{"bits": 8200}, {"bits": 250}, {"modulus": b"\1"}, {"scheme": "plain"}],
    ids=["too many bits", "not a multiple", "length", "plain with a modulus"],
)
def test_malformed_keys_are_refused(change: dict[str, object]) -> None:
    message = messages.key_to_wire(DESCRIPTION.key)
    for name, value in change.items():
        setattr(message, name, value)
    with refused_with(Reason.MALFORMED):
        messages.key_from_wire(message)


def test_an_encoding_that_could_overflow_is_refused() -> None:
    message = messages.encoding_to_wire(DESCRIPTION.encoding)
    message.max_cohort = 2**31
    message.value_bits = 24
    with pytest.raises(Refused, match="encoding cannot work"):
        messages.encoding_from_wire(message)


BODIES = {
    messages.description_from_bytes: messages.description_to_bytes(DESCRIPTION),
    messages.certificate_from_bytes: messages.certificate_to_bytes(CERTIFICATE),
    messages.commitment_from_bytes: messages.commitment_to_bytes(COMMITMENT),
    holder_messages.start_from_bytes: holder_messages.start_to_bytes(START),
    holder_messages.vouch_from_bytes: holder_messages.vouch_to_bytes(VOUCH),
}


@given(st.sampled_from(sorted(BODIES, key=str)), st.binary(max_size=300))
def test_random_bytes_are_a_refusal_and_never_another_error(read: Callable[[bytes], object], raw: bytes) -> None:
    with contextlib.suppress(Refused):
        read(raw)


@given(st.sampled_from(sorted(BODIES, key=str)), st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_few_bytes_changed_are_a_refusal_or_another_message(
    read: Callable[[bytes], object], place: int, change: bytes
) -> None:
    raw = BODIES[read]
    place %= len(raw)
    with contextlib.suppress(Refused):
        read(raw[:place] + change + raw[place + len(change) :])


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ü", "a/b", "a\n", ".a", "-a"])
def test_strange_client_names_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        check_client_name(name)
    check_client_name("client-1.example_X")
