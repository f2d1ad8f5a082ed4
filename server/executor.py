"""What happens when the rules command something: first the store, then the streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import structlog

from core.clock import today
from core.protocol import AttemptId, ClosedList, HolderSignature, RoundResult, Signed
from core.server_rules import ServerModel
from core.wire import federation_pb2 as pb
from core.wire.streams import model_bytes, model_chunks, small_enough
from results.record import RoundRecord
from server import metrics, notices, states
from server.attempt import Attempt
from server.audience import Audience
from server.budget import prepare_epsilon, with_epsilon
from server.concurrency import Worker
from server.context import RunContext
from server.offers import KeyOffers
from server.recording import record_of
from server.records import StoredSubmission
from server.store import Store

log = structlog.get_logger()


class Executor:
    """Carries out one run's commands. Only the run calls it, under its lock.

    Attributes:
        attempt: the open attempt, if there is one.
        offers: the keys that holders offer for the next attempt.
        key: the one chosen for it.
        results: the completed rounds in order.
        on_completed: called in the worker thread with each completed round, once it is stored.
    """

    def __init__(
        self, context: RunContext, store: Store, audience: Audience, worker: Worker, clock: Callable[[], float]
    ) -> None:
        self.attempt: Attempt | None = None
        self.offers = KeyOffers(store.used_keys)
        self.key: Signed | None = None
        self.results: list[RoundResult] = []
        self.on_completed: Callable[[RoundResult], None] = lambda _result: None
        self._context = context
        self._store = store
        self._audience = audience
        self._work = worker.run
        self._clock = clock
        self._opened_at: float | None = None
        self._recorded_roster = b""
        self._to_forget = False

    async def carry_out(self, command: states.Command, state: states.RunState) -> states.Event | None:
        """Carry out one command, given in `state`; return the event that follows from it, if any."""
        match command:
            case states.RequestKey(holders=holders):
                await self._request_key(self._id(command), holders)
            case states.OpenRound(expected=expected):
                await self._open(self._id(command), expected, present=len(state.present))
            case states.InviteClient(client=client):
                await self._invite(client, state.phase)
            case states.RequestList(holders=holders):
                await self._request_list(holders)
            case states.AnnounceList():
                await self._announce_list()
            case states.LeaveOut(clients=clients, message=message):
                await self._leave_out(clients, message)
            case states.RequestRelease(holders=holders):
                await self._request_release(holders)
            case states.RequestShares(holders=holders):
                self._ask(holders, notices.lend(self._current_attempt()))
            case states.RequestEndorsement(holders=holders):
                await self._request_endorsement(holders)
            case states.CompleteRound():
                return await self._complete(self._id(command))
            case states.AbandonAttempt(message=message):
                await self._abandon(self._id(command), message)
            case states.EndRun(completed, message):
                log.info("ended", completed=completed, message=message)
        return None

    def _id(self, command: states.OfAttempt) -> AttemptId:
        return AttemptId(self._context.id, command.round, command.attempt)

    def _current_attempt(self) -> Attempt:
        """Return the open attempt; only to be asked in a phase that has one."""
        assert self.attempt is not None
        return self.attempt

    # -------------------------------------------------------------------------------- opening a round

    async def take_offer(self, holder: str, keys: Sequence[Signed], connected: frozenset[str]) -> bool:
        """Note the keys a holder offers; return whether enough holders now have one in common, which is chosen."""
        self.offers.take(holder, keys)
        settings, verifier = self._context.settings, self._context.verifier
        needed, kind = settings.rules.threshold, (settings.scheme, settings.key_bits)
        if self.offers.holders < needed:
            return False
        self.key = await self._work(self.offers.choose, needed, *kind, verifier, today())
        if self.key is None:
            self.offers.turn_page(connected, needed)
        return self.key is not None

    async def _request_key(self, id: AttemptId, holders: frozenset[str]) -> None:
        above = max(self.offers.above, *await self._work(self._store.used_keys), 0)
        self._ask(holders, notices.need_key(id, self._context.settings, above))

    async def _open(self, id: AttemptId, expected: frozenset[str], present: int) -> None:
        assert self.key is not None
        attempt, start = await self._work(self._opened, id, self.key, expected, present)
        self.attempt = attempt
        self._opened_at = self._clock()
        self._account_ahead(len(expected), present)
        self.offers.clear()
        self.key = None
        log.info("opened", round=id.round, attempt=id.attempt, clients=len(expected), **self._clip())
        bare, notice = notices.round_opened(attempt.signed), notices.round_opened(attempt.signed, start=start)
        members = self._members()
        for client in expected:
            self._push(client, notice if client in members else bare)
        await self.forget()  # while the clients train

    def _members(self) -> frozenset[str]:
        """Return who is not revoked at this moment; the stream of somebody who is may be open for a little longer."""
        members = self._context.identity.roster.current().members
        return frozenset(member.name for member in members if not member.revoked)

    def _clip(self) -> dict[str, float]:
        """Return the clip norm of the open attempt, where it adapts."""
        description = self._current_attempt().description
        if description.privacy is None or not description.rule.adapts_clip:
            return {}
        return {"clip_norm": round(description.clip_factor * description.privacy.clip_norm, 6)}

    def _account_ahead(self, chosen: int, present: int) -> None:
        """Start the accounting for this round in its own thread, so that it never delays the round."""
        settings = self._context.settings
        if settings.privacy is not None:
            sampling = (chosen, present)
            thread = threading.Thread(target=prepare_epsilon, args=(settings, self._context.values, sampling))
            thread.daemon = True
            thread.start()

    def _opened(
        self, id: AttemptId, key: Signed, expected: frozenset[str], present: int
    ) -> tuple[Attempt, list[pb.Chunk]]:
        """Store a new attempt, and return it with what goes along to its clients."""
        _, model = self._store.server_model(id.run, id.round - 1)
        description, signed = self._context.describe(id, key, model)
        self._store.open_attempt(id, description.certificate.serial, signed, expected, present)
        return Attempt(signed, self._store), self._start(id, model)

    def _start(self, id: AttemptId, model: ServerModel) -> list[pb.Chunk]:
        """Return what clients train from, if it is short: else each fetches it when it has room for it."""
        payload = model_bytes(model.for_clients)
        if not small_enough(payload):
            return []
        return list(model_chunks(payload, id.run, id.round - 1, self._lineage(id), model.state_digest))

    async def _invite(self, client: str, phase: states.Phase) -> None:
        attempt = self._current_attempt()
        if isinstance(phase, states.Committing):
            await self._work(self._store.widen_attempt, attempt.id, phase.expected)
            self._push(client, notices.round_opened(attempt.signed, committed=client in phase.committed))
        else:
            self._push(client, notices.list_closed(await self._work(attempt.closed_list)))

    # -------------------------------------------------------------------------------- asking key holders

    async def _request_list(self, holders: frozenset[str]) -> None:
        attempt = self._current_attempt()
        task = await self._work(self._closed, attempt)
        log.info("list closed", round=attempt.id.round, attempt=attempt.id.attempt, clients=len(task.commitments))
        self._ask(holders, pb.HolderTask(close_list=task))

    async def _announce_list(self) -> None:
        attempt = self._current_attempt()
        closed, parts = await self._work(self._announced, attempt)
        notice = notices.list_closed(closed)
        for part in parts:
            self._push(part.client, notice)

    def _closed(self, attempt: Attempt) -> pb.CloseList:
        self._store.set_state(attempt.id, "closing")
        return notices.close_list(attempt, self._lineage(attempt.id))

    def _announced(self, attempt: Attempt) -> tuple[ClosedList, list[StoredSubmission]]:
        self._store.announce_list(attempt.id, attempt.list_signatures.all())
        return attempt.closed_list(), attempt.listed()

    async def _leave_out(self, clients: frozenset[str], message: str) -> None:
        attempt = self._current_attempt()
        log.warning("left out", round=attempt.id.round, clients=sorted(clients), why=message)
        await self._work(attempt.leave_out, clients)

    async def _request_release(self, holders: frozenset[str]) -> None:
        attempt = self._current_attempt()
        order = await self._work(self._released, attempt)
        log.info("opening", round=attempt.id.round, contributors=len(order.contributors), holders=sorted(holders))
        self._ask(holders, pb.HolderTask(open_sum=order))

    async def _request_endorsement(self, holders: frozenset[str]) -> None:
        task = await self._work(self._endorse, self._current_attempt())
        members = self._members()
        self._ask(holders & members, task)
        if revoked := holders - members:
            bare = pb.Endorse(order=task.endorse.order, model_digest=task.endorse.model_digest)
            self._ask(revoked, pb.HolderTask(endorse=bare))

    def _endorse(self, attempt: Attempt) -> pb.HolderTask:
        assert attempt.opened is not None
        opened = attempt.opened.to_bytes(attempt.description.key)
        return notices.endorse(self._open_sum(attempt), attempt.next_model().endorsed, opened)

    def _released(self, attempt: Attempt) -> pb.OpenSum:
        self._store.set_state(attempt.id, "releasing")
        return self._open_sum(attempt)

    def _open_sum(self, attempt: Attempt) -> pb.OpenSum:
        return notices.open_sum(attempt, self._lineage(attempt.id))

    def _lineage(self, id: AttemptId) -> tuple[HolderSignature, ...]:
        return self._store.endorsements(id.run, id.round - 1)

    # -------------------------------------------------------------------------------- how an attempt ends

    async def _complete(self, id: AttemptId) -> states.Event:
        result = await self._work(self._completed, id)
        self.results.append(result)
        metrics.ROUNDS.labels("completed").inc()
        metrics.ROUND_SECONDS.observe(result.seconds)
        metrics.ACCURACY.set(result.accuracy)
        log.info("completed", round=id.round, contributors=result.contributors, accuracy=round(result.accuracy, 4))
        self._audience.notify_clients(notices.round_closed(id, completed=True))
        self.attempt, self._to_forget = None, True
        return states.ModelStored(id.round, id.attempt)

    def _completed(self, id: AttemptId) -> RoundResult:
        """Store the model with the history's row, and return the row."""
        attempt, sampling = self._current_attempt(), self._store.sampling(id)
        seconds = 0.0 if self._opened_at is None else self._clock() - self._opened_at
        result = self._result(attempt, seconds)
        result = with_epsilon(result, self._context.settings, self._context.values, self.results, sampling)
        model = attempt.next_model().vector
        line = self._recorded(attempt).to_line()
        self._store.complete_attempt(id, model, attempt.endorsements.all(), result, line)
        self.on_completed(result)
        return result

    def _recorded(self, attempt: Attempt) -> RoundRecord:
        """Return the round's part of the run's public record, with the roster if it is another than before."""
        roster = self._context.identity.roster.raw
        new, self._recorded_roster = roster != self._recorded_roster, roster
        start = b""
        if attempt.description.start is not None:
            start = model_bytes(self._store.model(attempt.id.run, 0)[1])
        return record_of(attempt, self._lineage(attempt.id), start, roster if new else b"")

    def _result(self, attempt: Attempt, seconds: float) -> RoundResult:
        assert attempt.opened is not None
        cohort, costs = attempt.cohort(attempt.opened), self._store.costs(attempt.id)
        score = self._context.score(attempt.next_model().model, cohort)
        return RoundResult(
            round=attempt.id.round,
            bytes_up_per_client=costs.bytes_up,
            train_seconds=costs.train_seconds,
            encrypt_seconds=costs.encrypt_seconds,
            add_seconds=attempt.add_seconds,
            decrypt_seconds=attempt.open_seconds,
            seconds=seconds,
            exposure=attempt.exposure,
            **score.fields(cohort),
        )

    async def _abandon(self, id: AttemptId, message: str) -> None:
        log.warning("abandoned", round=id.round, attempt=id.attempt, message=message)
        await self._work(self._store.abandon_attempt, id, message)
        metrics.ROUNDS.labels("abandoned").inc()
        self.attempt, self._to_forget = None, True
        self._audience.notify_clients(notices.round_closed(id, completed=False, message=message))

    async def forget(self) -> None:
        """Let the ciphertexts of attempts that are over leave the disk, if there are any."""
        if self._to_forget:
            self._to_forget = False
            await self._work(self._store.forget)

    # -------------------------------------------------------------------------------- streams

    def _push(self, client: str, notice: pb.Notice) -> None:
        if client in self._audience.clients:
            self._audience.clients[client].push(notice)

    def _ask(self, holders: Iterable[str], task: pb.HolderTask) -> None:
        """Push a task to the holders that are connected; when one reconnects, the rules ask it again."""
        for holder in holders:
            if holder in self._audience.holders:
                self._audience.holders[holder].push(task)
