"""Long things travel in bounded pieces, models come back whole, and what breaks off is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from refusals import refused_with

from core.errors import Reason, Refused, SettingsError, StorageError
from core.protocol import Head, HolderSignature, LedgerState, digest
from core.wire import federation_pb2 as pb
from core.wire import streams
from core.wire.dialing import _Outage, check_address
from core.wire.status import STATUS

RUN = "0123456789abcdef"
LEDGER = LedgerState(Head(7, bytes(32)), b"l" * 16, (("h9", b"m" * 16),))
SIGNATURES = (HolderSignature("h1", b"1" * 64, LEDGER), HolderSignature("h2", b"2" * 64, LEDGER))


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
    with refused_with(reason):
        streams.read_chunks(altered(kind), limit=1 << 20)


def test_an_announced_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    def endless():  # type: ignore[no-untyped-def]
        yield pb.Chunk(header=pb.PayloadHeader(length=1 << 40))
        raise AssertionError("the payload was read")

    with pytest.raises(Refused, match="at most 100"):
        streams.read_chunks(endless(), limit=100)


def test_a_model_comes_back_as_an_array_of_our_own() -> None:
    vector = np.linspace(-1, 1, 100_000)
    model = streams.model_of(
        *streams.read_chunks(streams.model_chunks(streams.model_bytes(vector), RUN, 7, SIGNATURES), limit=8 * 100_000),
        values=100_000,
    )
    assert (model.run, model.round, model.endorsements) == (RUN, 7, SIGNATURES)
    copy = model.vector
    assert np.array_equal(copy, vector)
    assert copy.flags.owndata
    assert copy.flags.writeable
    assert copy.flags.aligned


def test_models_of_another_shape_type_or_with_infinities_are_refused() -> None:
    chunks = list(streams.model_chunks(streams.model_bytes(np.zeros(4)), RUN, 1, ()))
    with pytest.raises(Refused, match="at most 24"):
        streams.model_of(*streams.read_chunks(chunks, limit=8 * 3), values=3)
    chunks[0].header.dtype = "<f4"
    with pytest.raises(Refused, match="f4"):
        streams.model_of(*streams.read_chunks(chunks, limit=8 * 4), values=4)
    with pytest.raises(Refused, match="finite"):
        streams.model_of(
            *streams.read_chunks(
                streams.model_chunks(streams.model_bytes(np.array([0.0, np.inf])), RUN, 1, ()), limit=8 * 2
            ),
            values=2,
        )


BROKEN = SimpleNamespace(exception=lambda: ConnectionError("reset"))


def attempts(*begun_and_failed: tuple[float, float]) -> list[bool]:
    """Whether a caller with a patience of 60 seconds gives up after each attempt, begun and failed at these times."""
    outage, start = _Outage(60.0, silence=30.0, silent_for=0.0), begun_and_failed[0][0]
    states = [
        SimpleNamespace(start_time=start, outcome_timestamp=failed, outcome=BROKEN) for _, failed in begun_and_failed
    ]
    return [outage(state) for state in states]  # type: ignore[arg-type]


def test_patience_is_for_the_outage_and_not_for_what_went_well_before() -> None:
    assert attempts((0, 0.1), (1, 1.1), (59, 59.9), (60, 60.2)) == [False, False, False, True]
    assert attempts((0, 3600), (3601, 3601.1), (3629, 3629.9), (3630, 3630.1)) == [False, False, False, True], (
        "a stream that was quiet for an hour, and broke"
    )
    assert attempts((0, 30), (31, 61)) == [False, True], "unanswered calls are part of the outage"


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
