"""What clients ask of the run: to join, to commit, to hand in what they committed to."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, closing
from typing import BinaryIO

import structlog

from core.checks import check_same_task
from core.errors import Reason, Refused
from core.identity.members import Member
from core.protocol import Signed, SubmissionHeader, Timings
from core.wire import federation_pb2 as pb
from core.wire.streams import Assembly
from server import metrics, notices, states
from server.attempt import Attempt
from server.audience import Outbox
from server.coordinator import Coordinator, undisturbed

log = structlog.get_logger()


class ClientCalls:
    """The clients' side of one run."""

    def __init__(self, run: Coordinator) -> None:
        self._run = run
        self._uploads: dict[str, asyncio.Lock] = {}

    @undisturbed
    async def join(self, caller: Member, request: pb.JoinRequest, outbox: Outbox[pb.Notice]) -> None:
        """Enrol a client and begin its stream with its welcome."""
        check_same_task(request.task, request.task_digest, self._run.task)
        async with self._run.lock:
            await self._run.work(self._run.store.enrol, self._run.run, caller.name)
            self._run.audience.seat_client(caller.name, outbox)
            outbox.push(notices.welcome(self._run.run, self._run.settings))
            log.info("joined", client=caller.name, number=caller.number)
            await self._run.apply(states.ClientJoined(caller.name))

    @undisturbed
    async def leave(self, client: str, outbox: Outbox[pb.Notice]) -> None:
        """A client's stream ended; nothing happens if it was never seated, or another has taken its place."""
        async with self._run.lock:
            if await self._run.audience.unseat_client(client, outbox):
                await self._run.apply(states.ClientLeft(client))

    @undisturbed
    async def commit(self, caller: Member, signed: Signed, timings: Timings) -> pb.Receipt:
        """Take a client's commitment; the receipt means that it is on disk."""
        async with self._run.lock:
            attempt = await self._open_attempt(caller.name)
            self._check_chosen(caller.name, attempt)
            commitment, new = await self._run.work(attempt.commit, caller.name, signed, timings, self._run.trust)
            metrics.COMMITMENTS.inc(new)
            log.info("commitment", client=caller.name, round=attempt.id.round, attempt=attempt.id.attempt, new=new)
            await self._run.apply(states.CommitmentStored(attempt.id.round, attempt.id.attempt, caller.name))
        return pb.Receipt(sha256=commitment.digest, repeated=not new)

    def upload_of(self, client: str) -> AbstractAsyncContextManager[None]:
        """Take in one upload of a client at a time: more would be memory for nothing."""
        return self._uploads.setdefault(client, asyncio.Lock())

    async def announce(self, caller: Member, header: SubmissionHeader) -> pb.Receipt | int:
        """Before the payload is sent: its receipt if it is on disk already, else the length it must have."""
        async with self._run.lock:
            if await self._run.work(self._run.store.has_payload, header.id, caller.name, header.digest):
                return pb.Receipt(sha256=header.digest, repeated=True)
            attempt = await self._open_attempt(caller.name)
            attempt.check_header(header)
            return attempt.payload_bytes

    def spool(self) -> BinaryIO:
        """Open a nameless file for an update while it arrives: however many send at once, memory holds one update."""
        return self._run.store.spool()

    @undisturbed
    async def submit(self, caller: Member, header: SubmissionHeader, update: Assembly, bytes_up: int) -> pb.Receipt:
        """Take one update that has arrived whole, and close it; the receipt means that it is on disk."""
        with closing(update):
            async with self._run.lock:
                attempt = await self._open_attempt(caller.name)
                new = await self._run.work(lambda: attempt.submit(header, caller.name, update.whole(), bytes_up))
                metrics.UPDATES.inc(new)
                log.info("update", client=caller.name, round=header.id.round, attempt=header.id.attempt, new=new)
                await self._run.apply(states.SubmissionStored(header.id.round, header.id.attempt, caller.name))
            return pb.Receipt(sha256=header.digest, repeated=not new)

    async def _open_attempt(self, client: str) -> Attempt:
        if not await self._run.work(self._run.store.is_enrolled, self._run.run, client):
            raise Refused(Reason.NOT_ENROLLED, f"{client!r} has not joined; join before taking part")
        if self._run.attempt is None:
            raise Refused(Reason.ROUND_NOT_OPEN, "no round is open")
        return self._run.attempt

    def _check_chosen(self, client: str, attempt: Attempt) -> None:
        """A cohort has no more clients than there is room for in a slot: whom the rules left out commits to nothing."""
        phase = self._run.phase
        if isinstance(phase, states.Committing) and client not in phase.expected:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{client!r} was not chosen for {attempt.id}")
