"""Clients that are slow on purpose: rounds still close at their deadlines, and others do not have to wait.

Half of the slow connections never get through the TLS handshake, half are clients of the federation that have committed
and send one byte of their update a second.
"""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc

from client.session import ClientSession
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import AggregatorConnection
from core.wire.messages import submission_header_to_wire
from faults.crowd import AsyncConnection, Crowd, sessions_of
from faults.live import LiveHolder, Worker, errors_of, homes_of, judge
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

HONEST = 8
PATIENCE = 120.0
TOLERANCE = 1.0
"""Seconds that a round may close before or after its deadline."""
CALLS = 1000
"""As many honest calls are measured at each stage, if there is the time."""
FEWEST_CALLS = 2
"""A percentile needs two."""
MOST_OF_A_STAGE = 0.4
"""Calls are measured for at most this part of a deadline, as the client that measures has to meet it too."""
NOISE_SECONDS = 0.01
"""A latency below this is not looked at: it is the machine's."""


class Meeting:
    """What the clients of one trial share: when something was first pushed, and measured latencies."""

    def __init__(self, deadline: float) -> None:
        self._measuring = MOST_OF_A_STAGE * deadline
        self.opened_at = self.listed_at = self.over_at = 0.0
        self.before: list[float] = []
        self.during: list[float] = []

    async def note(self, kind: str | None, connection: AsyncConnection, *, measures: bool) -> None:
        """Note when something was first pushed; one client measures before it answers."""
        stub = rpc.FederationStub(connection.channel)
        match kind:
            case "round_opened":
                self.opened_at = self.opened_at or time.monotonic()
                self.before = await _latencies(stub, self._measuring) if measures else self.before
            case "list_closed":
                self.listed_at = self.listed_at or time.monotonic()
                self.during = await _latencies(stub, self._measuring) if measures else self.during
            case "round_closed":
                self.over_at = self.over_at or time.monotonic()


