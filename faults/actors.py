"""Clients and key holders of a world in one process: the product's own checks, signatures and ciphertexts, moved by hand.

Each does one thing at a time, when it is told to: connect, or read one message and answer it. They mirror
client/connection.py and keyholder/connection.py, whose waiting in threads could not be repeated exactly.
"""

from __future__ import annotations

import functools
import secrets
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.participant import Participant, Submission
from core.console import today
from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, digest
from core.secagg.scheme import Policy
from core.wire import federation_pb2 as pb
from core.wire.messages import attempt_id, description_from_bytes, list_from_wire, round_from_wire
from core.wire.streams import Assembly, model_from_bytes, pieces
from faults.breaking import Breaker, Crash, break_ledger
from faults.inbox import Inbox
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.orders import ReleaseOrder, list_order, release_order

if TYPE_CHECKING:
    from faults.world import World

POLICY = Policy(min_cohort=2, insecure_demo_keys=True, allow_plain=True)
NOT_OURS = (Reason.ROUND_NOT_OPEN, Reason.DUPLICATE)
"""Refusals that end nothing for a client: the round went on without it."""
HONEST_DECLINES = (Reason.TOO_SIMILAR, Reason.ROUND_NOT_OPEN, Reason.ALREADY_RELEASED)
"""Why a key holder may turn down an honest aggregator: the last, if it lent its share for an attempt that others then
declined. Anything else says that the aggregator lied or forgot."""
Answer = tuple[str, bytes, Callable[[Any], Awaitable[None]]]
"""What is answered, the bytes that it comes to, and how to send it."""


