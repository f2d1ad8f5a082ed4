"""Everything that arrives is checked before it is believed, and comes back as it was sent."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Reason, Refused, SettingsError, StorageError
from core.protocol import AttemptId, RoundDescription, RoundResult, SubmissionHeader, check_client_name, digest
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb
from core.wire import messages, streams
from core.wire.dialing import check_address
from core.wire.status import STATUS

RUN = "0123456789abcdef"
DESCRIPTION = RoundDescription(
    id=AttemptId(RUN, 3, 1),
    task="spam",
    model_digest=digest(b"model"),
    key=PublicKey("paillier", 256, (1 << 255) + 1),
    encoding=Encoding(values=10, plaintext_bits=224, max_cohort=5),
    min_cohort=3,
    deadline_seconds=60.0,
)


def test_a_description_survives_the_wire() -> None:
    raw = messages.description_to_bytes(DESCRIPTION)
    assert messages.description_from_bytes(raw) == DESCRIPTION
    assert messages.description_to_bytes(messages.description_from_bytes(raw)) == raw


def test_a_submission_header_survives_the_wire() -> None:
    header = SubmissionHeader(DESCRIPTION.id, "anna", digest(b"d"), 17, digest(b"p"), 1.5, 2.5)
    assert messages.submission_header_from_wire(messages.submission_header_to_wire(header)) == header


def test_a_result_survives_the_wire() -> None:
    result = RoundResult(*(float(n) if n > 1 else n for n in range(len(dataclasses.fields(RoundResult)))))
    assert messages.result_from_wire(messages.result_to_wire(result)) == result


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("run", "0123", "16 hexadecimal"),
        ("run", "0123456789abcdeG", "16 hexadecimal"),
        ("round", 0, "count from 1"),
        ("attempt", 0, "count from 1"),
        ("model_digest", b"short", "5 bytes"),
        ("deadline_seconds", float("nan"), "nan"),
        ("deadline_seconds", -1.0, "-1.0"),
        ("deadline_seconds", 1e300, "1e.300"),
    ],
)
def test_malformed_descriptions_are_refused(field: str, value: object, word: str) -> None:
    message = pb.RoundDescription.FromString(messages.description_to_bytes(DESCRIPTION))
    setattr(message, field, value)
    with pytest.raises(Refused, match=word) as caught:
        messages.description_from_bytes(message.SerializeToString())
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "change",
    [{"bits": 8200}, {"bits": 250}, {"modulus": b"\1"}, {"scheme": "plain"}],
    ids=["too many bits", "not a multiple", "length", "plain with a modulus"],
)
def test_malformed_keys_are_refused(change: dict[str, object]) -> None:
    message = messages.key_to_wire(DESCRIPTION.key)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(Refused) as caught:
        messages.key_from_wire(message)
    assert caught.value.reason is Reason.MALFORMED


def test_an_encoding_that_could_overflow_is_refused() -> None:
    message = messages.encoding_to_wire(DESCRIPTION.encoding)
    message.max_cohort = 2**31
    message.value_bits = 24
    with pytest.raises(Refused, match="encoding cannot work"):
        messages.encoding_from_wire(message)


@given(st.binary(max_size=300))
def test_random_bytes_are_a_refusal_and_never_another_error(raw: bytes) -> None:
    with contextlib.suppress(Refused):
        messages.description_from_bytes(raw)


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "ü", "a/b", "a\n"])
def test_strange_client_names_are_refused(name: str) -> None:
    with pytest.raises(Refused):
        check_client_name(name)
    check_client_name("client-1.example_X")


@pytest.mark.parametrize("size", [0, 1, streams.PIECE_BYTES, streams.PIECE_BYTES + 1, 3 * streams.PIECE_BYTES])
def test_payloads_of_any_length_come_back_in_bounded_pieces(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    chunks = list(streams.payload_chunks(payload))
    assert all(len(chunk.data) <= streams.PIECE_BYTES for chunk in chunks)
    assert streams.read_chunks(chunks, limit=size)[1] == payload


def altered(kind: str) -> list[pb.Chunk]:
    chunks = list(streams.payload_chunks(b"x" * (streams.PIECE_BYTES + 5)))
    match kind:
        case "no header":
            return chunks[1:]
        case "nothing":
            return []
        case "two headers":
            return [chunks[0], *chunks]
        case "one piece missing":
            return chunks[:-1]
        case "one piece too many":
            return [*chunks, chunks[-1]]
        case "one byte changed":
            return [*chunks[:-1], pb.Chunk(data=b"y" * 5)]
        case "an empty piece":
            return [chunks[0], pb.Chunk(data=b""), *chunks[1:]]
        case "a piece too large":
            return [chunks[0], pb.Chunk(data=b"x" * (streams.PIECE_BYTES + 5))]
        case _:
            return [chunks[0], pb.Chunk(), *chunks[1:]]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no header", Reason.MALFORMED),
        ("nothing", Reason.MALFORMED),
        ("two headers", Reason.MALFORMED),
        ("empty message", Reason.MALFORMED),
        ("an empty piece", Reason.MALFORMED),
        ("a piece too large", Reason.MALFORMED),
        ("one piece missing", Reason.WRONG_LENGTH),
        ("one piece too many", Reason.WRONG_LENGTH),
        ("one byte changed", Reason.WRONG_DIGEST),
    ],
)
def test_streams_that_are_not_what_they_announced_are_refused(kind: str, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        streams.read_chunks(altered(kind), limit=1 << 20)
    assert caught.value.reason is reason


def test_an_announced_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    def endless():  # type: ignore[no-untyped-def]
        yield pb.Chunk(header=pb.PayloadHeader(length=1 << 40))
        raise AssertionError("the payload was read")

    with pytest.raises(Refused, match="at most 100"):
        streams.read_chunks(endless(), limit=100)


def test_a_model_comes_back_as_an_array_of_our_own() -> None:
    vector = np.linspace(-1, 1, 100_000)
    round_number, copy = streams.read_model(streams.model_chunks(streams.model_bytes(vector), 7), values=100_000)
    assert round_number == 7
    assert np.array_equal(copy, vector)
    assert copy.flags.owndata
    assert copy.flags.writeable
    assert copy.flags.aligned


def test_models_of_another_shape_type_or_with_infinities_are_refused() -> None:
    chunks = list(streams.model_chunks(streams.model_bytes(np.zeros(4)), 1))
    with pytest.raises(Refused, match="at most 24"):
        streams.read_model(chunks, values=3)
    chunks[0].header.dtype = "<f4"
    with pytest.raises(Refused, match="f4"):
        streams.read_model(chunks, values=4)
    with pytest.raises(Refused, match="finite"):
        streams.read_model(streams.model_chunks(streams.model_bytes(np.array([0.0, np.inf])), 1), values=2)


def test_every_reason_has_a_status() -> None:
    assert set(STATUS) == set(Reason)


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", ":50551", "localhost:x", "localhost:0", "h:70000"])
def test_addresses_that_cannot_be_dialled_are_one_sentence(address: str) -> None:
    with pytest.raises(SettingsError, match="expected HOST:PORT"):
        check_address(address)
    check_address("127.0.0.1:50551")


def take_whole(assembly: streams.Assembly, payload: bytes) -> None:
    assembly.take(payload)
    assembly.check()


def test_a_payload_that_the_disk_has_no_room_for_is_a_fault_of_storage() -> None:
    """Small pieces stay in the file's buffer for a while: the fault shows at the latest when the whole is checked."""
    for size in (10, streams.PIECE_BYTES):
        payload = bytes(size)
        with Path("/dev/full").open("wb") as full:
            assembly = streams.Assembly(size, digest(payload), size, full)
            with pytest.raises(StorageError, match="cannot be kept while it arrives: No space left"):
                take_whole(assembly, payload)
            assembly.close()


def test_a_payload_kept_in_a_file_is_read_back_from_there(tmp_path: Path) -> None:
    with (tmp_path / "kept").open("w+b") as file:
        assembly = streams.Assembly(6, digest(b"abcdef"), 6, file)
        assembly.take(b"abc")
        assembly.take(b"def")
        assert assembly.whole() == b"abcdef"
        assert (tmp_path / "kept").read_bytes() == b"abcdef"