def run(options: Options) -> Iterator[Outcome]:
    """200 slow connections, and the slowest percent of honest calls; quick: 20, shorter deadlines, and the median."""
    slow = options.count(long=200, quick=20)
    deadline = float(options.count(long=20, quick=4))
    what = f"{slow} connections of one byte a second: half in the handshake, half in the middle of an update"
    with timed("slow-clients", what, options.slack) as outcome:
        clients = HONEST + slow // 2
        with scratch() as folder, known(slot_task(clients + 1)) as task:
            found = one_run(folder, task, slow // 2, deadline, outcome, 50 if options.quick else 99)
            outcome.add(found, f"{slow} slow")
    yield outcome


def one_run(folder: Path, task: Task, slow: int, deadline: float, outcome: Outcome, percentile: int) -> list[str]:
    """Return what went wrong in one round. One more client joins, and never commits."""
    parties = Parties(folder, clients=HONEST + slow + 1)
    count = len(parties.clients)
    rules = RoundRules(holders=3, threshold=2,
        rounds=1, min_cohort=2, max_cohort=count, target=count, patience_seconds=PATIENCE,
        round_seconds=deadline, upload_seconds=deadline, answer_seconds=PATIENCE,
    )  # fmt: skip
    homes = homes_of(parties, folder, 1)
    with serving(parties, folder / "server", count, rules) as server:
        address = f"127.0.0.1:{server.port}"
        together = Crowd(parties, address, sessions_of(parties, task), [])
        holders: list[Worker] = [
            LiveHolder(parties, name, home, lambda name: AggregatorConnection(address, PATIENCE, parties[name]))
            for name, home in homes.items()
        ]
        for holder in holders:
            holder.start()
        meeting = asyncio.run(_meet(together, slow, deadline))
        found = errors_of(holders, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        found += _judge(meeting, deadline, outcome, percentile)
        return found + judge(parties, folder / "server", homes, rules, together.receipts)


def _judge(meeting: Meeting, deadline: float, outcome: Outcome, percentile: int) -> list[str]:
    closed, fixed = meeting.listed_at - meeting.opened_at, meeting.over_at - meeting.listed_at
    before, during = (statistics.quantiles(times, n=100)[percentile - 1] for times in (meeting.before, meeting.during))
    outcome.measured = (
        f"deadlines of {deadline:g} s: list closed after {closed:.2f} s, sum opened {fixed:.2f} s later; "
        f"p{percentile} of an honest call {before * 1e3:.1f} ms alone, {during * 1e3:.1f} ms next to them"
    )
    found = [
        f"{what} closed after {seconds:.2f} s, its deadline was {deadline:g} s"
        for what, seconds in (("the list", closed), ("uploading", fixed))
        if not -TOLERANCE <= seconds - deadline <= TOLERANCE * outcome.slack
    ]
    if during > max(2 * before, NOISE_SECONDS) * outcome.slack:
        found.append(f"p{percentile} of an honest call went from {before * 1e3:.1f} to {during * 1e3:.1f} ms")
    return found


async def _meet(together: Crowd, slow: int, deadline: float) -> Meeting:
    meeting = Meeting(deadline)
    names = list(together.sessions)
    host, _, port = together.address.rpartition(":")
    handshakes = [asyncio.ensure_future(_dribble(host, int(port), meeting)) for _ in range(slow)]
    tasks = [_member(together, name, meeting, _role(place)) for place, name in enumerate(names)]
    await asyncio.gather(*tasks)
    for task in handshakes:
        task.cancel()
    await asyncio.gather(*handshakes, return_exceptions=True)
    return meeting


def _role(place: int) -> str:
    return "silent" if place == 0 else "measures" if place == 1 else "honest" if place <= HONEST else "slow"


async def _member(together: Crowd, name: str, meeting: Meeting, role: str) -> None:
    """One client, honest or not, until the run is over."""
    session = together.sessions[name]
    async with AsyncConnection(together, name) as connection:
        async for notice in connection.subscribe(session.subscription()):
            kind = notice.WhichOneof("notice")
            if role == "silent" and kind == "round_opened":
                continue
            await meeting.note(kind, connection, measures=role == "measures")
            if role == "slow" and kind == "list_closed":
                asyncio.ensure_future(_send_slowly(connection, session, meeting))  # noqa: RUF006  the run ends it
                continue
            await connection.converse(session.answer(notice))
            if session.ending is not None:
                return


async def _send_slowly(connection: AsyncConnection, session: ClientSession, meeting: Meeting) -> None:
    submission = session.participant.last
    assert submission is not None
    call = rpc.FederationStub(connection.channel).Submit(timeout=PATIENCE)
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(pb.SubmitRequest(header=submission_header_to_wire(submission.header)))
        await asyncio.sleep(random.random())  # noqa: S311  they are not slow in step
        for place in range(len(submission.payload)):
            await call.write(pb.SubmitRequest(data=submission.payload[place : place + 1]))
            await asyncio.sleep(1.0)
            if meeting.over_at:
                break
        call.cancel()


async def _latencies(stub: rpc.FederationStub, seconds: float) -> list[float]:
    """Return seconds of each of some hundred small calls, one after the other, when the others have settled down."""
    until = time.monotonic() + seconds
    await asyncio.sleep(1.0)
    found: list[float] = []
    while len(found) < CALLS and (len(found) < FEWEST_CALLS or time.monotonic() < until):
        started = time.perf_counter()
        async for _chunk in stub.FetchModel(  # type: ignore[attr-defined]
            pb.ModelRequest(round=0), timeout=PATIENCE
        ):
            pass
        found.append(time.perf_counter() - started)
    return found


async def _dribble(host: str, port: int, meeting: Meeting) -> None:
    """Begin a TLS handshake, one byte a second, once updates are being sent."""
    while not meeting.listed_at:
        await asyncio.sleep(0.05)
    await asyncio.sleep(random.random())  # noqa: S311
    with suppress(OSError):
        _, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
        try:
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1.0)
        finally:
            writer.close()
