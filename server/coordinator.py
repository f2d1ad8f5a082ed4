"""Carry out what the rules of server/rounds.py command: the one place where state machine, store and streams meet.

Everything that changes the run happens under one lock and goes in the same order: rules, store, streams. Work that can
take long (SQLite, big integers, evaluation) runs on one worker thread, so the event loop stays free for the network.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing
from typing import Any, BinaryIO, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import structlog

from core.errors import Reason, Refused, StorageError
from core.federated import encoding_for, evaluate_model, initial_model, next_model, task_digest
from core.protocol import (
    AttemptId,
    RoundDescription,
    RoundResult,
    SubmissionHeader,
    check_client_name,
    digest,
)
from core.secagg.roles import check_key
from core.secagg.scheme import PublicKey, split_payload
from core.tasks.task import Task
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes, description_to_bytes
from core.wire.streams import Assembly, model_bytes
from server import notices, rounds
from server.aggregation import Aggregation
from server.audience import Audience, Outbox
from server.settings import RunSettings
from server.store import Store

log = structlog.get_logger()
T = TypeVar("T")
P = ParamSpec("P")
SAY_WAITING_SECONDS = 10.0
"""How often the log says what is waited for while nothing happens."""
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
        test_data: Dataset | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run = run
        self.settings = settings
        self.task = task
        self.audience = Audience()
        self.ended: asyncio.Future[rounds.EndRun] = asyncio.get_running_loop().create_future()
        self.ended_before_start = False
        """Whether the run was over already when this process took it up."""
        self._store = store
        self._test_data = test_data
        self._clock = clock
        self._lock = asyncio.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aggregator")
        self._wakeup = asyncio.Event()
        self._key: PublicKey | None = None
        self._aggregation: Aggregation | None = None
        self._task_digest = task_digest(task)
        self._values = len(initial_model(task, settings.seed))
        self._uploads: dict[str, asyncio.Lock] = {}
        self._model: tuple[int, bytes] | None = None
        self._loading = asyncio.Lock()
        self.results: list[RoundResult] = []
        self._state: rounds.Run

    @property
    def phase(self) -> rounds.Phase:
        return self._state.phase

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
        while not self.ended.done():
            self._wakeup.clear()
            due = rounds.next_wakeup(self._state, self.settings.rules)
            try:
                seconds = SAY_WAITING_SECONDS if due is None else max(0.0, due - self._clock())
                await asyncio.wait_for(self._wakeup.wait(), min(seconds, SAY_WAITING_SECONDS))
            except TimeoutError:
                log.info(rounds.waiting_for(self._state, self.settings.rules))
                await self._happened(rounds.Tick())

    async def conclude(self) -> None:
        """Mark the run as ended, once its results are written; before that, a restart ends it again."""
        ended = self.ended.result()
        await self._work(lambda: self._store.end_run(self.run, completed=ended.completed, sentence=ended.sentence))

    async def close(self) -> None:
        async with self._lock:  # a step that has begun goes on to its end
            await self._work(self._store.close)
        self._worker.shutdown()

    def _recover(self) -> rounds.Step:
        now, rules = self._clock(), self.settings.rules
        last = self._store.last_attempt(self.run)
        if last is None:
            return rounds.start(1, 1, now)
        id = last.id
        if last.state == "completed":
            if id.round == rules.rounds:
                return rounds.Run(rounds.Finished()), (rounds.EndRun(True, "all rounds are completed"),)
            return rounds.start(id.round + 1, 1, now)
        if last.state == "abandoned":
            return rounds.start(id.round, id.attempt + 1, now)
        self._aggregation = Aggregation(description_from_bytes(last.description), last.description, self._store)
        self._key = self._aggregation.description.key
        received = frozenset(contribution.client for contribution in self._store.contributions(id))
        log.info("resumed", round=id.round, attempt=id.attempt, updates=len(received), state=last.state)
        if last.state == "collecting":
            return rounds.resume_collecting(id.round, id.attempt, last.expected, received, now, rules)
        return rounds.resume_releasing(id.round, id.attempt, len(received), now)

    # -------------------------------------------------------------------------------- what clients do

    @undisturbed
    async def join(self, request: pb.JoinRequest, outbox: Outbox[pb.Notice]) -> None:
        """Enrol a client and begin its stream with its welcome."""
        check_client_name(request.client)
        if request.task != self.task.name:
            sentence = f"this federation trains {self.task.name!r}, not {request.task[:80]!r}"
            raise Refused(Reason.WRONG_TASK, sentence)
        if request.task_digest != self._task_digest:
            sentence = f"the client's {self.task.name!r} has other weights or another encoding; use the same version"
            raise Refused(Reason.WRONG_TASK, sentence)
        async with self._lock:
            largest = self.settings.rules.max_cohort
            number = await self._work(self._store.enrol, self.run, request.client, request.number, largest)
            self.audience.seat_client(request.client, outbox)
            outbox.push(notices.welcome(self.run, number, self.settings))
            log.info("joined", client=request.client, number=number)
            await self._apply(rounds.ClientJoined(request.client))

    @undisturbed
    async def leave(self, client: str, outbox: Outbox[pb.Notice]) -> None:
        """A client's stream ended; nothing happens if it was never seated, or another has taken its place."""
        async with self._lock:
            if await self.audience.unseat_client(client, outbox):
                await self._apply(rounds.ClientLeft(client))

    def upload_of(self, client: str) -> AbstractAsyncContextManager[None]:
        """Take in one upload of a client at a time: more would be memory for nothing."""
        return self._uploads.setdefault(client, asyncio.Lock())

    async def announce(self, header: SubmissionHeader) -> pb.Receipt | int:
        """Before the payload is sent: its receipt if it is on disk already, else the length it must have."""
        async with self._lock:
            if await self._work(self._store.stored_digest, header.id, header.client) == header.digest:
                return pb.Receipt(sha256=header.digest, repeated=True)
            return (await self._open_aggregation(header)).payload_bytes

    def spool(self) -> BinaryIO:
        """Open a nameless file for an update while it arrives: however many send at once, memory holds one update."""
        return self._store.spool()

    @undisturbed
    async def submit(self, header: SubmissionHeader, update: Assembly, bytes_up: int) -> pb.Receipt:
        """Take one update that has arrived whole, and close it; the receipt means that it is on disk."""
        with closing(update):
            return await self._submit(header, update, bytes_up)

    async def _submit(self, header: SubmissionHeader, update: Assembly, bytes_up: int) -> pb.Receipt:
        async with self._lock:
            aggregation = await self._open_aggregation(header)
            new = await self._work(lambda: aggregation.submit(header, update.whole(), bytes_up))
            log.info("update", client=header.client, round=header.id.round, attempt=header.id.attempt, new=new)
            await self._apply(rounds.SubmissionStored(header.id.round, header.id.attempt, header.client))
        return pb.Receipt(sha256=header.digest, repeated=not new)

    async def model(self, round_number: int | None) -> tuple[int, bytes]:
        """A round's model (without a round: the newest) as (round, its bytes); one copy serves all who ask."""
        newest = len(self.results)
        async with self._loading:
            if self._model is None or self._model[0] != (newest if round_number is None else round_number):
                found, vector = await self._work(self._store.model, self.run, round_number)
                self._model = (found, model_bytes(vector))
            return self._model

    async def _open_aggregation(self, header: SubmissionHeader) -> Aggregation:
        if not await self._work(self._store.is_enrolled, self.run, header.client):
            raise Refused(Reason.NOT_ENROLLED, f"{header.client!r} has not joined; join before submitting")
        if self._aggregation is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{header.id} is not open for updates")
        self._aggregation.check_header(header)
        return self._aggregation

    # -------------------------------------------------------------------------------- what the key holder does

    @undisturbed
    async def attend(self, outbox: Outbox[pb.HolderTask]) -> None:
        async with self._lock:
            self.audience.seat_holder(outbox)
            log.info("key holder came")
            await self._apply(rounds.HolderCame())

    @undisturbed
    async def unattend(self, outbox: Outbox[pb.HolderTask]) -> bool:
        """The key holder's stream ended; False if another has taken its place (or it never had one)."""
        async with self._lock:
            left = await self.audience.unseat_holder(outbox)
            if left:
                log.info("key holder left")
                await self._apply(rounds.HolderLeft())
            return left

    @undisturbed
    async def offer_key(self, id: AttemptId, key: PublicKey) -> None:
        """Take the public key of an attempt; offering it again changes nothing."""
        self._check_run(id)
        wanted = (self.settings.scheme, self.settings.key_bits)
        if (key.scheme, key.bits) != wanted:
            raise Refused(Reason.BAD_KEY, f"the key is {key.scheme} with {key.bits} bits; expected {wanted}")
        async with self._lock:
            await self._work(check_key, key)
            phase = self._state.phase
            if isinstance(phase, rounds.Waiting) and (phase.round, phase.attempt) == (id.round, id.attempt):
                self._key = key
            await self._apply(rounds.KeyOffered(id.round, id.attempt, known=key == self._key))

    async def payload(self, id: AttemptId, client: str) -> bytes:
        """One stored update, for the key holder to check and add by itself."""
        return await self._work(self._store.payload, id, client)

    def release_bytes(self) -> int:
        """The length that an opened sum has: one plaintext a ciphertext."""
        if self._aggregation is None:
            raise Refused(Reason.ROUND_NOT_OPEN, "no sum is being opened")
        description = self._aggregation.description
        return description.encoding.plaintexts * description.key.plaintext_bytes

    @undisturbed
    async def release(self, id: AttemptId, payload: bytes, decrypt_seconds: float) -> None:
        """Take the opened sum, check it, and make the new model."""
        self._check_run(id)
        async with self._lock:
            if not self.is_releasing(id):
                return  # a repeated answer: the round is over
            try:
                result = await self._work(self._complete, id, payload, decrypt_seconds)
            except Refused as refusal:
                await self._apply(rounds.ReleaseDeclined(id.round, id.attempt, str(refusal)))
                raise
            except StorageError as error:
                self._halt(error)
                raise
            self.results.append(result)
            log.info("completed", round=id.round, contributors=result.contributors, accuracy=round(result.accuracy, 4))
            self.audience.notify_clients(notices.round_closed(id, completed=True))
            await self._apply(rounds.SumOpened(id.round, id.attempt))

    @undisturbed
    async def decline(self, id: AttemptId, sentence: str) -> None:
        """The key holder will not open this sum."""
        self._check_run(id)
        async with self._lock:
            log.warning("release declined", round=id.round, attempt=id.attempt, sentence=sentence)
            await self._apply(rounds.ReleaseDeclined(id.round, id.attempt, sentence))

    def _check_run(self, id: AttemptId) -> None:
        if id.run != self.run:
            raise Refused(Reason.ROUND_NOT_OPEN, f"the run here is {self.run}, not {id.run}")

    def is_releasing(self, id: AttemptId) -> bool:
        """Whether the sum of this attempt is what the run waits for."""
        phase = self._state.phase
        return isinstance(phase, rounds.Releasing) and (phase.round, phase.attempt) == (id.round, id.attempt)

    def _complete(self, id: AttemptId, payload: bytes, decrypt_seconds: float) -> RoundResult:
        assert self._aggregation is not None
        description = self._aggregation.description
        plaintexts = split_payload(payload, description.encoding.plaintexts, description.key.plaintext_bytes)
        contributors = len(self._store.contributions(id))
        cohort = description.encoding.decode(plaintexts, contributors)
        _, model = self._store.model(self.run, id.round - 1)
        model = next_model(model, cohort)
        accuracy, loss = self._judge(model, cohort.accuracy, cohort.mean_loss)
        costs = self._store.costs(id)
        result = RoundResult(
            round=id.round,
            contributors=contributors,
            accuracy=accuracy,
            loss=loss,
            bytes_up_per_client=costs.bytes_up,
            train_seconds=costs.train_seconds,
            encrypt_seconds=costs.encrypt_seconds,
            add_seconds=self._aggregation.seconds,
            decrypt_seconds=decrypt_seconds,
            cohort_accuracy=cohort.accuracy,
            cohort_loss=cohort.mean_loss,
        )
        self._store.complete_attempt(id, model, result)
        return result

    def _judge(self, model: FloatArray, cohort_accuracy: float, cohort_loss: float) -> tuple[float, float]:
        """Accuracy and loss on the test data; without any, the cohort's own."""
        if self._test_data is None:
            return cohort_accuracy, cohort_loss
        sums = evaluate_model(self.task, model, self._test_data)
        return sums.accuracy, sums.mean_loss

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
    async def _happened(self, event: rounds.Event) -> None:
        async with self._lock:
            await self._apply(event)

    async def _apply(self, event: rounds.Event) -> None:
        """One step of the rules and its commands. Call with the lock held."""
        state, commands = rounds.advance(self._state, event, self._clock(), self.settings.rules)
        await self._carry_out(state, commands)

    async def _carry_out(self, state: rounds.Run, commands: tuple[rounds.Command, ...]) -> None:
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

    async def _command(self, command: rounds.Command) -> None:
        match command:
            case rounds.RequestKey(round_number, attempt):
                self._ask_holder(notices.make_key(AttemptId(self.run, round_number, attempt), self.settings))
            case rounds.OpenRound(round_number, attempt, expected):
                await self._open(AttemptId(self.run, round_number, attempt), expected)
            case rounds.InviteClient(_, _, client):
                await self._invite(client)
            case rounds.RequestRelease(round_number, attempt):
                await self._request_release(AttemptId(self.run, round_number, attempt))
            case rounds.AbandonAttempt(round_number, attempt, sentence):
                await self._abandon(AttemptId(self.run, round_number, attempt), sentence)
            case rounds.EndRun(completed, sentence):
                log.info("ended", completed=completed, sentence=sentence)
                self.ended.set_result(command)

    async def _open(self, id: AttemptId, expected: frozenset[str]) -> None:
        assert self._key is not None
        description = await self._work(self._describe, id, self._key)
        raw = description_to_bytes(description)
        await self._work(self._store.open_attempt, id, raw, expected)
        self._aggregation = await self._work(Aggregation, description, raw, self._store)
        log.info("opened", round=id.round, attempt=id.attempt, clients=len(expected))
        for client in expected:
            self._send_description(client, already_submitted=False)

    def _describe(self, id: AttemptId, key: PublicKey) -> RoundDescription:
        rules = self.settings.rules
        _, model = self._store.model(self.run, id.round - 1)
        return RoundDescription(
            id=id,
            task=self.task.name,
            model_digest=digest(model_bytes(model)),
            key=key,
            encoding=encoding_for(
                self.task, self._values, key.plaintext_bits, rules.max_cohort, self.settings.count_cap
            ),
            min_cohort=rules.min_cohort,
            deadline_seconds=rules.round_seconds,
        )

    async def _invite(self, client: str) -> None:
        phase = self._state.phase
        assert isinstance(phase, rounds.Collecting)
        assert self._aggregation is not None
        await self._work(self._store.widen_attempt, self._aggregation.description.id, phase.expected)
        self._send_description(client, already_submitted=client in phase.received)

    def _send_description(self, client: str, *, already_submitted: bool) -> None:
        assert self._aggregation is not None
        if client in self.audience.clients:
            raw = self._aggregation.raw_description
            self.audience.clients[client].push(notices.round_opened(raw, already_submitted=already_submitted))

    async def _request_release(self, id: AttemptId) -> None:
        assert self._aggregation is not None
        await self._work(self._store.close_attempt, id)
        contributions = await self._work(self._store.contributions, id)
        sum_digest = await self._work(self._aggregation.sum_digest)
        log.info("closed", round=id.round, attempt=id.attempt, contributors=len(contributions))
        self._ask_holder(notices.open_sum(self._aggregation.raw_description, contributions, sum_digest))

    async def _abandon(self, id: AttemptId, sentence: str) -> None:
        log.warning("abandoned", round=id.round, attempt=id.attempt, sentence=sentence)
        await self._work(self._store.abandon_attempt, id)
        self._aggregation = None
        self._key = None
        self.audience.notify_clients(notices.round_closed(id, completed=False, sentence=sentence))

    def _halt(self, error: StorageError) -> None:
        """Stop this process in the middle of the run. Nothing acknowledged is lost: the store has the last committed
        state, a restart goes on there, and everyone else only sees a connection break and comes back."""
        if not self.ended.done():
            self.ended.set_exception(StorageError(f"{error}; start the aggregator again when this is mended"))
            self._wakeup.set()

    def _ask_holder(self, task: pb.HolderTask) -> None:
        """Push a task if the key holder is there; when it comes (back), the rules ask again."""
        if self.audience.holder is not None:
            self.audience.holder.push(task)

    async def _work(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)
