"""A thousand clients at once in one round, each on its own mutual TLS connection, at a real aggregator's process.

They are the product's own sessions in one event loop: they check, train, encrypt, sign, commit and upload.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.tasks.task import Task
from core.training import Dataset
from core.wire import federation_pb2_grpc as rpc
from core.wire.calls import Ask, Call, Conversation, Dialogue, Download, Upload
from core.wire.dialing import AggregatorConnection, channel_credentials, channel_options
from core.wire.status import refusal_of
from core.wire.streams import read_chunks
from faults.live import LiveHolder, Worker, errors_of, homes_of, judge
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import POLICY, Parties, scratch
from faults.process import serving
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

PATIENCE = 180.0
MOST_SECONDS = 60.0
MOST_MB = 1073.7
"""1 GiB."""


@dataclass
class Crowd:
    """Everyone's session, and the receipts that they were given."""

    parties: Parties
    address: str
    sessions: dict[str, ClientSession]
    receipts: list[Noted]


def run(options: Options) -> Iterator[Outcome]:
    """Yield one round with 1,000 clients; quick: with 50."""
    clients = options.count(long=1000, quick=50)
    what = f"{clients} clients at once in one round, each with its own mTLS connection"
    with (
        timed("crowd", what, options.slack) as outcome,
        scratch(on_disk=True) as folder,
        known(slot_task(clients)) as task,
    ):
        outcome.add(one_round(folder, task, clients, outcome), f"{clients} clients")
    yield outcome


def one_round(folder: Path, task: Task, clients: int, outcome: Outcome) -> list[str]:
    """Play one round with this many clients, and return what went wrong."""
    parties = Parties(folder, clients=clients)
    rules = RoundRules(holders=3, threshold=2,
        rounds=1, min_cohort=clients, max_cohort=clients, target=clients, patience_seconds=PATIENCE,
        round_seconds=PATIENCE, upload_seconds=PATIENCE, answer_seconds=PATIENCE,
    )  # fmt: skip
    homes = homes_of(parties, folder, 1)
    with serving(parties, folder / "server", clients, rules) as server:
        crowd = Crowd(parties, f"127.0.0.1:{server.port}", sessions_of(parties, task), [])
        holders: list[Worker] = [
            LiveHolder(parties, name, home, lambda name: AggregatorConnection(crowd.address, PATIENCE, parties[name]))
            for name, home in homes.items()
        ]
        for holder in holders:
            holder.start()
        started = time.perf_counter()
        found = asyncio.run(everyone(crowd))
        seconds = time.perf_counter() - started
        memory = server.peak_mb()
        found += errors_of(holders, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        outcome.measured = (
            f"{seconds:.1f} s from the first connection to the end of the run; server at most {memory:.0f} MB"
        )
        found += [] if seconds <= MOST_SECONDS * outcome.slack else [f"it took {seconds:.1f} s"]
        found += [] if memory <= MOST_MB else [f"the server took {memory:.0f} MB"]
        return found + judge(parties, folder / "server", homes, rules, crowd.receipts)


def sessions_of(parties: Parties, task: Task) -> dict[str, ClientSession]:
    """Return the product's client for every member, by name."""

    def load(seed: int, number: int) -> Dataset:
        return task.prepare(task.generate(seed, number))

    return {
        name: ClientSession(Participant(parties[name], task, POLICY, load, SYSTEM_CLOCK)) for name in parties.clients
    }


async def everyone(crowd: Crowd) -> list[str]:
    """Run all clients at once, and return what went wrong with any."""
    ends = await asyncio.gather(*(run_client(crowd, name) for name in crowd.sessions), return_exceptions=True)
    return [f"{name}: {end!r:.200}" for name, end in zip(crowd.sessions, ends, strict=True) if end is not None]


async def run_client(crowd: Crowd, name: str) -> None:
    """One client from its connection to the end of the run."""
    session = crowd.sessions[name]
    async with AsyncConnection(crowd, name) as connection:
        async for notice in connection.subscribe(session.subscription()):
            await connection.converse(session.answer(notice))
            if session.ending is not None:
                return
    raise AssertionError("the stream ended before the run")


class AsyncConnection:
    """The gRPC driver of a client that shares its event loop with all others; receipts are noted."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        identity = crowd.parties[name]
        options = (*channel_options(identity), ("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.aio.secure_channel(crowd.address, channel_credentials(identity), options=options)
        self._methods = vars(rpc.FederationStub(self.channel))
        self._receipts, self._name, self._session = crowd.receipts, name, crowd.sessions[name]

    async def __aenter__(self) -> AsyncConnection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    def subscribe(self, call: Ask) -> AsyncIterator[Any]:
        """Return what the aggregator pushes."""
        stream: AsyncIterator[Any] = self._methods[call.method](call.message, timeout=PATIENCE, wait_for_ready=True)
        return stream

    async def converse(self, dialogue: Dialogue[None]) -> None:
        """Carry a dialogue's calls until it ends."""
        conversation = Conversation(dialogue)
        while conversation.asking is not None:
            try:
                reply = await self.carry(conversation.asking)
            except grpc.aio.AioRpcError as error:
                if (refusal := refusal_of(error)) is None:
                    raise
                conversation.refuse(refusal)
            else:
                conversation.reply(reply)

    async def carry(self, call: Call) -> Any:
        """Make one call and return its reply."""
        method = self._methods[call.method]
        match call:
            case Ask(message=message):
                reply = await method(message, timeout=PATIENCE)
            case Upload():
                reply = await method(call.messages(), timeout=PATIENCE)
            case Download(message=message, limit=limit):
                return read_chunks([chunk async for chunk in method(message, timeout=PATIENCE)], limit)
        submission = self._session.participant.last
        assert submission is not None
        id = submission.header.id
        self._receipts.append(Noted(self._name, id.round, id.attempt, call.method.lower(), reply.sha256))
        return reply
