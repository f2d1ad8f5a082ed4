"""Key holders of a world in one process: the product's own checks, shares and ledgers, moved by hand."""

from __future__ import annotations

import functools
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId
from core.wire import federation_pb2 as pb
from core.wire.messages import attempt_id, description_from_bytes
from core.wire.streams import model_from_bytes
from faults.actors import POLICY, Actor
from faults.breaking import Breaker, Crash, break_ledger
from faults.inbox import Inbox
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.orders import ReleaseOrder, list_order, release_order

if TYPE_CHECKING:
    from faults.world import World

HONEST_DECLINES = (Reason.TOO_SIMILAR, Reason.ROUND_NOT_OPEN, Reason.ALREADY_RELEASED)
"""Why a key holder may turn down an honest aggregator: the last, if it lent its share for an attempt that others then
declined. Anything else says that the aggregator lied or forgot."""
Answer = tuple[str, bytes, Callable[[Any], Awaitable[None]]]
"""What is answered, the bytes that it comes to, and how to send it."""


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
        await self.world.call("unattend", lambda a: a.holders.leave(self.name, inbox))

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
        except Crash:  # the program ends, and somebody starts it again
            await self.restart()
        except StorageError:  # as HolderConnection does: the same again, until there is room
            await self.read(message)

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
