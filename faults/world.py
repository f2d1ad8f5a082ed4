"""A whole federation in one process, moved one step at a time: real rules, store, key holders and clients.

Who moves next is drawn from a seed, so every trial can be repeated (but for keys and noise, which are always fresh).
Time is a number that is moved on when nobody has anything to do. The aggregator can be killed at any point that
faults/breaking.py names: its files are copied as they lie there in that moment, and a new one takes them up.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from client.participant import Submission
from core.errors import StorageError
from core.federated import initial_model
from core.protocol import AttemptId
from core.secagg.opening import OpenedSum
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from faults.actors import Actor, Client
from faults.aggregator import Aggregator
from faults.breaking import Breaker, Crash
from faults.holding import Holder
from faults.oracle import Evidence, Noted, violations
from faults.parties import BITS, Parties
from keyholder.difference import DifferenceRule
from server import states
from server.records import FILE
from server.rounds import next_wakeup
from server.rules import RoundRules
from server.settings import RunSettings

T = TypeVar("T")
MOST_STEPS = 200_000
SPARE_KEYS = 12


class World:
    """One trial. `surprises` is what should not happen to honest parties; the oracle judges the rest."""

    def __init__(
        self,
        parties: Parties,
        folder: Path,
        task: Task,
        rules: RoundRules,
        *,
        clients: Iterable[str] | None = None,
        scheme: str = "plain",
        seed: int = 0,
        rule: DifferenceRule = DifferenceRule.REPORT,
        breaker: Breaker | None = None,
        keys: int | None = None,
    ) -> None:
        self.parties, self.folder, self.task, self.rules = parties, folder, task, rules
        self.settings = RunSettings(task.name, scheme, BITS, 0, rules, insecure_demo_keys=True)
        self.values = len(initial_model(task, 0))
        self.rng = random.Random(seed)  # noqa: S311  it decides who moves next, and nothing secret
        self.now = 0.0
        self.run = ""
        self.lives = 0
        self.receipts: list[Noted] = []
        self.opened: dict[tuple[int, int], list[float]] = {}
        self.surprises: list[str] = []
        shares = parties.dealt(keys or rules.rounds + SPARE_KEYS, scheme)
        for name in parties.holders:
            shutil.copytree(shares / name, folder / name)
        self.breaker = breaker or Breaker()
        self.aggregator = self._born(folder / "server-1")
        names = parties.clients if clients is None else clients
        self.clients = {name: Client(self, name) for name in names}
        self.holders = {name: Holder(self, name, folder / name, rule) for name in parties.holders}

    @property
    def actors(self) -> list[Actor]:
        return [*self.clients.values(), *self.holders.values()]

    @property
    def phase(self) -> states.Phase:
        return self.aggregator.coordinator.phase

    @property
    def over(self) -> bool:
        return isinstance(self.phase, states.Finished | states.Failed)

    # -------------------------------------------------------------------------------- the aggregator

    def _born(self, folder: Path) -> Aggregator:
        """An aggregator from what lies in `folder`; if it dies at its birth, the next one."""
        self.lives += 1
        try:
            born = Aggregator(self, folder, self.breaker)
        except (Crash, StorageError):
            return self._born(self._left_behind(folder))
        self.run = born.run
        self._watch(born)
        return born

    def _watch(self, aggregator: Aggregator) -> None:
        """Look at every sum that is opened."""
        keep = aggregator.store.keep_opened

        def watched(id: AttemptId, raw: bytes) -> None:
            attempt = aggregator.coordinator.attempt
            assert attempt is not None
            key, count = attempt.description.key, attempt.count
            cohort = attempt.cohort(OpenedSum.from_bytes(key, count, raw))
            keep(id, raw)
            self.opened[id.round, id.attempt] = list(cohort.delta_sum)

        vars(aggregator.store)["keep_opened"] = watched

    def _left_behind(self, folder: Path) -> Path:
        """A copy of the files as they lie there now, and nobody to break them any more."""
        self.breaker = Breaker()
        copy = self.folder / f"server-{self.lives + 1}"
        shutil.copytree(folder, copy)
        return copy

    async def start(self) -> None:
        """Take up the run, whatever the store says of it."""
        try:
            await self.aggregator.coordinator.start()
        except Crash:
            await self.restart()

    async def restart(self) -> None:
        """Kill the aggregator and start it again. Everyone's connection breaks; some have read what was sent before."""
        copy = self._left_behind(self.aggregator.folder)
        old = self.aggregator
        self._forget_connections()
        with suppress(Crash):
            await old.close()
        self.aggregator = self._born(copy)
        await self.start()

    def _forget_connections(self) -> None:
        for actor in self.actors:
            if actor.inbox is not None:
                actor.inbox.ended = True
                if self.rng.random() < 0.5:
                    actor.inbox.unread.clear()
        if not self.over:
            return
        for actor in self.actors:
            actor.done = False  # who did not hear that the run is over will come back and ask

    async def call(self, name: str, send: Callable[[Aggregator], Awaitable[T]]) -> T:
        """One call of a party, repeated until it is answered. The answer may be lost on the way."""
        while True:
            try:
                self.aggregator.breaker.reach(f"before call {name}")
                answer = await send(self.aggregator)
                self.aggregator.breaker.reach(f"before answer {name}")
            except Crash:
                await self.restart()
                continue
            except StorageError:
                await self._start_again_if_stopped()
                continue
            await self._start_again_if_stopped()
            with suppress(Crash):
                self.aggregator.breaker.reach(f"after answer {name}")
                return answer
            await self.restart()
            return answer

    async def _start_again_if_stopped(self) -> None:
        """An aggregator that could not write down what it did has stopped; somebody starts it again."""
        ended = self.aggregator.coordinator.ended
        if ended.done() and ended.exception() is not None:
            await self.restart()

    # -------------------------------------------------------------------------------- moving

    async def play(self, *, until: Callable[[], bool] | None = None, most: int = MOST_STEPS) -> None:
        """Let everyone move in random order until the run is over and all know it."""
        for _ in range(most):
            if until is not None and until():
                return
            ready = [actor for actor in self.actors if not actor.idle]
            if ready:
                await self.rng.choice(ready).step()
            elif self.over:
                return
            else:
                await self.pass_time()
        self.surprises.append(f"not over after {most} steps, in {type(self.phase).__name__}")

    async def pass_time(self, seconds: float | None = None) -> None:
        """Move on to when something is due, or by so many seconds."""
        coordinator = self.aggregator.coordinator
        if seconds is None:
            due = next_wakeup(coordinator.state, self.rules)
            seconds = max(0.0, (due or self.now) - self.now) if not self._waits_for_key() else 0.5
        self.now += seconds

        async def tick(aggregator: Aggregator) -> None:
            await aggregator.coordinator.tick()

        await self.call("tick", tick)

    def _waits_for_key(self) -> bool:
        return isinstance(self.phase, states.Waiting) and not self.phase.key_ready

    def note(self, client: str, submission: Submission, what: str, receipt: pb.Receipt) -> None:
        """Remember a receipt that a client was given."""
        id = submission.header.id
        if receipt.sha256 != submission.header.digest:
            self.surprises.append(f"{client} has a receipt for another update of {id}")
        self.receipts.append(Noted(client, id.round, id.attempt, what, receipt.sha256))

    # -------------------------------------------------------------------------------- the end

    async def conclude(self) -> list[str]:
        """Write down that the run is over, close everything, and give all that is wrong."""
        while self.over and not await self._written_down():
            await self.play()  # it died before that, and took the run up again
        found = [*self.surprises, *self.judge(), *self._changed_answers()]
        await self.close()
        return found

    async def _written_down(self) -> bool:
        lives = self.lives

        async def conclude(aggregator: Aggregator) -> None:
            if self.lives == lives:
                await aggregator.coordinator.conclude()

        await self.call("conclude", conclude)
        return self.lives == lives

    def _changed_answers(self) -> list[str]:
        return [
            f"{holder.name} gave {len(given)} different answers to {what} of {id}"
            for holder in self.holders.values()
            for (what, id), given in holder.answers.items()
            if len(given) > 1
        ]

    def judge(self) -> list[str]:
        """What the files say is wrong, now."""
        evidence = Evidence(
            server=self.aggregator.folder / FILE,
            ledgers=[holder.state / "keyholder.sqlite" for holder in self.holders.values()],
            numbers=self.parties.numbers(),
            threshold=self.rules.threshold,
            min_cohort=self.rules.min_cohort,
            receipts=self.receipts,
            opened=self.opened,
        )
        return violations(evidence)

    async def close(self) -> None:
        with suppress(Crash):
            await self.aggregator.close()
        for holder in self.holders.values():
            holder.ledger.close()
