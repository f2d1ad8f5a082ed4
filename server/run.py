"""One run: the one place where rules, store and streams meet, under one lock.

Whatever changes the run goes in the same order: rules, store, streams. Slow work is done in one worker thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar

import structlog

from core.errors import DataError, Reason, Refused, StorageError
from core.identity.certificates import PeerName
from core.identity.members import Roster
from core.identity.party import PartyIdentity
from core.identity.roster import read_roster
from core.protocol import AttemptId, HolderSignature, RoundResult, Signed
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.streams import model_bytes
from server import metrics, notices, rounds, states
from server.attempt import Attempt
from server.audience import Audience, Told, Watcher
from server.concurrency import Worker, shielded_from_cancellation
from server.context import RunContext
from server.executor import Executor
from server.lanes import Lanes
from server.progress import progress, waiting_for
from server.recovery import recover
from server.refused_clients import RefusedClients
from server.settings import RunSettings
from server.store import Store

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class ServedModel:
    """A round's model and what the server's rule remembers, as bytes, and the key holders' signatures under both."""

    round: int
    model: bytes
    state: bytes
    state_digest: bytes
    endorsements: tuple[HolderSignature, ...]


class ActiveRun:
    """A run from enrolment to the last model.

    Attributes:
        context: what is fixed for the whole run.
        audience: the open streams.
        state: what the rules say of the run now.
        ended: how the run ended, once it has; StorageError if the process could not keep what it did.
        ended_before_start: whether the run was over already when this process resumed it.
        refusals: messages refused since the counts were last stored, by reason.
        refused_clients: clients that key holders sign no list with.
        lanes: what each party does now, for observers.
    """

    def __init__(
        self,
        id: str,
        settings: RunSettings,
        task: Task,
        store: Store,
        identity: PartyIdentity,
        test_data: HeldOut | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings = settings if settings.privacy is None else _with_selection_secret(settings, store, id)
        self.context = RunContext(id, settings, task, identity, test_data, store.start_of(id))
        self.audience = Audience()
        self.state: states.RunState
        self.ended: asyncio.Future[states.EndRun] = asyncio.get_running_loop().create_future()
        self.ended_before_start = False
        self.refusals: Counter[Reason] = Counter()
        self.refused_clients = RefusedClients(settings.rules.holders - settings.rules.threshold + 1)
        self.lanes = Lanes(drawn_in_secret=settings.rules.drawn_in_secret)
        self._rules = settings.rules
        self._store = store
        self._clock = clock
        self._worker = Worker()
        self._executor = Executor(self.context, store, self.audience, self._worker, clock)
        self._lock = asyncio.Lock()
        self._wakeup = asyncio.Event()
        self._model: ServedModel | None = None
        self._loading = asyncio.Lock()
        self._named: tuple[Roster, frozenset[str]] | None = None
        self._announced = identity.roster.current().version

    # -------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Resume the run where the store says it is."""
        async with self._lock:
            for client, (message, _) in (await self.with_store(lambda store: store.evidence(self.context.id))).items():
                self.refused_clients.convict(client, Refused(Reason.WRONG_PROOF, message))
            self._executor.results = await self.with_store(lambda store: store.history(self.context.id))
            step, self._executor.attempt = await self.with_store(
                lambda store: recover(store, self.context.id, self._clock(), self._rules)
            )
            await self._carry_out(*step)
        self.ended_before_start = self.ended.done()

    async def keep_time(self) -> None:
        """Let time pass for the rules until the run ends."""
        logged_at = self._clock()
        while not self.ended.done():
            self._wakeup.clear()
            try:
                # Not wait_for: Python 3.11's swallows a cancellation that comes together with the wake-up.
                async with asyncio.timeout(self._pause()):
                    await self._wakeup.wait()
            except TimeoutError:
                if self._clock() - logged_at >= rounds.LONGEST_PAUSE_SECONDS:
                    log.info(self.waiting_for)
                    logged_at = self._clock()
                await self.tick()
                self._dismiss_revoked()
                self.announce_roster()
                await self._store_refusals()
                await self._forget()

    def _pause(self) -> float:
        pause, due = rounds.longest_pause(self.state), rounds.next_wakeup(self.state, self._rules)
        return pause if due is None else min(pause, max(0.0, due - self._clock()))

    @shielded_from_cancellation
    async def tick(self) -> None:
        """Tell the rules that time has passed."""
        async with self.step() as step:
            await step.apply(states.Tick())

    def _dismiss_revoked(self) -> None:
        """End the streams of members revoked meanwhile, so that the rules stop waiting for them."""
        active = {member.name for member in self.context.verifier.roster.members if not member.revoked}
        for seats in (self.audience.clients, self.audience.holders):
            for name in seats.keys() - active:
                seats[name].close()

    # -------------------------------------------------------------------------------- the roster

    def announce_roster(self) -> int:
        """Return the version of the roster in force; if it is a new one, tell everyone who is connected."""
        version = self.context.identity.roster.current().version
        if version > self._announced:
            self._announced = version
            self.audience.announce_roster(version)
        return version

    async def take_roster(self, raw: bytes, caller: PeerName) -> None:
        """Take over a newer roster in which the caller is a member, and tell everyone who is connected.

        Raise Refused(BAD_SIGNATURE) for one that the registrar did not sign or that cannot follow the one in force,
        and NOT_IN_ROSTER, WRONG_ROLE or REVOKED unless the caller is an active member by it.
        """
        identity = self.context.identity
        try:
            offered = await asyncio.to_thread(read_roster, raw, identity.registrar)
            offered.active(caller.role, caller.name)
            await asyncio.to_thread(identity.roster.accept, raw)
        except DataError as error:
            raise Refused(Reason.BAD_SIGNATURE, f"the roster offered by {caller.name} is not taken: {error}") from None
        self.announce_roster()

    async def conclude(self) -> None:
        """Mark the run as ended, once its results are written; before that, a restart ends it again."""
        ended = self.ended.result()
        await self._store_refusals()
        await self.with_store(
            lambda store: store.end_run(self.context.id, completed=ended.completed, message=ended.message)
        )
        await self.with_store(lambda store: store.forget())

    async def _forget(self) -> None:
        """Let the ciphertexts of attempts that are over leave the disk, where no next attempt has made them leave."""
        try:
            async with self._lock:
                await self._executor.forget()
        except StorageError as error:  # the next start tries again
            log.warning("ciphertexts are still in the log of the database", why=str(error))

    async def close(self) -> None:
        """Close the store, after the current step."""
        async with self._lock:
            await self.with_store(lambda store: store.close())
        self._worker.close()

    def when_completed(self, call: Callable[[RoundResult], None]) -> None:
        """Have each round that is completed from now on handed to `call`, in the worker thread."""
        self._executor.on_completed = call

    # -------------------------------------------------------------------------------- refusals

    def count_refusal(self, reason: Reason) -> None:
        """Count a message that was refused."""
        self.refusals[reason] += 1
        metrics.REFUSALS.labels(reason.value).inc()

    def keep_evidence(self, client: str, refusal: Refused, evidence: bytes) -> None:
        """Store the signed bytes that show that a client lied, and take no more of it. For the worker thread."""
        self.refused_clients.convict(client, Refused(refusal.reason, str(refusal)))
        self._store.keep_evidence(self.context.id, client, str(refusal), evidence)

    async def _store_refusals(self) -> None:
        counted, self.refusals = self.refusals, Counter()
        if not counted:
            return
        try:
            await self.with_store(lambda store: store.count_refusals(self.context.id, counted))
        except StorageError as error:  # counts are no reason to stop; they are stored when there is room again
            log.warning("refusals not stored", why=str(error))
            self.refusals += counted

    async def all_refusals(self) -> Counter[str]:
        """Return how often messages of this run were refused, by the name of the check."""
        await self._store_refusals()
        return await self.with_store(lambda store: store.refusals(self.context.id))

    # -------------------------------------------------------------------------------- reading

    @property
    def phase(self) -> states.Phase:
        return self.state.phase

    @property
    def waiting_for(self) -> str:
        """What the run waits for, in one sentence."""
        return waiting_for(self.state, self._rules, self._members)

    @property
    def _members(self) -> frozenset[str]:
        """The names of all clients that may take part, kept while the roster is the same."""
        roster = self.context.identity.roster.current()
        if self._named is None or self._named[0] is not roster:
            self._named = roster, frozenset(client.name for client in roster.clients if not client.revoked)
        return self._named[1]

    @property
    def attempt(self) -> Attempt | None:
        """The open attempt, if there is one."""
        return self._executor.attempt

    @property
    def results(self) -> Sequence[RoundResult]:
        """The completed rounds in order."""
        return self._executor.results

    def is_in(self, phase: type[states.Attempted], id: AttemptId) -> bool:
        """Return whether this attempt is the current one and in this phase."""
        now = self.state.phase
        current = isinstance(now, states.Attempted) and (now.round, now.attempt) == (id.round, id.attempt)
        return current and isinstance(now, phase) and id.run == self.context.id

    def attempt_in(self, phase: type[states.Attempted], id: AttemptId) -> Attempt | None:
        """Return the open attempt if it is this one and in this phase."""
        return self._executor.attempt if self.is_in(phase, id) else None

    async def with_store(self, query: Callable[[Store], T]) -> T:
        """Call the store in the worker thread."""
        return await self._worker.run(query, self._store)

    def spool(self) -> BinaryIO:
        """Open a nameless file for an update while it arrives, so that memory holds one update at a time."""
        return self._store.spool()

    async def model(self, round_number: int | None) -> tuple[int, bytes, tuple[HolderSignature, ...]]:
        """Return a round's model (None: the newest) as (round, its bytes, its endorsements); one copy serves all."""
        served = await self.served_model(round_number)
        return served.round, served.model, served.endorsements

    async def served_model(self, round_number: int | None) -> ServedModel:
        """Return the same with what the server's rule remembers."""
        wanted = len(self.results) if round_number is None else round_number
        async with self._loading:
            if self._model is None or self._model.round != wanted:
                self._model = await self.with_store(lambda store: self._loaded(store, round_number))
            return self._model

    def _loaded(self, store: Store, round_number: int | None) -> ServedModel:
        number, found = store.server_model(self.context.id, round_number)
        raw = model_bytes(found.model), model_bytes(found.state)
        return ServedModel(number, *raw, found.state_digest, store.endorsements(self.context.id, number))

    def watch(self) -> Watcher:
        """Open a stream of progress that begins with the whole history."""
        watcher = Watcher(self._news)
        self.audience.watchers.add(watcher)
        if self.ended.done():
            watcher.close()
        return watcher

    def _news(self, told: Told) -> pb.Progress:
        """Return the state of the run, with what an observer was not told yet, and note it as told."""
        privacy, deadline = self.context.settings.privacy, getattr(self.phase, "deadline", None)
        message = progress(self.state, self._rules, self.results[told.results :], self._members)
        message.seconds_left = 0.0 if deadline is None else max(0.0, deadline - self._clock())
        message.run = self.context.id
        message.epsilon_budget = (privacy and privacy.epsilon_budget) or 0.0
        lanes = self.lanes.all(self.state, self.context.identity.roster.current())
        told.complete(message, len(self.results), lanes, self.lanes.calls)
        return message

    # -------------------------------------------------------------------------------- rules -> store -> streams

    @asynccontextmanager
    async def step(self) -> AsyncIterator[Step]:
        """Hold the run's lock for one step. Shield the caller from cancellation, or the step may be cut in two."""
        async with self._lock:
            yield Step(self, self._executor, self._worker)

    async def _apply(self, event: states.Event) -> None:
        if self.ended.done() and self.ended.exception() is not None:
            return  # after a halt the rules would be ahead of what the store could keep
        state, commands = rounds.advance(self.state, event, self._clock(), self._rules)
        await self._carry_out(state, commands)

    async def _carry_out(self, state: states.RunState, commands: tuple[states.Command, ...]) -> None:
        self.state = state
        metrics.PRESENT.labels("client").set(len(state.present))
        metrics.PRESENT.labels("keyholder").set(len(state.holders))
        try:
            for command in commands:
                await self._command(command)
        except StorageError as error:
            self.halt(error)
        self.lanes.remember(state)
        for watcher in self.audience.watchers:
            watcher.notify()
        if self.ended.done() and self.ended.exception() is None:
            ended = self.ended.result()
            self.audience.end(notices.run_ended(completed=ended.completed, message=ended.message))
        self._wakeup.set()

    async def _command(self, command: states.Command) -> None:
        event = await self._executor.carry_out(command, self.state)
        if isinstance(command, states.EndRun):
            self.ended.set_result(command)
        if event is not None:
            await self._apply(event)

    def halt(self, error: StorageError) -> None:
        """Stop this process in the middle of the run, because the store cannot keep what happened.

        Nothing acknowledged is lost: the store has the last committed state, and a restart continues there. The other
        parties only see a connection break and reconnect.
        """
        if not self.ended.done():
            self.ended.set_exception(StorageError(f"{error}; start the aggregator again when this is fixed"))
            self._wakeup.set()


class Step:
    """What a call may do to the run while it holds the lock: work on the open attempt, and report what happened."""

    def __init__(self, run: ActiveRun, executor: Executor, worker: Worker) -> None:
        self.apply = run._apply
        self.work = worker.run
        self._run = run
        self._executor = executor

    @property
    def phase(self) -> states.Phase:
        return self._run.state.phase

    @property
    def attempt(self) -> Attempt | None:
        """The open attempt, if there is one."""
        return self._run.attempt

    async def take_offer(self, holder: str, keys: Sequence[Signed]) -> bool:
        """Note the keys a holder has unused shares of; return whether enough holders now have one in common."""
        return await self._executor.take_offer(holder, keys, self._run.state.holders)


def _with_selection_secret(settings: RunSettings, store: Store, run: str) -> RunSettings:
    """Return the settings with the run's own secret, by which clients are drawn."""
    return replace(settings, rules=replace(settings.rules, selection_secret=store.selection_secret(run)))