class Actor(ABC):
    """One party. `inbox` is its stream, None while it has no connection."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.instance = secrets.token_bytes(16)
        self.inbox: Inbox[Any] | None = None
        self.done = False
        """Whether it was told that the run is over."""
        self._days = 0

    def skew(self, days: int) -> None:
        """Let this party's calendar be wrong by so many days."""
        self._days = days

    def today(self) -> int:
        return today() + self._days

    @property
    def idle(self) -> bool:
        return self.done or (self.inbox is not None and self.inbox.silent)

    async def step(self) -> None:
        """Do the next thing."""
        if self.inbox is None:
            self.inbox = Inbox(self.instance)
            await self.connect(self.inbox)
        elif self.inbox.unread:
            await self.read(self.inbox.unread.popleft())
        elif self.inbox.ended:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Lose the connection; the aggregator notices."""
        inbox, self.inbox = self.inbox, None
        if inbox is not None:
            await self.disconnect(inbox)

    @abstractmethod
    async def connect(self, inbox: Inbox[Any]) -> None: ...

    @abstractmethod
    async def disconnect(self, inbox: Inbox[Any]) -> None: ...

    @abstractmethod
    async def read(self, message: Any) -> None: ...


class Client(Actor):
    """A data owner. `sent` is every submission it ever made, for those who want to repeat one."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.member = world.parties.roster.member(name)
        self.sent: list[Submission] = []
        self.refused: list[Refused] = []
        self.vanishes: Callable[[str, str], bool] = lambda _name, _moment: False
        """Whether it vanishes at a moment: before its commitment, before its update, or in the middle of it."""
        self._begin()

    def _begin(self) -> None:
        task, identity = self.world.task, self.world.parties[self.name]
        self.participant = Participant(
            identity, task, POLICY, lambda seed, number: task.prepare(task.generate(seed, number)), self.today
        )

    async def restart(self) -> None:
        """Be killed and started again: a new process, which remembers nothing."""
        await self.hang_up()
        self.instance = secrets.token_bytes(16)
        self.done = False
        self._begin()

    async def vanish(self) -> None:
        """Be killed, and not started again."""
        await self.hang_up()
        self.done = True

    async def connect(self, inbox: Inbox[pb.Notice]) -> None:
        digest_ = self.participant.task_digest
        request = pb.JoinRequest(task=self.world.task.name, task_digest=digest_, instance=self.instance)
        await self.world.call("join", lambda a: a.clients.join(self.member, request, inbox))

    async def disconnect(self, inbox: Inbox[pb.Notice]) -> None:
        await self.world.call("leave", lambda a: a.clients.leave(self.name, inbox))

    async def read(self, message: pb.Notice) -> None:
        try:
            match message.WhichOneof("notice"):
                case "welcome":
                    self.participant.enrolled(message.welcome.run)
                case "round_opened":
                    await self._commit(message.round_opened)
                case "list_closed":
                    await self._upload(message.list_closed)
                case "run_ended":
                    self.done = True
        except Refused as refusal:
            self.refused.append(refusal)
            if refusal.reason not in NOT_OURS:
                self.world.surprises.append(f"{self.name} was refused: {refusal.reason}: {refusal}")

    async def _commit(self, opened: pb.RoundOpened) -> None:
        signed, last = round_from_wire(opened.round), self.participant.last
        if opened.committed and (last is None or last.description_digest != digest(signed.body)):
            return  # what was committed to is gone with the process before
        values = self.world.values
        description = self.participant.verify(signed, values)
        before = description.id.round - 1
        _, raw, endorsements = await self.world.call("model", lambda a: a.coordinator.model(before))
        model = model_from_bytes(raw, values)
        self.participant.verify_model(description, model, endorsements)
        submission = self.participant.answer(description, signed, model)
        self.sent.append(submission)
        if self.vanishes(self.name, "commit"):
            await self.vanish()
            return
        await self.commit(submission)
        if self.vanishes(self.name, "upload"):
            await self.vanish()

    async def commit(self, submission: Submission) -> pb.Receipt:
        """Bring a commitment, perhaps again."""
        signed, timings = submission.commitment, submission.timings
        receipt = await self.world.call("commit", lambda a: a.clients.commit(self.member, signed, timings))
        self.world.note(self.name, submission, "commit", receipt)
        return receipt

    async def _upload(self, message: pb.ListClosed) -> None:
        closed, submission = list_from_wire(message), self.participant.last
        if submission is None or closed.description_digest != submission.description_digest:
            return  # of a process before this one
        self.participant.verify_list(closed, submission)
        if self.vanishes(self.name, "transfer"):
            await self._break_off(submission)
            await self.vanish()
            return
        await self.submit(submission)

    async def submit(self, submission: Submission) -> pb.Receipt:
        """Upload, perhaps again: as server/service.py takes it in."""

        async def send(aggregator: Any) -> pb.Receipt:
            announced = await aggregator.clients.announce(self.member, submission.header)
            if isinstance(announced, pb.Receipt):
                return announced
            update = self._assembly(aggregator, submission)
            for piece in pieces(submission.payload):
                update.take(piece)
            update.check()
            size = len(submission.payload)
            receipt: pb.Receipt = await aggregator.clients.submit(self.member, submission.header, update, size)
            return receipt

        receipt = await self.world.call("submit", send)
        self.world.note(self.name, submission, "submit", receipt)
        return receipt

    async def _break_off(self, submission: Submission) -> None:
        """Send half of an upload, and nothing more."""

        async def send(aggregator: Any) -> None:
            if isinstance(await aggregator.clients.announce(self.member, submission.header), int):
                update = self._assembly(aggregator, submission)
                update.take(submission.payload[: len(submission.payload) // 2])
                update.close()

        await self.world.call("submit", send)

    @staticmethod
    def _assembly(aggregator: Any, submission: Submission) -> Assembly:
        header = submission.header
        return Assembly(header.length, header.digest, header.length, into=aggregator.clients.spool())


class Holder(Actor):
    """A key holder, whose ledger lies in `state` and its shares in `folder`."""

    def __init__(self, world: World, name: str, folder: Path, rule: DifferenceRule) -> None:
        super().__init__(world, name)
        self.member = world.parties.roster.member(name)
        self.breaker = Breaker()
        self.answers: dict[tuple[str, AttemptId], set[bytes]] = defaultdict(set)
        """Everything it ever answered, by what and to which attempt: one answer each, however often it was asked."""
        self.opened: ReleaseOrder | None = None
        """The last sum it lent its share for."""
        self.lives = 1
        self.state = folder / "state"
        self._identity = world.parties.holder_in(folder, name)
        self._rule = rule
        self._begin()

    def _begin(self) -> None:
        self.ledger = Ledger(self.state)
        break_ledger(self.ledger, self.breaker)
        self.holder = KeyHolder(self._identity, POLICY, self.ledger, self._rule, self.today)
        self._break_destruction()

    def _break_destruction(self) -> None:
        """A share is destroyed after the ledger's entry: two points more."""
        destroy = self.holder.shares.destroy

        def broken(serial: int) -> None:
            self.breaker.reach("before destroy")
            destroy(serial)
            self.breaker.reach("after destroy")

        self.holder.shares.destroy = broken  # type: ignore[method-assign]

    async def restart(self) -> None:
        """Be killed and started again from the files."""
        await self.hang_up()
        self.ledger.close()
        self.breaker = Breaker()
        self.instance = secrets.token_bytes(16)
        self.lives += 1
        self._begin()

    async def connect(self, inbox: Inbox[pb.HolderTask]) -> None:
        await self.world.call("attend", lambda a: a.holders.attend(self.member, inbox))

    async def disconnect(self, inbox: Inbox[pb.HolderTask]) -> None:
        await self.world.call("unattend", lambda a: a.holders.unattend(self.name, inbox))

    async def read(self, message: pb.HolderTask) -> None:
        try:
            match message.WhichOneof("task"):
                case "need_key":
                    await self._offer(message.need_key)
                case "close_list":
                    await self._or_decline(message.close_list, lambda id: self._sign(id, message.close_list))
                case "open_sum":
                    await self._or_decline(message.open_sum.list, lambda id: self._open(id, message.open_sum))
                case "endorse":
                    await self._or_decline(message.endorse.order.list, lambda id: self._endorse(id, message.endorse))
                case "run_ended":
                    self.done = True
        except (Crash, StorageError):  # the program ends, and somebody starts it again
            await self.restart()

    async def _or_decline(self, about: pb.CloseList, answer: Callable[[AttemptId], Any]) -> None:
        id = description_from_bytes(about.round.description).id
        try:
            what, raw, send = await answer(id)
        except Refused as refusal:
            if refusal.reason not in HONEST_DECLINES:
                self.world.surprises.append(f"{self.name} declined: {refusal.reason}: {refusal}")
            await self.decline(id, refusal)
            return
        self.answers[what, id].add(raw)
        self.breaker.reach(f"before {what}")
        await self._tell(what, send)
        self.breaker.reach(f"after {what}")

    async def decline(self, id: AttemptId, refusal: Refused) -> None:
        """Turn down what was asked last."""
        why = (refusal.reason, str(refusal))
        await self._tell("decline", lambda a: a.holders.decline(self.member, id, *why))

    async def _tell(self, what: str, send: Callable[[Any], Any]) -> None:
        try:
            await self.world.call(what, send)
        except Refused:
            return  # the aggregator's own affair, and in its log

    async def _offer(self, task: pb.NeedKey) -> None:
        id = attempt_id(task.run, task.round, task.attempt)
        keys = self.holder.unused_keys(task.scheme, task.bits)
        await self._tell("offer", lambda a: a.holders.offer_keys(self.member, id, keys))

    async def _sign(self, id: AttemptId, task: pb.CloseList) -> Answer:
        signature = self.holder.sign_list(list_order(task))
        return "sign", signature, lambda a: a.holders.list_signed(self.member, id, signature)

    async def _open(self, id: AttemptId, task: pb.OpenSum) -> Answer:
        payloads = await self._fetched(id, task.contributors)
        order = release_order(task)
        release = self.holder.open_sum(order, lambda _id, client, _length: payloads(client))
        self.opened = order
        answer = (release.partial, release.seconds, release.exposure)
        return "release", release.partial, lambda a: a.holders.release(self.member, id, *answer)

    async def _endorse(self, id: AttemptId, task: pb.Endorse) -> Answer:
        payloads = await self._fetched(id, task.order.contributors)
        opened = await self.world.call("opened", lambda a: a.holders.opened_sum(id))
        _, raw, _ = await self.world.call("model", lambda a: a.coordinator.model(id.round - 1))
        signature = self.holder.endorse(
            release_order(task.order), task.model_digest, lambda _id, client, _length: payloads(client),
            lambda _id, _length: opened, lambda _round, values: model_from_bytes(raw, values),
        )  # fmt: skip
        return "endorse", signature, lambda a: a.holders.endorsed(self.member, id, signature)

    async def _fetched(self, id: AttemptId, clients: Iterable[str]) -> Callable[[str], bytes]:
        """What the holder will ask for, fetched beforehand; it finds out only then what could not be had."""
        found: dict[str, bytes | Refused] = {}
        for client in clients:
            fetch = functools.partial(_payload, id, client)
            try:
                found[client] = await self.world.call("payload", fetch)
            except Refused as refusal:
                found[client] = refusal

        def payload(client: str) -> bytes:
            answer = found[client]
            if isinstance(answer, Refused):
                raise answer
            return answer

        return payload


async def _payload(id: AttemptId, client: str, aggregator: Any) -> bytes:
    payload: bytes = await aggregator.holders.payload(id, client)
    return payload
