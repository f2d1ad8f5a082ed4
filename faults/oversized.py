"""Messages that are too long: refused with RESOURCE_EXHAUSTED or by name, and memory stays where it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc

from core.wire import federation_pb2 as pb
from core.wire.dialing import channel_credentials, channel_options
from core.wire.status import REASON_KEY
from core.wire.streams import PIECE_BYTES
from faults.fuzz_wire import METHODS
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from server.rules import RoundRules
from server.service import LARGEST_MESSAGE
from simulation.slot_task import known, slot_task

CLIENTS = 2
MOST_MB = 64.0
GAVE_UP = "Internal error from Core"
"""What this end sometimes says, and not the aggregator, when the call is over before all was sent."""
AT_ONCE = 8
SECONDS = 30.0
RULES = RoundRules(holders=3, threshold=2, rounds=1, min_cohort=2, max_cohort=8, target=CLIENTS)
HEADER = pb.SubmissionHeader(run="0123456789abcdef", round=1, attempt=1, length=1 << 40, sha256=bytes(32))
REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


def run(options: Options) -> Iterator[Outcome]:
    """Send each kind several times, some at once."""
    times = options.count(long=100, quick=1)
    what = "messages of 1 to 64 MiB, uploads that announce a tebibyte"
    with timed("oversized", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)):
        _one_server(folder, times, outcome)
    yield outcome


def _one_server(folder: Path, times: int, outcome: Outcome) -> None:
    parties = Parties(folder, clients=CLIENTS)
    with serving(parties, folder / "server", CLIENTS, RULES) as server:
        codes: Counter[str] = Counter()
        asyncio.run(_send_all(parties, server.port, 1, Counter()))  # once, so that what is needed anyway is there
        before = server.memory_mb()
        found = asyncio.run(_send_all(parties, server.port, times, codes))
        outcome.trials = sum(codes.values())
        outcome.violations += found
        outcome.require(not server.ends_within(0.1), f"the server ended: {server.words()}")
        grown = server.peak_mb() - before
        outcome.require(grown <= MOST_MB, f"memory grew by {grown:.0f} MB")
        outcome.measured = f"{dict(codes.most_common())}; memory at most {grown:+.0f} MB"
        server.kill()


async def _send_all(parties: Parties, port: int, times: int, codes: Counter[str]) -> list[str]:
    found: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(channel: grpc.aio.Channel, call: str, size: int) -> None:
        async with gate:
            code, reason = await _one(channel, call, size)
        codes[reason if code in REFUSED and reason else code.name] += 1
        if code not in REFUSED:
            found.append(f"{call} of {size} bytes ended as {code.name} {reason}")

    for caller, calls in (("client-1", ("Commit", "Submit", "FetchModel")), ("keyholder-1", ("OfferKeys", "Release"))):
        identity = parties[caller]
        options = (*channel_options(identity), ("grpc.max_send_message_length", -1))
        secure = grpc.aio.secure_channel(f"127.0.0.1:{port}", channel_credentials(identity), options=options)
        async with secure as channel:
            sizes = (LARGEST_MESSAGE + 100, 5 << 20, 64 << 20)
            await asyncio.gather(*(send(channel, call, size) for size in sizes for call in calls for _ in range(times)))
            if caller == "client-1":
                await asyncio.gather(*(send(channel, "Submit", PIECE_BYTES + 1) for _ in range(times)))
    return found


async def _one(channel: Any, call: str, size: int) -> tuple[grpc.StatusCode, str]:
    """Make a call with one message of this many bytes; return its status, and the reason if it was refused by name."""
    long = pb.CommitRequest(commitment=pb.SignedCommitment(commitment=bytes(size))).SerializeToString()
    try:
        if call in ("Submit", "Release"):
            await channel.stream_unary(METHODS[call])(_stream(long, call), timeout=SECONDS)
        elif call == "FetchModel":
            await channel.unary_stream(METHODS[call])(long, timeout=SECONDS).read()
        else:
            await channel.unary_unary(METHODS[call])(long, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.details() == GAVE_UP:
            return grpc.StatusCode.FAILED_PRECONDITION, "gave up sending"
        named = dict(tuple(error.trailing_metadata() or ()))
        reason = named.get(REASON_KEY, "")
        return error.code(), str(reason or ("" if error.code() in REFUSED else error.details()))
    return grpc.StatusCode.OK, ""


async def _stream(long: bytes, call: str) -> AsyncIterator[bytes]:
    if call == "Submit":
        yield pb.SubmitRequest(header=HEADER).SerializeToString()
    yield long
