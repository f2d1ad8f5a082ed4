"""A run with all its parties in one event loop and no sockets, played one message at a time.

async def story(hall: Hall) -> None:
    await hall.gather()                          # key holders and clients come
    await hall.play_until(states.Uploading)
    await hall.restart()                         # the aggregator dies and starts again
    await hall.finish()                          # and the model is the one computed in clear

tell(tmp_path, federation, story)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from federations import BITS, POLICY, RUN, SPAM, VALUES, SmallFederation

from client.participant import Participant, Submission
from core.clock import SYSTEM_CLOCK
from core.errors import Reason, Refused, StorageError
from core.federated import client_rng, client_update, encoding_for, initial_model
from core.protocol import AttemptId, Signed, Timings
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.messages import attempt_id, description_from_bytes, list_from_wire, round_from_wire
from core.wire.streams import Assembly, model_from_bytes, pieces
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.orders import list_order, release_order
from server import states
from server.audience import Outbox
from server.clients import Clients
from server.holders import Holders
from server.rules import RoundRules
from server.run import ActiveRun
from server.settings import RunSettings
from server.store import Store

FloatArray = npt.NDArray[np.float64]
RULES = RoundRules(rounds=1, min_cohort=2, max_cohort=8, target=3)


@cache
def mailbox(seed: int, number: int) -> Dataset:
    """Few mails, made up once, for speed."""
    return SPAM.prepare(SPAM.generate(seed, number)[:20])


@dataclass
class Hall:
    """All parties of a run in one event loop: real objects, no sockets. What the aggregator pushes to whom is delivered
    one message at a time, in turn, and answered as client/connection.py and keyholder/connection.py would.

    Attributes:
        now: what the coordinator's clock says.
        falsify: changes a holder's share of an opening, by the holder's name.
    """

    folder: Path
    federation: SmallFederation
    rules: RoundRules = RULES
    scheme: str = "plain"
    now: float = 0.0
    falsify: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    delivered: int = 0

    def __post_init__(self) -> None:
        self.settings = RunSettings("spam", self.scheme, BITS, 0, self.rules, insecure_demo_keys=True)
        self.participants = {name: self.participant(name) for name in self.federation.clients}
        self.holders = {
            name: self.federation.key_holder(number, self.folder / name, rule=DifferenceRule.REPORT)
            for number, name in enumerate(self.federation.holders, start=1)
        }
        self.outboxes: dict[str, Outbox[Any]] = {}
        self.mail: dict[str, deque[Any]] = {}
        self.refusals: list[tuple[str, Refused]] = []

    def participant(self, name: str) -> Participant:
        """A client's process, just started and told which run it is."""
        made = Participant(self.federation[name], SPAM, POLICY, mailbox, SYSTEM_CLOCK)
        made.enrolled(RUN)
        return made

    # -------------------------------------------------------------------------------- the aggregator

    async def start(self) -> None:
        self.store = Store(self.folder / "server")
        if not self.store.has_runs():
            self.store.begin_run(RUN, self.settings.to_json(), initial_model(SPAM, 0))
        self.coordinator = ActiveRun(
            RUN, self.settings, SPAM, self.store, self.federation.server, clock=lambda: self.now
        )
        self.clients, self.keys = Clients(self.coordinator), Holders(self.coordinator)
        self.outboxes.clear()
        self.mail.clear()
        await self.coordinator.start()

    async def restart(self, *names: str) -> None:
        """The aggregator dies and starts again; these (or all) come back. Their own processes live on."""
        await self.coordinator.close()
        await self.start()
        await self.gather(*names)

    @property
    def phase(self) -> Any:
        return self.coordinator.phase

    async def tick(self, seconds: float) -> None:
        self.now += seconds
        await self.coordinator.tick()

    # -------------------------------------------------------------------------------- the others

    async def gather(self, *names: str) -> None:
        """Key holders and clients come; all of them if nobody is named."""
        for name in names or (*self.holders, *self.participants):
            outbox: Outbox[Any] = Outbox(name.encode())
            self.outboxes[name], self.mail[name] = outbox, deque()
            member = self.federation.roster.member(name)
            if name in self.holders:
                await self.keys.attend(member, outbox)
            else:
                request = pb.JoinRequest(task="spam", task_digest=self.participants[name].task_digest)
                await self.clients.join(member, request, outbox)

    async def leave(self, name: str) -> None:
        outbox = self.outboxes.pop(name)
        self.mail.pop(name)
        await (self.keys.leave if name in self.holders else self.clients.leave)(name, outbox)

    def collect(self) -> bool:
        """Take what was pushed out of the outboxes; whether there is anything to deliver."""
        for name, outbox in self.outboxes.items():
            while (message := outbox.take()) is not None:
                self.mail[name].append(message)
        return any(self.mail.values())

    async def play(self, until: Callable[[], bool] = lambda: False, *, most: int = 1000) -> None:
        """Deliver messages until it is quiet, or `until` holds, or so many were delivered."""
        while most and not until() and self.collect():
            for name in list(self.mail):
                if most and not until() and self.mail.get(name):
                    self.delivered += 1
                    most -= 1
                    await self.deliver(name, self.mail[name].popleft())

    async def play_until(self, phase: type) -> None:
        await self.play(lambda: isinstance(self.phase, phase))
        assert isinstance(self.phase, phase), self.phase

    async def deliver(self, name: str, message: Any) -> None:
        """One message, answered. A refusal is noted; a fault of the disk is repeated, unless it stopped the process."""
        answer = self.holder_answers if name in self.holders else self.client_answers
        try:
            await answer(name, message)
        except Refused as refusal:
            self.refusals.append((name, refusal))
        except StorageError:
            if not self.coordinator.ended.done():
                await answer(name, message)

    # -------------------------------------------------------------------------------- a client

    async def client_answers(self, name: str, notice: pb.Notice) -> None:
        participant = self.participants[name]
        match notice.WhichOneof("notice"):
            case "welcome":
                participant.enrolled(notice.welcome.run)
            case "round_opened":
                await self.commit(name, round_from_wire(notice.round_opened.round))
            case "list_closed":
                closed = list_from_wire(notice.list_closed)
                submission = participant.last
                if submission is not None and submission.description_digest == closed.description_digest:
                    participant.verify_list(closed, submission)
                    await self.submit(name, submission)

    async def commit(self, name: str, signed: Signed) -> pb.Receipt:
        participant = self.participants[name]
        description = participant.verify(signed, VALUES)
        _, raw, endorsements = await self.coordinator.model(description.id.round - 1)
        model = model_from_bytes(raw, VALUES)
        participant.verify_model(description, model, endorsements)
        submission = participant.answer(description, signed, model)
        return await self.clients.commit(self.federation.roster.member(name), submission.commitment, Timings(1.0, 2.0))

    async def submit(self, name: str, submission: Submission) -> pb.Receipt:
        member, header = self.federation.roster.member(name), submission.header
        announced = await self.clients.announce(member, header)
        if isinstance(announced, pb.Receipt):
            return announced
        update = Assembly(header.length, header.digest, announced, self.clients.spool())
        for piece in pieces(submission.payload):
            update.take(piece)
        return await self.clients.submit(member, header, update, header.length)

    # -------------------------------------------------------------------------------- a key holder

    async def holder_answers(self, name: str, task: pb.HolderTask) -> None:
        holder, member = self.holders[name], self.federation.roster.member(name)
        kind = task.WhichOneof("task")
        if kind == "need_key":
            need = task.need_key
            keys = holder.unused_keys(need.scheme, need.bits)
            await self.keys.offer_keys(member, attempt_id(need.run, need.round, need.attempt), keys)
        elif kind != "run_ended":
            order = {"close_list": task.close_list, "open_sum": task.open_sum.list, "endorse": task.endorse.order.list}
            id = description_from_bytes(order[str(kind)].round.description).id
            try:
                answer = self.decided(holder, task)
            except Refused as refusal:
                await self.keys.decline(member, id, refusal.reason, str(refusal))
            else:
                await self.tell(name, str(kind), id, answer)

    def decided(self, holder: KeyHolder, task: pb.HolderTask) -> Any:
        match task.WhichOneof("task"):
            case "close_list":
                return holder.sign_list(list_order(task.close_list))
            case "open_sum":
                return holder.open_sum(release_order(task.open_sum), self.fetch)
        order, wanted = release_order(task.endorse.order), task.endorse.model_digest
        return holder.endorse(order, wanted, self.fetch, self.fetch_opened, self.fetch_model)

    async def tell(self, name: str, kind: str, id: AttemptId, answer: Any) -> None:
        member = self.federation.roster.member(name)
        match kind:
            case "close_list":
                await self.keys.list_signed(member, id, answer)
            case "open_sum":
                partial = self.falsify.get(name, bytes)(answer.partial)
                await self.keys.release(member, id, partial, answer.seconds, answer.exposure)
            case "endorse":
                await self.keys.endorsed(member, id, answer)

    def fetch(self, id: AttemptId, client: str, _length: int) -> bytes:
        return self.store.payload(id, client)

    def fetch_opened(self, id: AttemptId, _length: int) -> bytes:
        attempt = self.coordinator.attempt
        if attempt is None or attempt.id != id or attempt.opened is None:
            raise Refused(Reason.ROUND_NOT_OPEN, "as Holders.opened_sum")
        return attempt.opened.to_bytes(attempt.description.key)

    def fetch_model(self, round_number: int, _values: int) -> FloatArray:
        return self.store.model(RUN, round_number)[1]

    # -------------------------------------------------------------------------------- what came of it

    def signed_round(self) -> Signed:
        last = self.store.last_attempt(RUN)
        assert last is not None
        return last.description

    async def finish(self) -> None:
        """Play to the end, and require that the rounds are completed with the right models."""
        await self.play()
        assert self.phase == states.Finished(), self.phase
        for number in range(1, self.rules.rounds + 1):
            self.require_right_model(number)

    def require_right_model(self, number: int) -> None:
        """The model of a round is, bit for bit, what anybody computes in clear from what its contributors sent."""
        row = self.store._database.first(
            "SELECT attempt FROM attempts WHERE run = ? AND round = ? AND state = 'completed'", RUN, number
        )
        assert row is not None
        contributors = [p.client for p in self.store.submissions(AttemptId(RUN, number, row[0])) if p.uploaded]
        before, after = (self.store.model(RUN, n)[1] for n in (number - 1, number))
        expected = in_clear(before, number, [self.federation[name].number for name in contributors])
        assert np.array_equal(after, expected)
        assert self.store.history(RUN)[number - 1].contributors == len(contributors)


def in_clear(model: FloatArray, round_number: int, clients: list[int]) -> FloatArray:
    """One round of federated averaging without any protocol: train, clip, round, add, divide."""
    encoding = encoding_for(SPAM, VALUES, 224, 8)
    total = np.zeros(VALUES, np.int64)
    for number in clients:
        update = client_update(SPAM, model, mailbox(0, number), client_rng(0, round_number, number))
        total += encoding.quantise(update.delta)
    return model + np.ldexp(total.astype(np.float64), -encoding.fraction_bits) / len(clients)


def tell(
    folder: Path, federation: SmallFederation, story: Callable[[Hall], Coroutine[Any, Any, None]], **how: Any
) -> None:
    """Tell a story in an event loop of its own and close everything after it."""

    async def told() -> None:
        hall = Hall(folder, federation, **how)
        federation.deal(2 * hall.rules.rounds, hall.scheme)
        await hall.start()
        try:
            await story(hall)
        finally:
            await hall.coordinator.close()
            for holder in hall.holders.values():
                holder.ledger.close()

    asyncio.run(told())
