"""Floods against an aggregator, each in a process of its own: KIND ADDRESS COUNT IDENTITY.

The process prints one line when the flood has begun, and goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count as counting
from pathlib import Path

import grpc

from core.identity.party import PartyIdentity, load_identity
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import channel_credentials, channel_options
from server.connections import raise_file_limit

CHANNELS = 8
AT_ONCE = 64
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)


class Flood:
    """One attacker: an address to flood, how often, and the identity of a member for floods of calls."""

    def __init__(self, address: str, count: int, identity: PartyIdentity) -> None:
        self.address, self.count, self.identity = address, count, identity
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    async def silent_sockets(self) -> None:
        """Open TCP connections, and never send a byte."""
        await self._sockets(b"")

    async def slow_handshakes(self) -> None:
        """Begin TLS handshakes, one byte a second."""
        await self._sockets(HELLO)

    async def _sockets(self, hello: bytes) -> None:
        held = [socket.create_connection((self._host, self._port)) for _ in range(self.count)]
        _say_begun()
        for byte in hello:
            for place, each in enumerate(held):
                with suppress(OSError):
                    each.send(bytes([byte]))
                if place % 100 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(1.0)
        await asyncio.Event().wait()

    async def watch_streams(self) -> None:
        """Open streams of progress, as a member, over several connections, and read none of them."""
        channels = [self._channel(number) for number in range(CHANNELS)]
        await asyncio.gather(*(self._watch(channel) for channel in channels))
        _say_begun()
        calls = [rpc.ObservationStub(channels[i % CHANNELS]).Watch(pb.WatchRequest()) for i in range(self.count)]
        await asyncio.gather(*(self._read_first(call) for call in calls))
        await asyncio.Event().wait()

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        await channel.channel_ready()

    async def _read_first(self, call: grpc.aio.UnaryStreamCall) -> None:  # type: ignore[type-arg]
        with suppress(grpc.aio.AioRpcError):
            await call.read()
            await asyncio.Event().wait()

    async def joins(self) -> None:
        """Join as one client again and again."""
        task = pb.JoinRequest(task="spam", task_digest=bytes(32), instance=bytes(16))
        await self._calls(lambda channel: rpc.FederationStub(channel).Join(task).read())

    async def commitments(self) -> None:
        """Send commitments without a valid signature, again and again."""
        signed = pb.SignedCommitment(commitment=bytes(200), signature=bytes(64))
        request = pb.CommitRequest(commitment=signed)
        await self._calls(lambda channel: rpc.FederationStub(channel).Commit(request))

    async def _calls(self, call: Callable[[grpc.aio.Channel], Awaitable[object]]) -> None:
        channels = [self._channel(number) for number in range(CHANNELS)]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        _say_begun()
        numbers = counting()

        async def repeat() -> None:
            while next(numbers) < self.count:
                with suppress(grpc.aio.AioRpcError):
                    await call(channels[next(numbers) % CHANNELS])

        await asyncio.gather(*(repeat() for _ in range(AT_ONCE)))
        await asyncio.Event().wait()

    def _channel(self, number: int) -> grpc.aio.Channel:
        own = (("grpc.use_local_subchannel_pool", 1), ("flood", number))
        options = (*channel_options(self.identity), *own)
        return grpc.aio.secure_channel(self.address, channel_credentials(self.identity), options=options)


KINDS: dict[str, Callable[[Flood], Awaitable[None]]] = {
    "silent sockets": Flood.silent_sockets,
    "slow handshakes": Flood.slow_handshakes,
    "watch streams": Flood.watch_streams,
    "joins": Flood.joins,
    "commitments": Flood.commitments,
}


def _say_begun() -> None:
    print("begun", flush=True)


def main() -> None:
    """Begin the flood that the arguments name."""
    kind, address, count, folder = sys.argv[1:]
    raise_file_limit()
    asyncio.run(KINDS[kind](Flood(address, int(count), load_identity(Path(folder)))))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
