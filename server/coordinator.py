"""Carry out what the rules of server/rounds.py command: the one place where state machine, store and streams meet.

Everything that changes the run happens under one lock and goes in the same order: rules, store, streams. Work that can
take long (SQLite, big integers, evaluation) runs on one worker thread, so the event loop stays free for the network.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from core.checks import Verifier
from core.errors import Reason, StorageError
from core.federated import encoding_for, evaluate_model, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import (
    AttemptId,
    HolderSignature,
    RoundDescription,
    RoundResult,
    Signed,
    digest,
)
from core.tasks.task import Task
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.messages import certificate_from_bytes, description_to_bytes
from core.wire.streams import model_bytes
from server import metrics, notices, rounds, states
from server.attempt import Attempt, names_of, signatures_of
from server.audience import Audience, Outbox
from server.budget import with_epsilon
from server.offers import KeyOffers
from server.settings import RunSettings
from server.store import Store

log = structlog.get_logger()
T = TypeVar("T")
P = ParamSpec("P")
FloatArray = npt.NDArray[np.float64]


def undisturbed(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a step that has begun go on to its end even if the caller hangs up in the middle of it.

    gRPC cancels a handler whose caller is gone. Between the database's commit and the rules' next state that would
    leave the two disagreeing.
    """

    @functools.wraps(method)
    async def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
        step = asyncio.ensure_future(method(*arguments, **named))
        step.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody asks any more
        return await asyncio.shield(step)

    return wrapped


