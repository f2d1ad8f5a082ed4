"""Random sequences of faults, drawn and shortened by hypothesis: in no order may they break a promise.

One machine plays one run of two rounds. Besides the steps of honest parties it lets clients join, leave, vanish, start
again, repeat what they sent, and send what is late or belongs to another round; lets key holders come, go, decline, and
die around a write; kills the aggregator around a write; lets it pass false updates on; and moves time. In the end the
faults stop, everyone who is left goes on, and the run must either complete or fail in a sentence; the judge looks at the
files of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from client.session import WITHOUT_US
from core.errors import Reason, Refused
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Upload
from faults.breaking import LEDGER_WRITES, WRITES, Breaker
from faults.lying import LIES, NAMED
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.restoring import copy_holder, restore_holder
from faults.world import PROVEN, Client, Holder, World
from keyholder.difference import DifferenceRule
from server import states
from server.rules import RoundRules
from simulation.direct import UnavailableError
from simulation.party import Party
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 4, 2
LONGEST = 400
"""Operations in one sequence."""
MOST_MOVES = 200
AT_A_TIME = 200
"""Sequences that hypothesis plays in one go; then a new one begins."""
RULES = RoundRules(holders=3, threshold=2,
    rounds=ROUNDS, min_cohort=2, max_cohort=8, target=3, gather_seconds=5, round_seconds=20, upload_seconds=20,
    answer_seconds=5, patience_seconds=100, max_attempts=4,
)  # fmt: skip
EXPECTED = {*WITHOUT_US, Reason.NOT_COMMITTED, Reason.NOT_ENROLLED, Reason.WRONG_DIGEST, Reason.WRONG_DESCRIPTION}
"""Refusals of what a confused client repeats."""
AGGREGATOR_WRITES = [*WRITES, "set_state closing", "set_state releasing"]
STATE = pb.LedgerState(number=1, hash=bytes(32), life=bytes(16))
clients, holders = st.integers(0, CLIENTS - 1), st.integers(0, 2)


class FaultMachine(RuleBasedStateMachine):
    """One run in its own world. `parties`, `folder` and `task` are shared by all; the others count over all sequences."""

    parties: ClassVar[Parties]
    folder: ClassVar[Path]
    task: ClassVar[Task]
    played: ClassVar[int] = 0
    operations: ClassVar[int] = 0
    endings: ClassVar[dict[str, int]] = {}
    named: ClassVar[list[tuple[str, str]]] = []

    @initialize(
        number=st.integers(0, 2**32), scheme=st.sampled_from(["plain", "plain", "plain", "paillier", PROVEN]),
        rule=st.sampled_from([DifferenceRule.REPORT, DifferenceRule.ENFORCE]),
    )  # fmt: skip
    def begin(self, number: int, scheme: str, rule: DifferenceRule) -> None:
        self.loop = asyncio.new_event_loop()
        self.own = Path(tempfile.mkdtemp(dir=self.folder))

        async def made() -> World:
            world = World(self.parties, self.own, self.task, RULES, seed=number, scheme=scheme, rule=rule)
            await world.start()
            return world

        self.world = self.wait(made())

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        type(self).operations += 1
        return self.loop.run_until_complete(work)

    def client(self, number: int) -> Client:
        client: Client = list(self.world.clients.values())[number]
        return client

    def breaker_of(self, number: int) -> Breaker:
        breakers: dict[str, Breaker] = self.world.breakers
        return breakers[self.holder(number).name]

    def holder(self, number: int) -> Holder:
        holder: Holder = list(self.world.holders.values())[number]
        return holder

    # -------------------------------------------------------------------------------- honest steps

    @rule(steps=st.integers(1, 12))
    def go_on(self, steps: int) -> None:
        """Let parties that have something to do, do it."""
        for _ in range(steps):
            self.wait(self.world.step())

    @rule(number=clients)
    def client_moves(self, number: int) -> None:
        if not self.client(number).idle:
            self.wait(self.world.move(self.client(number)))

    @rule(number=holders)
    def holder_moves(self, number: int) -> None:
        if not self.holder(number).idle:
            self.wait(self.world.move(self.holder(number)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 21.0]))
    def time_passes(self, seconds: float) -> None:
        self.wait(self.world.pass_time(seconds))

    @rule(number=clients)
    def client_is_late(self, number: int) -> None:
        """Everyone else does all there is to do, then a deadline passes; the late one moves only after it."""
        self.move([party for party in self.world.parties if party is not self.client(number)])
        self.wait(self.world.pass_time())
        self.move([self.client(number)])

    @rule(number=clients)
    def client_uploads_late(self, number: int) -> None:
        """It has committed; the others upload, the deadline passes, and then it uploads too."""
        self.move(self.world.parties, until=states.Uploading)
        self.move([client for client in self.world.clients.values() if client is not self.client(number)])
        self.wait(self.world.pass_time())
        self.move([self.client(number)])

    def move(self, parties: Sequence[Party[Any]], until: type[states.Phase] | None = None) -> None:
        """Let them move until they have nothing to do, or the run is in that phase."""
        for _ in range(MOST_MOVES):
            if until is not None and isinstance(self.world.phase, until):
                return
            if not self.wait(self.world.step(parties)):
                return

    # -------------------------------------------------------------------------------- clients at fault

    @rule(number=clients)
    def client_loses_its_connection(self, number: int) -> None:
        self.wait(self.client(number).hang_up())

    @rule(number=clients)
    def client_starts_again(self, number: int) -> None:
        self.wait(self.client(number).restart())

    @rule(number=clients)
    def client_vanishes(self, number: int) -> None:
        self.wait(self.client(number).stop())

    @rule(number=clients, which=st.integers(0, 9), times=st.integers(1, 3))
    def client_repeats_a_commitment(self, number: int, which: int, times: int) -> None:
        """Of this round (a duplicate) or of one before (too late)."""
        self.repeat(number, which, times, "Commit")

    @rule(number=clients, which=st.integers(0, 9), times=st.integers(1, 3))
    def client_repeats_an_update(self, number: int, which: int, times: int) -> None:
        """Of this round, too early, twice, or too late."""
        self.repeat(number, which, times, "Submit")

    def repeat(self, number: int, which: int, times: int, method: str) -> None:
        """Send one of a client's submissions again."""
        client = self.client(number)
        given = self.world.given[client.name]
        for _ in range(times if given else 0):
            self.tolerate(self.world.send_again(client, given[which % len(given)], method))

    @rule(number=clients, other=clients)
    def client_sends_what_belongs_to_another(self, number: int, other: int) -> None:
        client, from_whom = self.client(number), self.client(other)
        for borrowed in self.world.given[from_whom.name][-1:] if client is not from_whom else ():
            for method in ("Submit", "Commit"):
                sent = self.world.send_again(client, borrowed, method)
                assert self.tolerate(sent, also={Reason.COMMITMENT_SIGNATURE}), (
                    f"a {method} of {from_whom.name} was accepted from {client.name}"
                )

    def tolerate(self, work: Coroutine[Any, Any, Any], also: frozenset[Reason] | set[Reason] = frozenset()) -> bool:
        """Return whether it was refused, for a reason that fits."""
        try:
            self.wait(work)
        except Refused as refusal:
            if refusal.reason not in EXPECTED | also | (set(NAMED) if self.world.lies else set()):
                raise
            return True
        return False

    @rule(number=clients, lie=st.sampled_from(sorted(LIES)))
    def client_begins_to_lie(self, number: int, lie: str) -> None:
        """Two at the most, so that the others can finish a round."""
        if len(self.world.lies) < 2:
            self.world.lies.setdefault(self.client(number).name, lie)

    # -------------------------------------------------------------------------------- key holders at fault

    @rule(number=holders)
    def holder_loses_its_connection(self, number: int) -> None:
        self.wait(self.holder(number).hang_up())

    @rule(number=holders)
    def holder_starts_again(self, number: int) -> None:
        self.wait(self.world.restart_holder(self.holder(number)))

    @rule(number=holders)
    def holders_disk_is_copied(self, number: int) -> None:
        copy_holder(self.world, self.holder(number))

    @rule(number=holders)
    def holder_is_restored_from_the_copy(self, number: int) -> None:
        self.wait(restore_holder(self.world, self.holder(number)))

    @rule(number=holders, when=st.sampled_from(["before", "after"]), write=st.sampled_from(LEDGER_WRITES))
    def holder_will_die_at_a_write(self, number: int, when: str, write: str) -> None:
        self.breaker_of(number).arm(f"{when} {write}")

    @rule(number=holders)
    def holder_declines(self, number: int) -> None:
        phase, holder = self.world.phase, self.holder(number)
        if isinstance(phase, states.Closing | states.Releasing):
            self.answer(holder, phase.attempt, "DeclineTask", pb.Decline(reason="too_similar", sentence="at random"))

    @rule(number=holders)
    def holder_begins_to_lie(self, number: int) -> None:
        """One at the most, so that the others can open a sum."""
        if not self.world.wrong_answers:
            self.world.wrong_answers.add(self.holder(number).name)

    @rule(number=holders, other=clients)
    def holder_accuses_a_client(self, number: int, other: int) -> None:
        """Without evidence; the oracle sees to it that nobody is left out for it."""
        phase, holder = self.world.phase, self.holder(number)
        if isinstance(phase, states.Closing | states.Releasing):
            accused = [self.client(other).name]
            accusation = pb.Decline(reason="wrong_proof", sentence="at random", clients=accused)
            self.answer(holder, phase.attempt, "DeclineTask", accusation)

    @rule(number=holders)
    def holder_answers_for_another_attempt(self, number: int) -> None:
        phase, holder = self.world.phase, self.holder(number)
        if isinstance(phase, states.Attempted):
            self.answer(holder, phase.attempt + 1, "SignList", pb.ListSignature(signature=bytes(64), ledger=STATE))
            header = pb.ReleaseHeader(run=self.world.run_id, round=phase.round, attempt=phase.attempt + 1, length=1)
            release = Upload("Release", pb.ReleaseRequest(header=header), b"x")
            self.wait(self.answered(holder, release))

    def answer(self, holder: Holder, attempt: int, method: str, message: Any) -> None:
        """Send an answer in a holder's name, whatever it was asked."""
        message.run, message.round, message.attempt = self.world.run_id, self.world.phase.round, attempt
        self.wait(self.answered(holder, Ask(method, message)))

    async def answered(self, holder: Holder, call: Call) -> None:
        with contextlib.suppress(UnavailableError):
            await self.world.carry(holder, call)

    # -------------------------------------------------------------------------------- the aggregator at fault

    @rule()
    def aggregator_starts_again(self) -> None:
        self.wait(self.world.restart())

    @rule(when=st.sampled_from(["before", "after"]), write=st.sampled_from(AGGREGATOR_WRITES))
    def aggregator_will_die_at_a_write(self, when: str, write: str) -> None:
        self.world.breaker.arm(f"{when} {write}")

    @rule(writes=st.integers(1, 3))
    def aggregators_disk_is_full(self, writes: int) -> None:
        self.world.breaker.fill(writes)

    @rule(number=clients, lie=st.sampled_from(sorted(LIES)))
    def aggregator_passes_a_false_update_on(self, number: int, lie: str) -> None:
        """It takes all updates unchecked from now on, and asks the holders to open a sum with this client's in it."""
        self.world.forwarding.on = True
        self.client_begins_to_lie(number, lie)
        self.move(self.world.parties, until=states.Releasing)

    @rule()
    def aggregator_checks_updates_again(self) -> None:
        self.world.forwarding.on = False

    @rule(number=holders)
    def holders_disk_is_full(self, number: int) -> None:
        self.breaker_of(number).fill(1)

    # -------------------------------------------------------------------------------- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        type(self).played += 1
        try:
            found = self.wait(self._to_the_end())
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.own, ignore_errors=True)
        assert not found, found

    async def _to_the_end(self) -> list[str]:
        halfway = self.world.judge()
        try:
            await self.world.play(most=20_000)
        except BaseException:
            await self.world.close()
            raise
        ending = type(self.world.phase).__name__
        self.endings[ending] = self.endings.get(ending, 0) + 1
        found: list[str] = halfway + await self.world.end()
        self.named.extend(self.world.forwarding.named)
        return found


