"""Follow a run as an observer: the aggregator's status stream, opened anew whenever it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from core.identity.party import PartyIdentity
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire import proxies
from core.wire.dialing import STREAM_SECONDS, channel_credentials, channel_options, plaintext_metadata
from core.wire.status import refusal_of

AGAIN_SECONDS = 0.2
"""Pause before a broken stream is opened anew."""


async def watch(
    address: str,
    identity: PartyIdentity,
    take: Callable[[pb.Progress], None],
    lost: Callable[[str], None] = lambda _why: None,
    *,
    plaintext: bool = False,
) -> None:
    """Hand each message of the status stream to `take` until the aggregator ends the stream: the run is over.

    A stream that breaks is opened anew: it has reached its deadline, or a hundred clients are just being started, or
    the aggregator is away.

    Args:
        lost: called with the reason when a stream breaks.
    """
    request, metadata = pb.WatchRequest(), plaintext_metadata(identity) if plaintext else ()
    async with _channel(address, identity, plaintext) as channel:
        while True:
            try:
                stream = rpc.ObservationStub(channel).Watch
                async for progress in stream(request, timeout=STREAM_SECONDS, metadata=metadata):
                    take(progress)
            except grpc.aio.AioRpcError as error:
                lost(str(refusal_of(error) or f"no answer from {address}"))
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


def _channel(address: str, identity: PartyIdentity, plaintext: bool) -> grpc.aio.Channel:
    if plaintext:
        return grpc.aio.insecure_channel(address, options=[proxies.channel_option(address)])
    options = channel_options(identity, address)
    return grpc.aio.secure_channel(address, channel_credentials(identity), options=options)