class Coordinator:
    """One run, from enrolment to the last model. `test_data` is public data on which each new model is judged."""

    def __init__(
        self,
        run: str,
        settings: RunSettings,
        task: Task,
        store: Store,
        identity: PartyIdentity,
        test_data: Dataset | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.settings = settings if settings.privacy is None else _choosing_secretly(settings, store, run)
        self.task = task
        self.identity = identity
        self.audience = Audience()
        self.ended: asyncio.Future[states.EndRun] = asyncio.get_running_loop().create_future()
        self.ended_before_start = False
        """Whether the run was over already when this process took it up."""
        self.refusals: Counter[Reason] = Counter()
        """What was refused since it was last written down."""
        self.store = store
        self._test_data = test_data
        self._clock = clock
        self.lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aggregator")
        self._wakeup = asyncio.Event()
        self.offers = KeyOffers(store.used_keys)
        self.key: Signed | None = None
        self.attempt: Attempt | None = None
        self._opened_at: float | None = None
        self._values = len(initial_model(task, settings.seed))
        self._model: tuple[int, bytes, tuple[HolderSignature, ...]] | None = None
        self._loading = asyncio.Lock()
        self.results: list[RoundResult] = []
        self.state: states.Run

    @property
    def phase(self) -> states.Phase:
        return self.state.phase

    @property
    def trust(self) -> Verifier:
        """The roster of this moment, and what follows from it."""
        return Verifier(self.identity.roster.current(), self.identity.registrar)

    # -------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Take up the run where the store says it is."""
        async with self.lock:
            self.results = await self.work(self.store.history, self.run)
            state, commands = await self.work(self._recover)
            await self._carry_out(state, commands)
        self.ended_before_start = self.ended.done()

    async def keep_time(self) -> None:
        """Let time pass for the rules until the run ends."""
        said_at = self._clock()
        while not self.ended.done():
            self._wakeup.clear()
            due = rounds.next_wakeup(self.state, self.settings.rules)
            pause = rounds.longest_pause(self.state)
            try:
                seconds = pause if due is None else min(pause, max(0.0, due - self._clock()))
                await asyncio.wait_for(self._wakeup.wait(), seconds)
            except TimeoutError:
                if self._clock() - said_at >= rounds.LONGEST_PAUSE_SECONDS:
                    log.info(rounds.waiting_for(self.state, self.settings.rules))
                    said_at = self._clock()
                await self._happened(states.Tick())
                self._dismiss_revoked()
                await self._write_refusals()

    def _dismiss_revoked(self) -> None:
        """End the streams of those who were revoked meanwhile: they are waited for no longer, and cannot come back."""
        active = {member.name for member in self.trust.roster.members if not member.revoked}
        for seats in (self.audience.clients, self.audience.holders):
            for name in seats.keys() - active:
                seats[name].close()

    async def conclude(self) -> None:
        """Mark the run as ended, once its results are written; before that, a restart ends it again."""
        ended = self.ended.result()
        await self._write_refusals()
        await self.work(lambda: self.store.end_run(self.run, completed=ended.completed, sentence=ended.sentence))

    async def close(self) -> None:
        async with self.lock:  # a step that has begun goes on to its end
            await self.work(self.store.close)
        self._worker.shutdown()

    async def _write_refusals(self) -> None:
        counted, self.refusals = self.refusals, Counter()
        if not counted:
            return
        try:
            await self.work(self.store.count_refusals, self.run, counted)
        except StorageError as error:  # counts are no reason to stop; they are written when there is room again
            log.warning("refusals not written down", why=str(error))
            self.refusals += counted

    async def all_refusals(self) -> Counter[str]:
        """How often messages of this run were refused, by the name of the check."""
        await self._write_refusals()
        return await self.work(self.store.refusals, self.run)

    def _recover(self) -> states.Step:
        now, rules = self._clock(), self.settings.rules
        last = self.store.last_attempt(self.run)
        if last is None:
            return rounds.start(1, 1, now), ()
        id = last.id
        if last.state == "completed":
            if id.round == rules.rounds:
                return states.Run(states.Finished()), (states.EndRun(True, rules.ending),)
            return rounds.start(id.round + 1, 1, now), ()
        if last.state == "abandoned":
            return rounds.start(id.round, id.attempt + 1, now), ()
        self.attempt = Attempt(last.description, self.store)
        self.attempt.list_signatures = {each.holder: each.signature for each in last.list_signatures}
        committed = names_of(self.attempt.listed())
        received = frozenset(self.attempt.contributors())
        log.info("resumed", round=id.round, attempt=id.attempt, updates=len(received), state=last.state)
        match last.state:
            case "committing":
                return rounds.resume_committing(id.round, id.attempt, last.expected, committed, now, rules)
            case "closing":
                return rounds.resume_closing(id.round, id.attempt, committed, now)
            case "uploading":
                return rounds.resume_uploading(id.round, id.attempt, committed, received, now, rules)
            case "releasing":
                return rounds.resume_releasing(id.round, id.attempt, len(received), now)
        assert last.opened is not None
        self.attempt.restore_opened(last.opened)
        return rounds.resume_endorsing(id.round, id.attempt, now)

    def is_current(self, id: AttemptId) -> bool:
        """Whether this is the attempt that is going on (or waited for)."""
        phase = self.state.phase
        ongoing = isinstance(phase, states.Attempted) and (phase.round, phase.attempt) == (id.round, id.attempt)
        return ongoing and id.run == self.run

    def current_attempt(self) -> Attempt:
        """The attempt that is open; only to be asked in a phase that has one."""
        assert self.attempt is not None
        return self.attempt

    # -------------------------------------------------------------------------------- looking on

    async def model(self, round_number: int | None) -> tuple[int, bytes, tuple[HolderSignature, ...]]:
        """A round's model (without a round: the newest) as (round, its bytes, its endorsements), one copy for all."""
        newest = len(self.results)
        async with self._loading:
            if self._model is None or self._model[0] != (newest if round_number is None else round_number):
                found, vector = await self.work(self.store.model, self.run, round_number)
                endorsements = await self.work(self.store.endorsements, self.run, found)
                self._model = (found, model_bytes(vector), endorsements)
            return self._model

    def watch(self) -> Outbox[pb.Progress]:
        """A stream of progress that begins with the whole history."""
        outbox = Outbox[pb.Progress]()
        self.audience.watchers[outbox] = 0
        self._tell(outbox)
        if self.ended.done():
            outbox.close()
        return outbox

    def _tell(self, watcher: Outbox[pb.Progress]) -> None:
        told = self.audience.watchers[watcher]
        watcher.push(notices.progress(self.state, self.settings.rules, self.results[told:]))
        self.audience.watchers[watcher] = len(self.results)

    # -------------------------------------------------------------------------------- rules -> store -> streams

    @undisturbed
    async def _happened(self, event: states.Event) -> None:
        async with self.lock:
            await self.apply(event)

    async def apply(self, event: states.Event) -> None:
        """One step of the rules and its commands. Call with the lock held.

        After a halt nothing moves any more: the rules would be ahead of what the store could keep.
        """
        if self.ended.done() and self.ended.exception() is not None:
            return
        state, commands = rounds.advance(self.state, event, self._clock(), self.settings.rules)
        await self._carry_out(state, commands)

    async def _carry_out(self, state: states.Run, commands: tuple[states.Command, ...]) -> None:
        self.state = state
        metrics.PRESENT.labels("client").set(len(state.present))
        metrics.PRESENT.labels("keyholder").set(len(state.holders))
        try:
            for command in commands:
                await self._command(command)
        except StorageError as error:
            self.halt(error)
        for watcher in self.audience.watchers:
            self._tell(watcher)
        if self.ended.done() and self.ended.exception() is None:
            ended = self.ended.result()
            self.audience.end(pb.RunEnded(completed=ended.completed, sentence=ended.sentence))
        self._wakeup.set()

    async def _command(self, command: states.Command) -> None:
        match command:
            case states.RequestKey(round_number, attempt, holders):
                above = max(self.offers.above, *await self.work(self.store.used_keys), 0)
                self._ask(holders, notices.need_key(AttemptId(self.run, round_number, attempt), self.settings, above))
            case states.OpenRound(round_number, attempt, expected):
                await self._open(AttemptId(self.run, round_number, attempt), expected)
            case states.InviteClient(client=client):
                await self._invite(client)
            case states.RequestList(holders=holders):
                await self._request_list(holders)
            case states.AnnounceList():
                await self._announce_list()
            case states.RequestRelease(holders=holders):
                await self._request_release(holders)
            case states.RequestEndorsement(holders=holders):
                await self._request_endorsement(holders)
            case states.CompleteRound(round_number, attempt):
                await self._complete(AttemptId(self.run, round_number, attempt))
            case states.AbandonAttempt(round_number, attempt, sentence):
                await self._abandon(AttemptId(self.run, round_number, attempt), sentence)
            case states.EndRun(completed, sentence):
                log.info("ended", completed=completed, sentence=sentence)
                self.ended.set_result(command)

    async def _open(self, id: AttemptId, expected: frozenset[str]) -> None:
        assert self.key is not None
        description = await self.work(self._describe, id, self.key)
        body = description_to_bytes(description)
        signed = Signed(body, self.identity.signing.sign(signing.ROUND, body))
        serial, present = description.certificate.serial, len(self.state.present)
        await self.work(self.store.open_attempt, id, serial, signed, expected, present)
        self.attempt = await self.work(Attempt, signed, self.store)
        self._opened_at = self._clock()
        self.offers.clear()
        self.key = None
        log.info("opened", round=id.round, attempt=id.attempt, clients=len(expected))
        for client in expected:
            self._push(client, notices.round_opened(signed, committed=False))

    def _describe(self, id: AttemptId, key: Signed) -> RoundDescription:
        rules = self.settings.rules
        certificate = certificate_from_bytes(key.body)
        _, model = self.store.model(self.run, id.round - 1)
        bits = certificate.key.plaintext_bits
        return RoundDescription(
            federation=self.identity.federation,
            id=id,
            task=self.task.name,
            seed=self.settings.seed,
            model_digest=digest(model_bytes(model)),
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(
                *(self.task, self._values, bits, rules.max_cohort, self.settings.count_cap), self.settings.mechanism
            ),
            min_cohort=rules.min_cohort,
            deadline_seconds=rules.round_seconds,
            privacy=self.settings.privacy,
        )

    async def _invite(self, client: str) -> None:
        attempt, phase = self.current_attempt(), self.state.phase
        if isinstance(phase, states.Committing):
            await self.work(self.store.widen_attempt, attempt.id, phase.expected)
            self._push(client, notices.round_opened(attempt.signed, committed=client in phase.committed))
        else:
            self._push(client, notices.list_closed(await self.work(attempt.closed_list)))

    def _push(self, client: str, notice: pb.Notice) -> None:
        if client in self.audience.clients:
            self.audience.clients[client].push(notice)

    async def _request_list(self, holders: frozenset[str]) -> None:
        attempt = self.current_attempt()
        await self.work(self.store.set_state, attempt.id, "closing")
        task = await self.work(lambda: notices.close_list(attempt, self._lineage(attempt.id)))
        log.info("list closed", round=attempt.id.round, attempt=attempt.id.attempt, clients=len(task.commitments))
        self._ask(holders, pb.HolderTask(close_list=task))

    def _lineage(self, id: AttemptId) -> tuple[HolderSignature, ...]:
        return self.store.endorsements(self.run, id.round - 1)

    async def _announce_list(self) -> None:
        attempt = self.current_attempt()
        await self.work(self.store.announce_list, attempt.id, signatures_of(attempt.list_signatures))
        notice = notices.list_closed(await self.work(attempt.closed_list))
        for part in await self.work(attempt.listed):
            self._push(part.client, notice)

    async def _request_release(self, holders: frozenset[str]) -> None:
        attempt = self.current_attempt()
        await self.work(self.store.set_state, attempt.id, "releasing")
        order = await self.work(lambda: notices.open_sum(attempt, self._lineage(attempt.id)))
        log.info("opening", round=attempt.id.round, contributors=len(order.contributors), holders=sorted(holders))
        self._ask(holders, pb.HolderTask(open_sum=order))

    async def _request_endorsement(self, holders: frozenset[str]) -> None:
        attempt = self.current_attempt()
        model_digest = digest(model_bytes(await self.next_model()))
        order = await self.work(lambda: notices.open_sum(attempt, self._lineage(attempt.id)))
        self._ask(holders, notices.endorse(order, model_digest))

    async def next_model(self) -> FloatArray:
        return await self.work(self._computed_model)

    def _computed_model(self) -> FloatArray:
        attempt = self.current_attempt()
        _, model = self.store.model(self.run, attempt.id.round - 1)
        return attempt.next_model(model)

    async def _complete(self, id: AttemptId) -> None:
        result = await self.work(self._completed, id)
        self.results.append(result)
        metrics.ROUNDS.labels("completed").inc()
        metrics.ROUND_SECONDS.observe(result.seconds)
        metrics.ACCURACY.set(result.accuracy)
        log.info("completed", round=id.round, contributors=result.contributors, accuracy=round(result.accuracy, 4))
        self.audience.notify_clients(notices.round_closed(id, completed=True))
        self.attempt = None
        await self.apply(states.ModelStored(id.round, id.attempt))

    def _completed(self, id: AttemptId) -> RoundResult:
        attempt, model = self.current_attempt(), self._computed_model()
        assert attempt.opened is not None
        cohort = attempt.cohort(attempt.opened)
        accuracy, loss = self._judge(model, cohort.accuracy, cohort.mean_loss)
        costs = self.store.costs(id)
        result = RoundResult(
            round=id.round,
            contributors=cohort.contributors,
            accuracy=accuracy,
            loss=loss,
            bytes_up_per_client=costs.bytes_up,
            train_seconds=costs.train_seconds,
            encrypt_seconds=costs.encrypt_seconds,
            add_seconds=attempt.add_seconds,
            decrypt_seconds=attempt.open_seconds,
            cohort_accuracy=cohort.accuracy,
            cohort_loss=cohort.mean_loss,
            seconds=0.0 if self._opened_at is None else self._clock() - self._opened_at,
            exposure=attempt.exposure,
        )
        result = with_epsilon(result, self.settings, self._values, self.results, self.store.sampling(id))
        self.store.complete_attempt(id, model, signatures_of(attempt.endorsements), result)
        return result

    def _judge(self, model: FloatArray, cohort_accuracy: float, cohort_loss: float) -> tuple[float, float]:
        """Accuracy and loss on the test data; without any, the cohort's own."""
        if self._test_data is None:
            return cohort_accuracy, cohort_loss
        sums = evaluate_model(self.task, model, self._test_data)
        return sums.accuracy, sums.mean_loss

    async def _abandon(self, id: AttemptId, sentence: str) -> None:
        log.warning("abandoned", round=id.round, attempt=id.attempt, sentence=sentence)
        await self.work(self.store.abandon_attempt, id, sentence)
        metrics.ROUNDS.labels("abandoned").inc()
        self.attempt = None
        self.audience.notify_clients(notices.round_closed(id, completed=False, sentence=sentence))

    def halt(self, error: StorageError) -> None:
        """Stop this process in the middle of the run. Nothing acknowledged is lost: the store has the last committed
        state, a restart goes on there, and everyone else only sees a connection break and comes back."""
        if not self.ended.done():
            self.ended.set_exception(StorageError(f"{error}; start the aggregator again when this is mended"))
            self._wakeup.set()

    def _ask(self, holders: Iterable[str], task: pb.HolderTask) -> None:
        """Push a task to holders that are there; when one comes (back), the rules ask again."""
        for holder in holders:
            if holder in self.audience.holders:
                self.audience.holders[holder].push(task)

    async def work(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)


def _choosing_secretly(settings: RunSettings, store: Store, run: str) -> RunSettings:
    """The settings with the run's own secret, by which clients are chosen where not all are wanted."""
    return replace(settings, rules=replace(settings.rules, selection_secret=store.selection_secret(run)))
