"""The calls of data owners on a run: join, commit, upload."""

from __future__ import annotations

import asyncio
import io
from contextlib import AbstractAsyncContextManager, closing
from typing import BinaryIO

import structlog

from core.errors import Reason, Refused
from core.identity.members import Member
from core.protocol import Signed, SubmissionHeader, Timings
from core.task_checks import check_same_task
from core.wire import federation_pb2 as pb
from core.wire.streams import SHORT_BYTES, Assembly
from core.wire.task_messages import identity_from_wire
from server import metrics, notices, states
from server.attempt import Attempt, FalseUpdate
from server.audience import Outbox
from server.concurrency import shielded_from_cancellation
from server.run import ActiveRun, Step

log = structlog.get_logger()


class Clients:
    """The data owners' side of one run."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._uploads: dict[str, asyncio.Lock] = {}
        self._enrolled: set[str] = set()
        """Clients that the store has been asked for, and has."""

    @shielded_from_cancellation
    async def join(self, caller: Member, request: pb.JoinRequest, outbox: Outbox[pb.Notice]) -> None:
        """Enrol a client and start its stream with a welcome. Raise Refused(WRONG_TASK, NAME_TAKEN or WRONG_PROOF)."""
        context = self._run.context
        identity = identity_from_wire(request.task_identity) if request.HasField("task_identity") else None
        check_same_task(request.task, request.task_digest, context.task, identity)
        async with self._run.step() as step:
            self._run.refused_clients.require_truthful(caller.name)
            await self._run.with_store(lambda store: store.enrol(context.id, caller.name))
            version = self._run.announce_roster()
            self._run.audience.seat_client(caller.name, outbox)
            outbox.push(notices.welcome(context.id, context.settings, version))
            log.info("joined", client=caller.name, number=caller.number)
            await step.apply(states.ClientJoined(caller.name))

    @shielded_from_cancellation
    async def leave(self, client: str, outbox: Outbox[pb.Notice]) -> None:
        """Forget a stream that ended; nothing happens if it was never seated, or another has taken its place."""
        async with self._run.step() as step:
            if await self._run.audience.unseat_client(client, outbox):
                await step.apply(states.ClientLeft(client))
                if not self._run.ended.done():
                    log.warning("connection lost", client=client, now=self._run.waiting_for)

    @shielded_from_cancellation
    async def commit(self, caller: Member, signed: Signed, timings: Timings) -> pb.Receipt:
        """Take a client's commitment; the receipt means that it is on disk.

        Raise Refused(STALE_MEMORY or BUDGET_SPENT) for a client that key holders sign no list with.
        """
        async with self._run.step() as step:
            attempt = await self._attempt_for(caller.name, step)
            self._run.refused_clients.require_truthful(caller.name)
            self._run.refused_clients.require_welcome(caller.name)
            commitment, new = await step.work(attempt.commit, caller.name, signed, timings, self._run.context.verifier)
            metrics.COMMITMENTS.inc(new)
            log.info("commitment", client=caller.name, round=attempt.id.round, attempt=attempt.id.attempt, new=new)
            await step.apply(states.CommitmentStored(attempt.id.round, attempt.id.attempt, caller.name))
        return pb.Receipt(sha256=commitment.digest, repeated=not new)

    async def _attempt_for(self, client: str, step: Step) -> Attempt:
        """Return the open attempt, if this client may commit in it."""
        run = self._run.context.id
        if client not in self._enrolled:
            if not await self._run.with_store(lambda store: store.is_enrolled(run, client)):
                raise Refused(Reason.NOT_ENROLLED, f"{client!r} has not joined; join before taking part")
            self._enrolled.add(client)
        attempt = _open_attempt(step)
        if isinstance(step.phase, states.Committing) and client not in step.phase.expected:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{client!r} was not chosen for {attempt.id}")
        return attempt

    # -------------------------------------------------------------------------------- uploads

    def upload_of(self, client: str) -> AbstractAsyncContextManager[None]:
        """Hold this while a client uploads: a second upload of the same client at a time would only cost memory."""
        return self._uploads.setdefault(client, asyncio.Lock())

    async def announce(self, caller: Member, header: SubmissionHeader) -> pb.Receipt | int:
        """Admit an upload: return its receipt if it is on disk already, else the length it must have.

        Raise Refused(NOT_COMMITTED or WRONG_DIGEST) unless the client committed to it, and Refused(ROUND_NOT_OPEN or
        WRONG_LENGTH) unless the open attempt can take it. For a short update that is expected, the store is asked when
        it has come.
        """
        async with self._run.step() as step:
            expected = self._run.attempt_in(states.Uploading, header.id)
            if expected is not None and _is_short(header.length) and _is_missing(caller.name, step.phase):
                expected.check_header(header)
                return expected.longest_update
            stored = lambda store: store.has_payload(header.id, caller.name, header.digest)  # noqa: E731
            if await self._run.with_store(stored):
                return pb.Receipt(sha256=header.digest, repeated=True)
            attempt = _open_attempt(step)
            attempt.check_header(header)
            return attempt.longest_update

    def spool(self, length: int) -> BinaryIO:
        """Open a nameless file for an update while it arrives, so that memory holds one at a time, or short ones."""
        return io.BytesIO() if _is_short(length) else self._run.spool()

    @shielded_from_cancellation
    async def submit(self, caller: Member, header: SubmissionHeader, update: Assembly, bytes_up: int) -> pb.Receipt:
        """Take an admitted update that has arrived whole, and close it; the receipt means that it is on disk."""
        with closing(update):
            async with self._run.step() as step:
                attempt = _open_attempt(step)  # a later one, perhaps, which refuses this update
                try:
                    new = await step.work(lambda: attempt.submit(header, caller.name, update.whole(), bytes_up))
                except FalseUpdate as refusal:
                    await self._leave_out(step, header, caller.name, refusal)
                    raise
                metrics.UPDATES.inc(new)
                log.info("update", client=caller.name, round=header.id.round, attempt=header.id.attempt, new=new)
                await step.apply(states.SubmissionStored(header.id.round, header.id.attempt, caller.name))
            return pb.Receipt(sha256=header.digest, repeated=not new)

    async def _leave_out(self, step: Step, header: SubmissionHeader, client: str, refusal: FalseUpdate) -> None:
        """Keep what shows that a client lied, and go on without it, in this attempt and in all later ones."""
        reason, why = refusal.reason.value, str(refusal)
        log.error(
            "false update", client=client, round=header.id.round, attempt=header.id.attempt, reason=reason, why=why
        )
        evidence = refusal.evidence(self._run.context.identity.roster.raw)
        await step.work(self._run.keep_evidence, client, refusal, evidence)
        await step.apply(states.SubmissionRefused(header.id.round, header.id.attempt, client))
        if client in self._run.audience.clients:
            self._run.audience.clients[client].close()


def _is_missing(client: str, phase: states.Phase) -> bool:
    """Return whether a client has committed to an update that has not come yet."""
    return isinstance(phase, states.Uploading) and client in phase.listed - phase.received


def _is_short(length: int) -> bool:
    """Return whether an update costs less in memory, or in being read in vain, than a file or a look into the store."""
    return length <= SHORT_BYTES


def _open_attempt(step: Step) -> Attempt:
    if step.attempt is None:
        raise Refused(Reason.ROUND_NOT_OPEN, "no round is open")
    return step.attempt
