"""Clients and key holders of a world in one process: the product's own checks and signatures, moved by hand.

Each does one thing at a time, when it is told to: connect, or read one message and answer it. They mirror
client/connection.py and keyholder/connection.py, whose waiting in threads could not be repeated exactly.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from client.participant import Participant, Submission
from core.clock import today
from core.errors import Reason, Refused
from core.policy import Policy
from core.protocol import digest
from core.wire import federation_pb2 as pb
from core.wire.messages import list_from_wire, round_from_wire
from core.wire.streams import Assembly, model_from_bytes, pieces
from faults.inbox import Inbox

if TYPE_CHECKING:
    from faults.world import World

POLICY = Policy(min_cohort=2, insecure_demo_keys=True, allow_plain=True)
NOT_OURS = (Reason.ROUND_NOT_OPEN, Reason.DUPLICATE)
"""Refusals that end nothing for a client: the round went on without it."""


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
