"""Malformed messages on the wire, with a good certificate: no call is answered with INTERNAL or UNKNOWN."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.dialing import channel_credentials, channel_options
from faults.corpus import STREAMS_IN, GoodCall, good_calls
from faults.fuzz_calls import FORBIDDEN, RULES
from faults.mutation import mutated, mutated_bytes
from faults.parties import Parties
from faults.trials import run_world
from faults.world import World
from server.call_limits import CallLimits
from server.service import listen
from server.states import Uploading

AT_ONCE = 16
SECONDS = 10.0
METHODS = {
    method.name: f"/{service.full_name}/{method.name}"
    for service in pb.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
STREAMS_OUT = ("Join", "FetchModel", "FetchRoster", "Attend", "FetchSubmissions", "FetchOpenedSum", "Watch")


class Wire:
    """A served world, and a channel for each caller."""

    def __init__(self, world: World, port: int, parties: Parties) -> None:
        self.calls = good_calls(world)
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._port, self._parties = port, parties

    def channel(self, caller: str) -> grpc.aio.Channel:
        if caller not in self._channels:
            identity = self._parties[caller.partition("/")[2]]
            self._channels[caller] = grpc.aio.secure_channel(
                f"127.0.0.1:{self._port}", channel_credentials(identity), options=channel_options(identity)
            )
        return self._channels[caller]

    async def send(self, call: GoodCall, raw: list[bytes]) -> grpc.StatusCode:
        """Return one call with these bytes as its messages, and how it ended."""
        channel: Any = self.channel(call.caller)  # its types know of no calls with bytes
        path = METHODS[call.name]
        try:
            if call.name in STREAMS_IN:
                await channel.stream_unary(path)(_stream(raw), timeout=SECONDS)
            elif call.name in STREAMS_OUT:
                # A key holder's stream is silent as long as there is nothing to do.
                answer = channel.unary_stream(path)(raw[0], timeout=SECONDS if call.name != "Attend" else 0.2)
                await answer.read()
                answer.cancel()
            else:
                await channel.unary_unary(path)(raw[0], timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


async def _stream(messages: list[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def malformed(message: Message, rng: random.Random) -> bytes:
    """Return bytes that are no message, or one that is not as it should be."""
    if rng.random() < 0.5:
        return mutated_bytes(message.SerializeToString(), rng)
    changed = mutated(message, rng)
    return rng.randbytes(rng.randrange(200)) if changed is None else changed.SerializeToString()


def one_run(parties: Parties, folder: Path, task: Task, seed: int, count: int, codes: Counter[str]) -> list[str]:
    """Send `count` malformed calls in the middle of one run, and judge it at its end."""
    rng = random.Random(seed)  # noqa: S311
    return run_world(
        lambda: World(parties, folder, task, RULES, seed=seed), lambda world: fuzz(world, parties, count, rng, codes)
    )


async def fuzz(world: World, parties: Parties, count: int, rng: random.Random, codes: Counter[str]) -> list[str]:
    """Send `count` malformed calls while clients upload; the run must then go on as if nothing had happened."""
    await world.play(until=lambda: isinstance(world.phase, Uploading))
    server, port = await listen(world.aggregator.run, "127.0.0.1:0", limits=CallLimits(time.monotonic, rates={}))
    wire = Wire(world, port, parties)
    found: list[str] = []
    left = iter(range(count))

    async def sender() -> None:
        for _ in left:
            call = rng.choice(wire.calls)
            raw = [malformed(message, rng) for message in call.messages]
            code = await wire.send(call, raw)
            codes[code.name] += 1
            if code in FORBIDDEN:
                found.append(f"{call.name} ended as {code.name} for {raw!r:.300}")

    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    await wire.close()
    await server.stop(grace=None)
    await world.play()
    return found + await world.end()
