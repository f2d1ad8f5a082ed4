"""An in-process federation in which everything can be broken, and which notes what the judge wants to know.

The aggregator can be killed at any point that faults/breaking.py names: its files are copied as they lie there in that
moment, and a new one takes them up. A key holder can be killed around every write of its ledger and every answer.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from client.participant import Participant, Submission
from client.session import ClientSession, commit_call, submit_call
from core.errors import Reason, Refused, StorageError
from core.federated import initial_model
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, HolderSignature
from core.secagg.opening import OpenedSum
from core.secagg.scheme import PAILLIER
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Upload
from faults.breaking import Breaker, Crash, HalfUpload, break_ledger, break_store
from faults.forwarding import Forwarding
from faults.lying import FickleClient, wrong_answer
from faults.oracle import Evidence, Noted, violations
from faults.parties import BITS, POLICY, Parties
from faults.surprises import surprises
from keyholder.difference import DifferenceRule
from keyholder.orders import ReleaseOrder, release_order
from keyholder.session import HolderSession
from server import states
from server.records import FILE
from server.rules import RoundRules
from server.settings import RunSettings
from server.store import Store
from simulation.direct import DirectAggregator, DirectStream, UnavailableError
from simulation.in_process import InProcessFederation, Options
from simulation.party import Party

T = TypeVar("T")
Client: TypeAlias = Party[ClientSession]
Holder: TypeAlias = Party[HolderSession]
SPARE_KEYS = 12
ANSWERS = ("SignList", "SignRequest", "Release", "EndorseModel")
PROVEN = "paillier, with proofs"
"""The scheme of a trial in which clients prove that their updates keep their bounds; in others they do not."""
HONEST_DECLINES = (Reason.TOO_SIMILAR, Reason.ROUND_NOT_OPEN, Reason.ALREADY_RELEASED)
"""Why a key holder may decline what an honest aggregator asks: the last, if it lent its share for an attempt that others
then declined. Any other reason says that the aggregator lied or forgot."""


class World(InProcessFederation):
    """One trial. `surprises` is what should not happen to honest parties; the oracle judges the rest.

    Attributes:
        breaker, breakers: of the aggregator, and of each key holder by name.
        given: every submission that a client made, by its name, for scenarios that repeat one.
        answers: every answer of a holder, by its name, the call and the attempt: one answer each, however often asked.
        opened_for: the last order that each holder has signed.
        lies: what each lying client does to its updates (faults/lying.py), if the scheme is PROVEN.
        forwarding: whether the aggregator passes such updates on, and which there were.
        wrong_answers: key holders that lend a wrong share whenever they lend one.
        discarded: the disks of key holders that a copy was put in the place of.
        vanishes: whether a client vanishes at a moment: before its commitment ("commit"), before its update ("upload"),
            or in the middle of it ("transfer").
    """

    def __init__(
        self,
        registered: Parties,
        folder: Path,
        task: Task,
        rules: RoundRules,
        *,
        scheme: str = "plain",
        seed: int = 0,
        rule: DifferenceRule = DifferenceRule.REPORT,
        breaker: Breaker | None = None,
    ) -> None:
        self.registered, self.rules = registered, rules
        self.values = len(initial_model(task, 0))
        self.lives = 0
        self.holder_lives: dict[str, int] = defaultdict(int)
        self.receipts: list[Noted] = []
        self.opened: dict[tuple[int, int], list[float]] = {}
        self.surprises: list[str] = []
        self.breaker = breaker or Breaker()
        self.breakers: dict[str, Breaker] = {}
        self.given: dict[str, list[Submission]] = defaultdict(list)
        self.answers: dict[tuple[str, str, AttemptId], set[bytes]] = defaultdict(set)
        self.opened_for: dict[str, ReleaseOrder] = {}
        self.discarded: list[Path] = []
        self.lies: dict[str, str] = {}
        self.forwarding = Forwarding()
        self.wrong_answers: set[str] = set()
        self.vanishes: Callable[[str, str], bool] = lambda _name, _moment: False
        bounded, scheme = scheme == PROVEN, PAILLIER if scheme == PROVEN else scheme
        shares = registered.dealt(rules.rounds + SPARE_KEYS, scheme)
        identities = dict(registered.identities)
        for name in registered.holders:
            shutil.copytree(shares / name, folder / name)
            identities[name] = replace(registered[name], folder=folder / name)
        settings = RunSettings(
            task.name, scheme, BITS, 0, rules, insecure_demo_keys=True, insecure_unbounded=not bounded
        )
        super().__init__(folder, identities, settings, task, Options(rule=rule, policy=POLICY, seed=seed))

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.aggregator.run.context.id

    # -------------------------------------------------------------------------------- parties that break

    def new_aggregator(self, folder: Path, resume: str | None = None) -> DirectAggregator:
        """Start an aggregator from what lies in `folder`; if it dies at once, the next one."""
        self.lives += 1
        try:
            born = DirectAggregator(
                folder, self.identities["server"], self.settings, self.task, lambda: self.now,
                run=resume or self.options.start, store=self._breakable,
            )  # fmt: skip
        except (Crash, StorageError):
            return self.new_aggregator(self._left_behind(folder), resume)
        self._watch(born)
        return born

    def _breakable(self, folder: Path) -> Store:
        store = Store(folder)
        break_store(store, self.breaker)
        return store

    def new_client(self, identity: PartyIdentity, made: Callable[..., Participant] = Participant) -> ClientSession:
        """Start a client that lies from the moment that `lies` says so."""
        return super().new_client(
            identity, partial(FickleClient, self.lies, self.forwarding.false) if made is Participant else made
        )

    def new_holder(self, identity: PartyIdentity) -> HolderSession:
        """Start a key holder whose ledger and shares can be broken."""
        session, breaker = super().new_holder(identity), Breaker()
        self.breakers[identity.name] = breaker
        self.holder_lives[identity.name] += 1
        break_ledger(session.holder.ledger, breaker)
        destroy = session.holder.shares.destroy

        def broken(serial: int) -> None:
            """A share is destroyed after the ledger's entry: two points more."""
            breaker.reach("before destroy")
            destroy(serial)
            breaker.reach("after destroy")

        session.holder.shares.destroy = broken  # type: ignore[method-assign]
        return session

    def ledger_of(self, name: str) -> Path:
        """Return the file of a holder's ledger."""
        return self.folder / name / "keyholder.sqlite"

    def _watch(self, aggregator: DirectAggregator) -> None:
        """Look at every sum that is opened."""
        keep = aggregator.store.keep_opened

        def watched(id: AttemptId, raw: bytes, requests: Sequence[HolderSignature]) -> None:
            attempt = aggregator.run.attempt
            assert attempt is not None
            key, count = attempt.description.key, attempt.count
            cohort = attempt.cohort(OpenedSum.from_bytes(key, count, raw))
            keep(id, raw, requests)
            self.opened[id.round, id.attempt] = list(cohort.delta_sum)

        vars(aggregator.store)["keep_opened"] = watched

    # -------------------------------------------------------------------------------- the aggregator's lives

    def _left_behind(self, folder: Path) -> Path:
        """Return a copy of the files as they lie there now, with nothing to break them any more."""
        self.breaker = Breaker()
        copy = self.folder / f"server-{self.lives + 1}"
        shutil.copytree(folder, copy)
        return copy

    async def start(self) -> None:
        """Take up the run, whatever the store says of it."""
        try:
            await super().start()
        except Crash:
            await self.restart()

    async def restart(self) -> None:
        """Kill the aggregator and start it again from its files."""
        old = self.aggregator
        copy = self._left_behind(old.folder)
        await self.lose_streams()
        with suppress(Crash):
            await old.run.close()
        self.aggregator = self.new_aggregator(copy, old.run.context.id)
        await self.start()

    async def drop(self, stream: DirectStream) -> None:
        with suppress(Crash):  # the aggregator is dead already
            await super().drop(stream)

    async def call(self, name: str, send: Callable[[DirectAggregator], Awaitable[T]]) -> T:
        """Send one call; it, or its answer, may be lost because the aggregator dies.

        Raises UnavailableError if there was no answer.
        """
        answered = False
        try:
            self.breaker.reach(f"before call {name}")
            answer = await send(self.aggregator)
            self.breaker.reach(f"before answer {name}")
            answered = True
            self.breaker.reach(f"after answer {name}")
        except Crash:
            await self.restart()
            if not answered:
                raise UnavailableError("the aggregator died") from None
        finally:
            await self._start_again_if_stopped()
        return answer

    async def _start_again_if_stopped(self) -> None:
        """Start an aggregator again that stopped because it could not write down what it did."""
        ended = self.aggregator.run.ended
        if ended.done() and ended.exception() is not None:
            await self.restart()

    async def tick(self) -> None:
        with suppress(UnavailableError, StorageError):
            await self.call("tick", lambda aggregator: aggregator.run.tick())

    # -------------------------------------------------------------------------------- calls

    async def move(self, party: Party[Any]) -> None:
        """Let one party do one thing; a holder that dies of it is started again."""
        try:
            await party.step()
        except Crash:
            await self.restart_holder(party)

    async def restart_holder(self, party: Holder) -> None:
        """Kill a key holder and start it again from its files."""
        party.session.holder.ledger.close()
        await party.restart()

    async def subscribe(self, party: Party[Any]) -> DirectStream:
        call: Ask = party.session.subscription()
        before = self.aggregator
        stream = await self.call(call.method, lambda aggregator: aggregator.subscribe(party.identity, call))
        if self.aggregator is not before:
            await self.drop(stream)
            raise UnavailableError("the stream broke when the aggregator died")
        return stream

    async def deliver(self, party: Party[Any], call: Call) -> Any:
        """Make one call; note what a client was promised and what a holder answered."""
        if party.name in self.clients:
            return await self._deliver_for_client(party, call)
        return await self._deliver_for_holder(party, call)

    async def carry(self, party: Party[Any], call: Call) -> Any:
        """Make one call for a party, and nothing more."""
        self.forwarding.apply(self.aggregator.run.attempt)
        return await self.call(call.method, lambda aggregator: aggregator.carry(party.identity, call))

    async def _deliver_for_client(self, client: Client, call: Call) -> Any:
        submission = client.session.participant.last
        if call.method == "Commit" and submission is not None:
            if submission not in self.given[client.name]:
                self.given[client.name].append(submission)
            await self._perhaps_vanish(client, "commit")
        if call.method == "Submit" and self.vanishes(client.name, "transfer"):
            await self._break_off(client, call)
        receipt = await self.carry(client, call)
        if submission is not None and call.method in ("Commit", "Submit"):
            self._note(client.name, submission, call.method.lower(), receipt)
        if call.method == "Commit":
            await self._perhaps_vanish(client, "upload")
        return receipt

    async def _perhaps_vanish(self, client: Client, moment: str) -> None:
        if self.vanishes(client.name, moment):
            await client.stop()
            raise UnavailableError("the client is gone")

    async def _break_off(self, client: Client, call: Call) -> None:
        """Send half of an upload, and vanish."""
        assert isinstance(call, Upload)
        with suppress(asyncio.CancelledError):
            await self.carry(client, HalfUpload(call.method, call.header, call.payload))
        await client.stop()
        raise UnavailableError("the client is gone")

    async def send_again(self, client: Client, submission: Submission, method: str) -> pb.Receipt:
        """Send a commitment ("Commit") or an update ("Submit") again. Raises Refused."""
        call = commit_call(submission) if method == "Commit" else submit_call(submission)
        while True:
            with suppress(UnavailableError):
                receipt: pb.Receipt = await self.carry(client, call)
                self._note(client.name, submission, method.lower(), receipt)
                return receipt

    def _note(self, client: str, submission: Submission, what: str, receipt: pb.Receipt) -> None:
        """Remember a receipt that a client was given."""
        id = submission.header.id
        if receipt.sha256 != submission.header.digest:
            self.surprises.append(f"{client} has a receipt for another update of {id}")
        self.receipts.append(Noted(client, id.round, id.attempt, what, receipt.sha256))

    async def _deliver_for_holder(self, holder: Holder, call: Call) -> Any:
        breaker = self.breakers[holder.name]
        if call.method in ANSWERS:
            self._note_answer(holder, call)
            breaker.reach(f"before {call.method}")
        if isinstance(call, Ask) and isinstance(call.message, pb.Decline):
            reason = call.message.reason
            explained = self.forwarding.explains(call.message, holder.message, holder.identity)
            if reason not in HONEST_DECLINES and not explained:
                self.surprises.append(f"{holder.name} declined: {reason}: {call.message.sentence}")
        reply = await (self._lend(holder, call) if isinstance(call, Upload) else self.carry(holder, call))
        if call.method in ANSWERS:
            breaker.reach(f"after {call.method}")
        return reply

    async def _lend(self, holder: Holder, call: Upload) -> Any:
        """Bring the aggregator a holder's share, or a wrong one; only that may be refused, and it must be."""
        lies, before = holder.name in self.wrong_answers, self.phase
        try:
            reply = await self.carry(holder, wrong_answer(call) if lies else call)
        except Refused as refusal:
            if refusal.reason is Reason.WRONG_SHARE and not lies:
                self.surprises.append(f"{holder.name} answered right and was refused: {refusal}")
            raise
        named: Any = call.header.header
        if lies and isinstance(before, states.Releasing) and named.attempt == before.attempt:
            self.surprises.append(f"a wrong answer of {holder.name} was taken")
        return reply

    def _note_answer(self, holder: Holder, call: Call) -> None:
        if isinstance(call, Upload):
            named: Any = call.header.header
            answer = call.payload
        else:
            named = call.message
            answer = named.ledger.hash  # the signature names the holder's life, and is another one in the next
        if call.method == "SignRequest":
            self.opened_for[holder.name] = release_order(holder.message.open_sum)
        self.answers[holder.name, call.method, AttemptId(named.run, named.round, named.attempt)].add(answer)

    # -------------------------------------------------------------------------------- the end

    async def end(self) -> list[str]:
        """Store that the run is over, close everything, and return all that is wrong."""
        while self.over and not await self._written_down():
            await self.play()  # it died before that, and took the run up again
        found = [*self.surprises, *surprises(self), *self.judge()]
        await self.close()
        return found

    async def _written_down(self) -> bool:
        lives = self.lives
        with suppress(UnavailableError, StorageError):
            await self.call("conclude", lambda aggregator: aggregator.run.conclude())
        return self.lives == lives

    def judge(self) -> list[str]:
        """Return what is wrong according to the files, now."""
        evidence = Evidence(
            server=self.aggregator.folder / FILE,
            ledgers=[
                *(self.ledger_of(name) for name in self.holders),
                *(folder / "keyholder.sqlite" for folder in self.discarded),
            ],
            numbers=self.registered.numbers(),
            threshold=self.rules.threshold,
            min_cohort=self.rules.min_cohort,
            receipts=self.receipts,
            leaves_out=self.options.rule is DifferenceRule.ENFORCE,
            opened=self.opened,
            false=frozenset(self.forwarding.false),
        )
        return violations(evidence)

    async def close(self) -> None:
        with suppress(Crash):
            await super().close()