def run(options: Options) -> Iterator[Outcome]:
    """Up to 10,000 sequences, as many as the minutes allow, and some of the longest; quick: 200 short ones."""
    if options.quick:
        yield play(200, 25, options.seed, options.minutes)
    else:
        yield play(10_000, 60, options.seed, options.minutes)
        yield play(200, LONGEST, options.seed, options.minutes)


def play(sequences: int, operations: int, number: int, minutes: float) -> Outcome:
    """Play sequences of up to `operations` operations, some at a time, until the minutes are over."""
    what = f"random sequences of up to {operations} faults and steps of all parties"
    with timed("random", what) as outcome, machine() as kind:
        started = time.monotonic()
        while kind.played < sequences and time.monotonic() < started + 60 * minutes:
            some = min(AT_A_TIME, sequences - kind.played)
            outcome.violations += _play_some(kind, some, operations, number)
            number += 1
        outcome.trials = kind.played
        ends = ", ".join(f"{count} {name.lower()}" for name, count in sorted(kind.endings.items()))
        refused = f"{len(kind.named)} times a holder refused a false update that was passed on"
        outcome.measured = f"{kind.operations} operations; {ends}; {refused}"
    return outcome


def _play_some(kind: type[FaultMachine], sequences: int, operations: int, number: int) -> list[str]:
    chosen = settings(
        max_examples=sequences, stateful_step_count=operations, deadline=None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink], print_blob=False,
    )  # fmt: skip
    try:
        run_state_machine_as_test(seed(number)(kind), settings=chosen)
    except Exception as error:  # whatever it is, it is a row of the table, with the shortest way to repeat it
        return ["\n".join([f"seed {number}: {error!r}", *getattr(error, "__notes__", ())])]
    return []


@contextlib.contextmanager
def machine() -> Iterator[type[FaultMachine]]:
    """Make a machine with its own counts, and parties to share."""
    with scratch() as folder, known(slot_task(CLIENTS)) as task:
        shared = {"parties": Parties(folder, clients=CLIENTS), "folder": folder, "task": task}
        counts: dict[str, Any] = {"played": 0, "operations": 0, "endings": {}, "named": []}
        yield type("FaultMachine", (FaultMachine,), {**shared, **counts})
