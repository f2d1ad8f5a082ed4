"""An aggregator in this process, called without sockets: its store, its run, and the services that gRPC would serve.

A call goes to the same handler, through the same admission and the same checks, as one that came over the network.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from core.errors import PASSING, Reason, Refused
from core.identity.certificates import PeerName
from core.identity.party import PartyIdentity
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.wire.calls import Ask, Call, Download, Upload
from core.wire.status import REASON_KEY
from core.wire.streams import read_chunks
from server.answering import Gate
from server.audience import Outbox
from server.call_limits import CallLimits
from server.connections import Connections
from server.recovery import begin
from server.run import ActiveRun
from server.service import services_for
from server.settings import RunSettings, Start
from server.store import Store

T = TypeVar("T")


class UnavailableError(Exception):
    """A call had no answer, or a stream broke; the caller tries again."""


class DirectStream:
    """What the aggregator pushes to one party, which can be taken without waiting."""

    def __init__(self, messages: AsyncGenerator[Message, None], outbox: Outbox[Any], first: Message) -> None:
        self._messages = messages
        self._outbox = outbox
        self._first: Message | None = first

    @property
    def pending(self) -> int:
        """Number of messages that can be taken."""
        return self._outbox.pending + (self._first is not None)

    @property
    def ended(self) -> bool:
        """Whether nothing follows any more."""
        return self._outbox.ended and not self.pending

    async def take(self) -> Any:
        """Return the oldest pending message. Raises UnavailableError if the party was cut off for not reading."""
        first, self._first = self._first, None
        return await anext(self._messages) if first is None else first

    async def close(self) -> None:
        """Hang up; the aggregator notices."""
        await self._messages.aclose()


class DirectAggregator:
    """One life of the aggregator, from the files in `folder`.

    It resumes an unfinished run, or the run that `run` names even if that is over; without either it begins a new one,
    from the model that `run` says.
    """

    def __init__(
        self,
        folder: Path,
        identity: PartyIdentity,
        settings: RunSettings,
        task: Task,
        clock: Callable[[], float],
        *,
        test_data: HeldOut | None = None,
        run: str | Start = Start.CONTINUE,
        store: Callable[[Path], Store] = Store,
    ) -> None:
        self.folder = folder
        self.store = store(folder)
        try:
            id = self._begun(settings, task, run)
        except BaseException:
            self.store.close()
            raise
        self.run = ActiveRun(id, settings, task, self.store, identity, test_data, clock=clock)
        self._services = services_for(self.run, Gate(CallLimits(clock), Connections(clock)))

    def _begun(self, settings: RunSettings, task: Task, run: str | Start) -> str:
        if unfinished := self.store.unfinished_run():
            return unfinished.run
        return begin(self.store, settings, task, run) if isinstance(run, Start) else run

    async def carry(self, caller: PartyIdentity, call: Call) -> Any:
        """Make a call and return its reply. Raises Refused, or UnavailableError if the caller should retry."""
        handler, context = self._handler(call.method), _CallContext(caller)
        match call:
            case Ask(message=message):
                return await handler(message, context)
            case Upload():
                return await handler(_asynchronous(call.messages()), context)
            case Download(message=message, limit=limit):
                return read_chunks([chunk async for chunk in handler(message, context)], limit)

    async def subscribe(self, caller: PartyIdentity, call: Ask) -> DirectStream:
        """Open a stream, and return it once its first message is there. Raises as carry()."""
        messages = self._handler(call.method)(call.message, _CallContext(caller))
        try:
            first = await anext(messages)
        except BaseException:
            await messages.aclose()
            raise
        seats: dict[str, Outbox[Any]] = {"Join": self.run.audience.clients, "Attend": self.run.audience.holders}[
            call.method
        ]  # type: ignore[assignment]
        return DirectStream(messages, seats[caller.name], first)

    def _handler(self, method: str) -> Callable[..., Any]:
        services = (self._services.federation, self._services.key_holding, self._services.membership)
        return next(getattr(service, method) for service in services if hasattr(service, method))  # type: ignore[no-any-return]


class _CallContext:
    """What a handler may ask of gRPC about a call: whose certificate it came with, and to fail it."""

    def __init__(self, caller: PartyIdentity) -> None:
        self._uri = PeerName(caller.federation, caller.role, caller.name).uri
        self._metadata: tuple[tuple[str, str], ...] = ()

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {"x509_subject_alternative_name": (self._uri.encode(),)}

    def peer(self) -> str:
        return "in process"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        name = dict(self._metadata).get(REASON_KEY)
        if name is None:
            if code is grpc.StatusCode.UNAVAILABLE:
                raise UnavailableError(details)
            raise RuntimeError(f"the aggregator failed: {code.name} {details}")
        if Reason(name) in PASSING:
            raise UnavailableError(details)
        raise Refused(Reason(name), details)


async def _asynchronous(messages: Iterable[T]) -> AsyncIterator[T]:
    for message in messages:
        yield message
