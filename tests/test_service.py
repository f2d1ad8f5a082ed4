"""What a handler raises reaches the caller as a status: refusals by name, anything else without detail."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from core.errors import Reason, Refused, StorageError
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.status import REASON_KEY, STATUS
from server.service import listen


class Broken:
    """A coordinator whose every answer is the same exception."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def model(self, round_number: int | None) -> Any:
        raise self.error

    async def decline(self, id: object, sentence: str) -> None:
        raise self.error


def failure(error: Exception, call: str) -> grpc.aio.AioRpcError:
    async def ask() -> grpc.aio.AioRpcError:
        server, port = await listen(Broken(error), "127.0.0.1:0")  # type: ignore[arg-type]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                if call == "streamed":
                    async for _ in rpc.FederationStub(channel).FetchModel(pb.ModelRequest()):
                        pass
                else:
                    decline = pb.Decline(run="0" * 16, round=1, attempt=1, reason="bad_sum")
                    await rpc.KeyHoldingStub(channel).DeclineRelease(decline)
            except grpc.aio.AioRpcError as failed:
                return failed
            finally:
                await server.stop(None)
        raise AssertionError("nothing was raised")

    return asyncio.run(ask())


@pytest.mark.parametrize("call", ["streamed", "answered"])
@pytest.mark.parametrize("reason", [Reason.BAD_SUM, Reason.NO_MODEL, Reason.DUPLICATE])
def test_a_refusal_arrives_with_its_name_status_and_sentence(reason: Reason, call: str) -> None:
    error = failure(Refused(reason, "this is why"), call)
    assert error.code() is STATUS[reason]
    assert error.details() == "this is why"
    assert dict(error.trailing_metadata())[REASON_KEY] == reason.value


@pytest.mark.parametrize("call", ["streamed", "answered"])
def test_what_is_unexpected_arrives_without_detail(call: str) -> None:
    error = failure(RuntimeError("p = 17"), call)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "17" not in error.details()


@pytest.mark.parametrize("call", ["streamed", "answered"])
def test_a_disk_that_cannot_be_used_asks_to_try_again_and_names_no_path(call: str) -> None:
    error = failure(StorageError("/home/anna/state is full"), call)
    assert dict(error.trailing_metadata())[REASON_KEY] == "storage"
    assert "anna" not in error.details()
