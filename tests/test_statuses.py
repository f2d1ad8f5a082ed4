"""What a handler raises reaches the caller as a status: refusals by name, anything else without detail."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from in_process import Start

from core.checks import Verifier
from core.errors import Reason, Refused, SettingsError, StorageError
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import PARTY_KEY
from core.wire.status import REASON_KEY, STATUS, refusal_of
from server.lanes import Lanes
from server.service import listen

RUN = "0123456789abcdef"


def named(name: str) -> tuple[tuple[str, str], ...]:
    return ((PARTY_KEY, f"{name.partition('-')[0]}/{name}"),)


class Broken:
    """A run whose every answer is the same exception."""

    def __init__(self, verifier: Verifier, error: Exception) -> None:
        self.error, self.refusals = error, Counter[Reason]()
        self.context = SimpleNamespace(id=RUN, verifier=verifier)
        self.lanes = Lanes()

    def count_refusal(self, reason: Reason) -> None:
        self.refusals[reason] += 1

    async def served_model(self, round_number: int | None) -> Any:
        raise self.error

    def step(self) -> Any:
        raise self.error


async def failures(start: Start, *errors: Exception) -> list[grpc.aio.AioRpcError]:
    """What a caller sees of each error, of a call with one answer and of one that streams."""
    verifier = (await start(gather=False)).verifier
    broken, found = Broken(verifier, errors[0]), []
    server, port = await listen(broken, "127.0.0.1:0", plaintext=True)  # type: ignore[arg-type]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for broken.error in errors:
            decline = pb.Decline(run=RUN, round=1, attempt=1, reason="bad_sum")
            declining = rpc.KeyHoldingStub(channel).DeclineTask(decline, metadata=named("keyholder-1"))
            model = rpc.FederationStub(channel).FetchModel(pb.ModelRequest(), metadata=named("client-1"))
            for call in (declining, model.read()):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call
                found.append(caught.value)
    await server.stop(None)
    assert sum(broken.refusals.values()) == len(found) - 2 * sum(type(e) is RuntimeError for e in errors)
    return found


async def test_every_reason_arrives_with_its_name_status_and_sentence(start: Start) -> None:
    errors = [Refused(reason, f"this is why: {reason}") for reason in Reason]
    found = await failures(start, *errors)
    for error, both in zip(errors, zip(found[::2], found[1::2], strict=True), strict=True):
        for failed in both:
            assert failed.code() is STATUS[error.reason]
            assert failed.details() == str(error)
            assert dict(failed.trailing_metadata())[REASON_KEY] == error.reason.value
            back = refusal_of(failed)
            assert back is not None
            assert (back.reason, str(back)) == (error.reason, str(error))


def test_no_refusal_looks_like_a_connection_that_broke() -> None:
    """Those statuses are what a caller tries again for."""
    transient = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
    assert not transient & set(STATUS.values())
    assert grpc.StatusCode.OK not in STATUS.values()
    assert set(STATUS) == set(Reason)


async def test_what_is_unexpected_arrives_without_detail(start: Start) -> None:
    for error in await failures(start, RuntimeError("p = 17")):
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "17" not in str(error.details())
        assert REASON_KEY not in dict(error.trailing_metadata())


async def test_a_disk_that_cannot_be_used_asks_to_try_again_and_names_no_path(start: Start) -> None:
    for error in await failures(start, StorageError("/home/anna/state is full")):
        assert dict(error.trailing_metadata())[REASON_KEY] == "storage"
        assert "anna" not in str(error.details())


async def test_an_address_that_cannot_be_used_is_one_sentence(start: Start) -> None:
    broken = Broken((await start(gather=False)).verifier, RuntimeError())
    server, port = await listen(broken, "127.0.0.1:0", plaintext=True)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}; it is in use"):
        await listen(broken, f"127.0.0.1:{port}", plaintext=True)  # type: ignore[arg-type]
    await server.stop(None)
