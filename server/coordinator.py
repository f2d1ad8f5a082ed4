"""Carry out what the rules of server/rounds.py command: the one place where state machine, store and streams meet.

Everything that changes the run happens under one lock and goes in the same order: rules, store, streams. Work that can
take long (SQLite, big integers, evaluation) runs on one worker thread, so the event loop stays free for the network.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing
from typing import Any, BinaryIO, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from core.checks import Checks, Trust, check_same_task
from core.console import today
from core.errors import Reason, Refused, StorageError
from core.federated import encoding_for, evaluate_model, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.identity.roster import Member
from core.protocol import (
    AttemptId,
    HolderSignature,
    RoundDescription,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from core.tasks.task import Task
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.messages import certificate_from_bytes, description_to_bytes, list_statement, model_statement
from core.wire.streams import Assembly, model_bytes
from server import notices, rounds, states
from server.attempt import Attempt, names_of, signatures_of
from server.audience import Audience, Outbox
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
        checks: Checks | None = None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.task = task
        self.identity = identity
        self.audience = Audience()
        self.ended: asyncio.Future[states.EndRun] = asyncio.get_running_loop().create_future()
        self.ended_before_start = False
        """Whether the run was over already when this process took it up."""
        self.refusals: Counter[Reason] = Counter()
        """What was refused since it was last written down."""
        self._store = store
        self._test_data = test_data
        self._clock = clock
        self._checks = checks or Checks()
        self._lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aggregator")
        self._wakeup = asyncio.Event()
        self._offers = KeyOffers(store.used_keys)
        self._key: Signed | None = None
        self._attempt: Attempt | None = None
        self._opened_at: float | None = None
        self._values = len(initial_model(task, settings.seed))
        self._uploads: dict[str, asyncio.Lock] = {}
        self._model: tuple[int, bytes, tuple[HolderSignature, ...]] | None = None
        self._loading = asyncio.Lock()
        self._said = ""
        self.results: list[RoundResult] = []
        self._state: states.Run

    @property
    def phase(self) -> states.Phase:
        return self._state.phase

    @property
    def trust(self) -> Trust:
        """The roster of this moment, and what follows from it."""
        return Trust(self.identity.roster.current(), self.identity.registrar, self._checks)

    # -------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Take up the run where the store says it is."""
        async with self._lock:
            self.results = await self._work(self._store.history, self.run)
            state, commands = await self._work(self._recover)
            await self._carry_out(state, commands)
        self.ended_before_start = self.ended.done()

    async def keep_time(self) -> None:
        """Let time pass for the rules until the run ends."""
        said_at = self._clock()
        while not self.ended.done():
            self._wakeup.clear()
            due = rounds.next_wakeup(self._state, self.settings.rules)
            pause = rounds.longest_pause(self._state)
            try:
                seconds = pause if due is None else min(pause, max(0.0, due - self._clock()))
                await asyncio.wait_for(self._wakeup.wait(), seconds)
            except TimeoutError:
                if self._clock() - said_at >= rounds.LONGEST_PAUSE_SECONDS:
                    log.info(rounds.waiting_for(self._state, self.settings.rules))
                    said_at = self._clock()
                await self._happened(states.Tick())
                await self._write_refusals()

    async def conclude(self) -> None:
        """Mark the run as ended, once its results are written; before that, a restart ends it again."""
        ended = self.ended.result()
        await self._write_refusals()
        await self._work(lambda: self._store.end_run(self.run, completed=ended.completed, sentence=ended.sentence))

    async def close(self) -> None:
        async with self._lock:  # a step that has begun goes on to its end
            await self._work(self._store.close)
        self._worker.shutdown()

    async def _write_refusals(self) -> None:
        counted, self.refusals = self.refusals, Counter()
        if counted:
            await self._work(self._store.count_refusals, self.run, counted)

    def _recover(self) -> states.Step:
        now, rules = self._clock(), self.settings.rules
        last = self._store.last_attempt(self.run)
        if last is None:
            return rounds.start(1, 1, now), ()
        id = last.id
        if last.state == "completed":
            if id.round == rules.rounds:
                return states.Run(states.Finished()), (states.EndRun(True, "all rounds are completed"),)
            return rounds.start(id.round + 1, 1, now), ()
        if last.state == "abandoned":
            return rounds.start(id.round, id.attempt + 1, now), ()
        self._attempt = Attempt(last.description, self._store)
        self._attempt.list_signatures = {each.holder: each.signature for each in last.list_signatures}
        committed = names_of(self._attempt.listed())
        received = frozenset(self._attempt.contributors())
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
        self._attempt.restore_opened(last.opened)
        return rounds.resume_endorsing(id.round, id.attempt, now)

    # -------------------------------------------------------------------------------- what clients do

    @undisturbed
    async def join(self, caller: Member, request: pb.JoinRequest, outbox: Outbox[pb.Notice]) -> None:
        """Enrol a client and begin its stream with its welcome."""
        check_same_task(request.task, request.task_digest, self.task)
        async with self._lock:
            await self._work(self._store.enrol, self.run, caller.name)
            self.audience.seat_client(caller.name, outbox)
            outbox.push(notices.welcome(self.run, self.settings))
            log.info("joined", client=caller.name, number=caller.number)
            await self._apply(states.ClientJoined(caller.name))

    @undisturbed
    async def leave(self, client: str, outbox: Outbox[pb.Notice]) -> None:
        """A client's stream ended; nothing happens if it was never seated, or another has taken its place."""
        async with self._lock:
            if await self.audience.unseat_client(client, outbox):
                await self._apply(states.ClientLeft(client))

    @undisturbed
    async def commit(self, caller: Member, signed: Signed, timings: Timings) -> pb.Receipt:
        """Take a client's commitment; the receipt means that it is on disk."""
        async with self._lock:
            attempt = await self._open_attempt(caller.name)
            commitment, new = await self._work(attempt.commit, caller.name, signed, timings, self.trust)
            log.info("commitment", client=caller.name, round=attempt.id.round, attempt=attempt.id.attempt, new=new)
            await self._apply(states.CommitmentStored(attempt.id.round, attempt.id.attempt, caller.name))
        return pb.Receipt(sha256=commitment.digest, repeated=not new)

    def upload_of(self, client: str) -> AbstractAsyncContextManager[None]:
        """Take in one upload of a client at a time: more would be memory for nothing."""
        return self._uploads.setdefault(client, asyncio.Lock())

    async def announce(self, caller: Member, header: SubmissionHeader) -> pb.Receipt | int:
        """Before the payload is sent: its receipt if it is on disk already, else the length it must have."""
        async with self._lock:
            if await self._work(self._store.has_payload, header.id, caller.name, header.digest):
                return pb.Receipt(sha256=header.digest, repeated=True)
            attempt = await self._open_attempt(caller.name)
            attempt.check_header(header)
            return attempt.payload_bytes

    def spool(self) -> BinaryIO:
        """Open a nameless file for an update while it arrives: however many send at once, memory holds one update."""
        return self._store.spool()

    @undisturbed
    async def submit(self, caller: Member, header: SubmissionHeader, update: Assembly, bytes_up: int) -> pb.Receipt:
        """Take one update that has arrived whole, and close it; the receipt means that it is on disk."""
        with closing(update):
            async with self._lock:
                attempt = await self._open_attempt(caller.name)
                new = await self._work(lambda: attempt.submit(header, caller.name, update.whole(), bytes_up))
                log.info("update", client=caller.name, round=header.id.round, attempt=header.id.attempt, new=new)
                await self._apply(states.SubmissionStored(header.id.round, header.id.attempt, caller.name))
            return pb.Receipt(sha256=header.digest, repeated=not new)

    async def model(self, round_number: int | None) -> tuple[int, bytes, tuple[HolderSignature, ...]]:
        """A round's model (without a round: the newest) as (round, its bytes, its endorsements), one copy for all."""
        newest = len(self.results)
        async with self._loading:
            if self._model is None or self._model[0] != (newest if round_number is None else round_number):
                found, vector = await self._work(self._store.model, self.run, round_number)
                endorsements = await self._work(self._store.endorsements, self.run, found)
                self._model = (found, model_bytes(vector), endorsements)
            return self._model

    async def _open_attempt(self, client: str) -> Attempt:
        if not await self._work(self._store.is_enrolled, self.run, client):
            raise Refused(Reason.NOT_ENROLLED, f"{client!r} has not joined; join before taking part")
        if self._attempt is None:
            raise Refused(Reason.ROUND_NOT_OPEN, "no round is open")
        return self._attempt

    # -------------------------------------------------------------------------------- what key holders do

    @undisturbed
    async def attend(self, caller: Member, outbox: Outbox[pb.HolderTask]) -> None:
        async with self._lock:
            self.audience.seat_holder(caller.name, outbox)
            log.info("key holder came", holder=caller.name)
            await self._apply(states.HolderCame(caller.name))

    @undisturbed
    async def unattend(self, holder: str, outbox: Outbox[pb.HolderTask]) -> bool:
        """A key holder's stream ended; False if another has taken its place (or it never had one)."""
        async with self._lock:
            left = await self.audience.unseat_holder(holder, outbox)
            if left:
                log.info("key holder left", holder=holder)
                await self._apply(states.HolderLeft(holder))
            return left

    @undisturbed
    async def offer_keys(self, caller: Member, id: AttemptId, keys: Sequence[Signed]) -> None:
        """Take note of the keys a holder has unused shares of, and choose one that enough of them have."""
        self._check_run(id)
        async with self._lock:
            phase = self._state.phase
            waiting = isinstance(phase, states.Waiting) and not phase.key_ready
            if not waiting or not self._is_current(id):
                return
            self._offers.take(caller.name, keys)
            settings = self.settings
            chosen = await self._work(
                self._offers.choose, settings.rules.quorum, settings.scheme, settings.key_bits, self.trust, today()
            )
            if chosen is not None:
                self._key = chosen
                await self._apply(states.KeyChosen(id.round, id.attempt))

    @undisturbed
    async def list_signed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the closed list."""
        async with self._lock:
            if not self._is_current(id) or not isinstance(self.phase, states.Closing):
                return
            attempt = self._current_attempt()
            digests = (await self._work(attempt.closed_list)).commitment_digests
            self._check_signature(caller, signing.LIST, list_statement(attempt.digest, digests), signature)
            attempt.list_signatures[caller.name] = signature
            await self._apply(states.ListSigned(id.round, id.attempt, caller.name))

    async def payload(self, id: AttemptId, client: str) -> bytes:
        """One stored update, for a key holder to check and add by itself."""
        return await self._work(self._store.payload, id, client)

    def partial_bytes(self, id: AttemptId) -> int | None:
        """The length that a share of the opening has; None if this sum is not (any more) being opened."""
        if not self._is_current(id) or not isinstance(self.phase, states.Releasing):
            return None
        return self._current_attempt().partial_bytes

    @undisturbed
    async def release(self, caller: Member, id: AttemptId, partial: bytes, seconds: float, exposure: str) -> None:
        """Take a holder's share of the opening; with enough of them the sum is opened."""
        async with self._lock:
            if self.partial_bytes(id) is None:
                return  # a repeated answer, or one more than was needed
            attempt, rules = self._current_attempt(), self.settings.rules
            attempt.exposure = attempt.exposure or exposure
            take = functools.partial(attempt.take_partial, caller.number, partial, seconds)
            try:
                opened = await self._work(take, rules.threshold, rules.holders)
            except Refused as refusal:
                await self._unopened(id, refusal)
                raise
            except StorageError as error:
                self._halt(error)
                raise
            if opened:
                await self._apply(states.SumOpened(id.round, id.attempt))

    async def _unopened(self, id: AttemptId, refusal: Refused) -> None:
        log.warning("not opened", round=id.round, attempt=id.attempt, reason=refusal.reason.value, why=str(refusal))
        if refusal.reason is Reason.WRONG_SHARE:
            await self._apply(states.SharesUnfit(id.round, id.attempt))
        else:
            await self._apply(states.SumRejected(id.round, id.attempt, str(refusal)))

    async def opened_sum(self, id: AttemptId) -> bytes:
        """The combined sum of the attempt that is being endorsed."""
        attempt = self._attempt
        if attempt is None or attempt.id != id or attempt.opened is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no opened sum of {id} to check")
        return attempt.opened.to_bytes(attempt.description.key)

    @undisturbed
    async def endorsed(self, caller: Member, id: AttemptId, signature: bytes) -> None:
        """Take a holder's signature under the next model."""
        async with self._lock:
            if not self._is_current(id) or not isinstance(self.phase, states.Endorsing):
                return
            attempt = self._current_attempt()
            model_digest = digest(model_bytes(await self._next_model()))
            statement = model_statement(self.identity.federation, self.run, id.round, model_digest)
            self._check_signature(caller, signing.MODEL, statement, signature)
            attempt.endorsements[caller.name] = signature
            await self._apply(states.ModelEndorsed(id.round, id.attempt, caller.name))

    @undisturbed
    async def decline(self, caller: Member, id: AttemptId, reason: Reason, sentence: str) -> None:
        """A key holder turned down what it was asked."""
        self._check_run(id)
        async with self._lock:
            log.warning("declined", holder=caller.name, round=id.round, reason=reason.value, sentence=sentence)
            await self._apply(states.TaskDeclined(id.round, id.attempt, caller.name, sentence))

    def _check_run(self, id: AttemptId) -> None:
        if id.run != self.run:
            raise Refused(Reason.ROUND_NOT_OPEN, f"the run here is {self.run}, not {id.run}")

    def _check_signature(self, caller: Member, domain: str, statement: bytes, signature: bytes) -> None:
        if not signing.verify(caller.signing_key, domain, statement, signature):
            raise Refused(Reason.BAD_SIGNATURE, f"the signature of {caller.name!r} does not fit what is to be signed")

    def _is_current(self, id: AttemptId) -> bool:
        phase = self._state.phase
        ongoing = isinstance(phase, states.Attempted) and (phase.round, phase.attempt) == (id.round, id.attempt)
        return ongoing and id.run == self.run

    def _current_attempt(self) -> Attempt:
        assert self._attempt is not None
        return self._attempt

    # -------------------------------------------------------------------------------- looking on

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
        watcher.push(notices.progress(self._state, self.settings.rules, self.results[told:]))
        self.audience.watchers[watcher] = len(self.results)

    # -------------------------------------------------------------------------------- rules -> store -> streams

    @undisturbed
    async def _happened(self, event: states.Event) -> None:
        async with self._lock:
            await self._apply(event)

    async def _apply(self, event: states.Event) -> None:
        """One step of the rules and its commands. Call with the lock held."""
        state, commands = rounds.advance(self._state, event, self._clock(), self.settings.rules)
        await self._carry_out(state, commands)

    async def _carry_out(self, state: states.Run, commands: tuple[states.Command, ...]) -> None:
        self._state = state
        try:
            for command in commands:
                await self._command(command)
        except StorageError as error:
            self._halt(error)
        for watcher in self.audience.watchers:
            self._tell(watcher)
        if self.ended.done() and self.ended.exception() is None:
            ended = self.ended.result()
            self.audience.end(pb.RunEnded(completed=ended.completed, sentence=ended.sentence))
        self._wakeup.set()

    async def _command(self, command: states.Command) -> None:
        match command:
            case states.RequestKey(round_number, attempt, holders):
                self._ask(holders, notices.need_key(AttemptId(self.run, round_number, attempt), self.settings))
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
        assert self._key is not None
        description = await self._work(self._describe, id, self._key)
        body = description_to_bytes(description)
        signed = Signed(body, self.identity.signing.sign(signing.ROUND, body))
        await self._work(self._store.open_attempt, id, description.certificate.serial, signed, expected)
        self._attempt = await self._work(Attempt, signed, self._store)
        self._opened_at = self._clock()
        self._offers.clear()
        self._key = None
        log.info("opened", round=id.round, attempt=id.attempt, clients=len(expected))
        for client in expected:
            self._push(client, notices.round_opened(signed, committed=False))

    def _describe(self, id: AttemptId, key: Signed) -> RoundDescription:
        rules = self.settings.rules
        certificate = certificate_from_bytes(key.body)
        _, model = self._store.model(self.run, id.round - 1)
        bits = certificate.key.plaintext_bits
        return RoundDescription(
            federation=self.identity.federation,
            id=id,
            task=self.task.name,
            seed=self.settings.seed,
            model_digest=digest(model_bytes(model)),
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(self.task, self._values, bits, rules.max_cohort, self.settings.count_cap),
            min_cohort=rules.min_cohort,
            deadline_seconds=rules.round_seconds,
        )

    async def _invite(self, client: str) -> None:
        attempt, phase = self._current_attempt(), self._state.phase
        if isinstance(phase, states.Committing):
            await self._work(self._store.widen_attempt, attempt.id, phase.expected)
            self._push(client, notices.round_opened(attempt.signed, committed=client in phase.committed))
        else:
            self._push(client, notices.list_closed(await self._work(attempt.closed_list)))

    def _push(self, client: str, notice: pb.Notice) -> None:
        if client in self.audience.clients:
            self.audience.clients[client].push(notice)

    async def _request_list(self, holders: frozenset[str]) -> None:
        attempt = self._current_attempt()
        await self._work(self._store.set_state, attempt.id, "closing")
        task = await self._work(lambda: notices.close_list(attempt, self._lineage(attempt.id)))
        log.info("list closed", round=attempt.id.round, attempt=attempt.id.attempt, clients=len(task.commitments))
        self._ask(holders, pb.HolderTask(close_list=task))

    def _lineage(self, id: AttemptId) -> tuple[HolderSignature, ...]:
        return self._store.endorsements(self.run, id.round - 1)

    async def _announce_list(self) -> None:
        attempt = self._current_attempt()
        await self._work(self._store.announce_list, attempt.id, signatures_of(attempt.list_signatures))
        notice = notices.list_closed(await self._work(attempt.closed_list))
        for part in await self._work(attempt.listed):
            self._push(part.client, notice)

    async def _request_release(self, holders: frozenset[str]) -> None:
        attempt = self._current_attempt()
        await self._work(self._store.set_state, attempt.id, "releasing")
        order = await self._work(lambda: notices.open_sum(attempt, self._lineage(attempt.id)))
        log.info("opening", round=attempt.id.round, contributors=len(order.contributors), holders=sorted(holders))
        self._ask(holders, pb.HolderTask(open_sum=order))

    async def _request_endorsement(self, holders: frozenset[str]) -> None:
        attempt = self._current_attempt()
        model_digest = digest(model_bytes(await self._next_model()))
        order = await self._work(lambda: notices.open_sum(attempt, self._lineage(attempt.id)))
        self._ask(holders, notices.endorse(order, model_digest))

    async def _next_model(self) -> FloatArray:
        return await self._work(self._computed_model)

    def _computed_model(self) -> FloatArray:
        attempt = self._current_attempt()
        _, model = self._store.model(self.run, attempt.id.round - 1)
        return attempt.next_model(model)

    async def _complete(self, id: AttemptId) -> None:
        result = await self._work(self._completed, id)
        self.results.append(result)
        log.info("completed", round=id.round, contributors=result.contributors, accuracy=round(result.accuracy, 4))
        self.audience.notify_clients(notices.round_closed(id, completed=True))
        self._attempt = None
        await self._apply(states.ModelStored(id.round, id.attempt))

    def _completed(self, id: AttemptId) -> RoundResult:
        attempt, model = self._current_attempt(), self._computed_model()
        assert attempt.opened is not None
        cohort = attempt.cohort(attempt.opened)
        accuracy, loss = self._judge(model, cohort.accuracy, cohort.mean_loss)
        costs = self._store.costs(id)
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
        self._store.complete_attempt(id, model, signatures_of(attempt.endorsements), result)
        return result

    def _judge(self, model: FloatArray, cohort_accuracy: float, cohort_loss: float) -> tuple[float, float]:
        """Accuracy and loss on the test data; without any, the cohort's own."""
        if self._test_data is None:
            return cohort_accuracy, cohort_loss
        sums = evaluate_model(self.task, model, self._test_data)
        return sums.accuracy, sums.mean_loss

    async def _abandon(self, id: AttemptId, sentence: str) -> None:
        log.warning("abandoned", round=id.round, attempt=id.attempt, sentence=sentence)
        await self._work(self._store.abandon_attempt, id, sentence)
        self._attempt = None
        self.audience.notify_clients(notices.round_closed(id, completed=False, sentence=sentence))

    def _halt(self, error: StorageError) -> None:
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

    async def _work(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)
