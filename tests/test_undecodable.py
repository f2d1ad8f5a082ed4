"""Bytes that are no message are refused by name on every call, and on every message of a stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from core.errors import Reason
from core.wire import federation_pb2 as pb
from core.wire.dialing import channel_credentials, channel_options
from core.wire.status import REASON_KEY
from faults.corpus import CLIENT_CALLS, HOLDER_CALLS, STREAMS_IN
from faults.fuzz_calls import CLIENTS, RULES
from faults.fuzz_wire import METHODS, STREAMS_OUT
from faults.parties import Parties
from faults.world import World
from server.service import listen
from simulation.slot_task import known, slot_task

NO_MESSAGE = b"\xff\xff"
CALLS = [*(("client-1", call) for call in CLIENT_CALLS), *(("keyholder-1", call) for call in HOLDER_CALLS)]


async def answer_to(channel: grpc.aio.Channel, call: str, *messages: bytes) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    try:
        if call in STREAMS_IN:
            await channel.stream_unary(METHODS[call])(iter(messages))
        elif call in STREAMS_OUT:
            await channel.unary_stream(METHODS[call])(messages[0]).read()
        else:
            await channel.unary_unary(METHODS[call])(messages[0])
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"{call} was answered")


def test_what_is_no_message_is_refused_as_malformed_on_every_call(tmp_path: Path) -> None:
    async def story() -> None:
        world = World(parties, tmp_path / "world", task, RULES)
        await world.start()
        server, port = await listen(world.aggregator.run, "127.0.0.1:0")
        try:
            for caller, call in CALLS:
                identity = parties[caller]
                secure = (channel_credentials(identity), channel_options(identity))
                async with grpc.aio.secure_channel(f"127.0.0.1:{port}", secure[0], options=secure[1]) as channel:
                    error = await answer_to(channel, call, NO_MESSAGE)
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, call
                assert (REASON_KEY, "malformed") in tuple(error.trailing_metadata()), call
            assert world.aggregator.run.refusals[Reason.MALFORMED] == len(CALLS)
        finally:
            await server.stop(None)
            await world.close()

    (tmp_path / "world").mkdir()
    with known(slot_task(CLIENTS)) as task:
        parties = Parties(tmp_path, clients=CLIENTS)
        asyncio.run(story())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_call_of_the_contract_is_tried(name: str) -> None:
    assert name in (*CLIENT_CALLS, *HOLDER_CALLS, "Watch")
    assert name in METHODS
    streams = {m.name for s in pb.DESCRIPTOR.services_by_name.values() for m in s.methods if m.server_streaming}
    assert streams == set(STREAMS_OUT)
