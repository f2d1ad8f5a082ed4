"""A client or key holder of an in-process federation: its session, its stream, and the call it waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from client.session import ClientSession
from core.errors import GrokfedError, Reason, Refused, StorageError
from core.identity.party import PartyIdentity
from core.wire.calls import Conversation
from core.wire.membership import introduced
from keyholder.session import HolderSession
from simulation.direct import DirectStream, UnavailableError
from simulation.network import Network

S = TypeVar("S", ClientSession, HolderSession)


class Federation(Protocol):
    """What a party needs of the federation that it belongs to: its network, its clock, and the calls they carry."""

    network: Network
    now: float

    async def subscribe(self, party: Party[Any]) -> DirectStream:
        """Open a party's stream."""

    async def answered(self, party: Party[Any], conversation: Conversation[None]) -> Callable[[], None]:
        """Carry the call that a conversation waits for; the result hands in its reply or refusal."""

    def pushed(self, party: Party[Any], message: Any) -> Any:
        """Hand over a message that the aggregator pushed to a party, and return it."""


class Party(Generic[S]):
    """One client or key holder, which does one thing at a time when `step` is called.

    Attributes:
        session: the product's own.
        ready_at: when it can move next, in seconds of the federation's clock.
        error: why its program ended, if it did not end well.
        stopped: whether it was killed and not started again.
    """

    def __init__(self, federation: Federation, identity: PartyIdentity, start: Callable[[], S]) -> None:
        self.identity = identity
        self.name = identity.name
        self.member = identity.roster.current().member(identity.name)
        self.ready_at = 0.0
        self.stopped = False
        self._federation = federation
        self._start: Callable[[], S] = start
        self._begin()

    def _begin(self) -> None:
        self.session: S = self._start()
        self.error: Exception | None = None
        self.unread: deque[Any] = deque()
        """Messages that came before the stream broke."""
        self._stream: DirectStream | None = None
        self._conversation: Conversation[None] | None = None
        self.message: Any = None
        """The pushed message that it is answering, or has answered last."""
        self._reply: Callable[[], None] | None = None
        self._shown = False
        """Whether it has shown the aggregator a roster that has it."""

    @property
    def over(self) -> bool:
        """Whether its program has ended."""
        return self.stopped or self.error is not None or self.session.ending is not None

    @property
    def connected(self) -> bool:
        return self._stream is not None

    @property
    def idle(self) -> bool:
        """Whether it waits for the aggregator to push something."""
        if self.over:
            return True
        busy = self._conversation is not None or bool(self.unread) or self._stream is None
        return not busy and self._stream is not None and not (self._stream.pending or self._stream.ended)

    # -------------------------------------------------------------------------------- what it does

    async def step(self) -> None:
        """Do the next thing: connect, read a message, make a call, or take its reply."""
        try:
            await self._next_thing()
        except UnavailableError:
            self._wait(self._federation.network.retry_seconds)
        except StorageError:  # the same again, as the gRPC driver does
            self.unread.appendleft(self.message)
            self._conversation = None
            self._wait(self._federation.network.retry_seconds)
        except GrokfedError as error:
            self.error = error
            await self.hang_up()
        if self.session.ending is not None and self._conversation is None:
            await self.hang_up()

    async def _next_thing(self) -> None:
        if self._reply is not None:
            reply, self._reply = self._reply, None
            self._advance(reply)
        elif self._conversation is not None:
            await self._call(self._conversation)
        elif self.unread:
            self._read(self.unread.popleft())
        elif self._stream is None:
            await self._connect()
        elif self._stream.pending:
            await self._take(self._stream)
        else:
            await self.hang_up()

    async def _connect(self) -> None:
        if self._federation.network.loses(self.name):
            raise UnavailableError("the request was lost")
        try:
            self._stream = await self._federation.subscribe(self)
        except Refused as refusal:
            if refusal.reason is not Reason.NOT_IN_ROSTER or self._shown:
                raise
            self._shown = True
            self._conversation = Conversation(introduced(self.identity.roster))

    async def _take(self, stream: DirectStream) -> None:
        if self._federation.network.loses(self.name):
            await self.hang_up()
            raise UnavailableError("the stream broke")
        self.unread.append(self._federation.pushed(self, await stream.take()))
        self._wait(self._federation.network.seconds())

    def _read(self, message: Any) -> None:
        self.message = message

        def begin() -> None:
            self._conversation = Conversation(self.session.answer(message))

        self._advance(begin)

    async def _call(self, conversation: Conversation[None]) -> None:
        call = conversation.asking
        assert call is not None
        if self._federation.network.loses(self.name):
            raise UnavailableError("the request was lost")
        self._reply = await self._federation.answered(self, conversation)
        if self._federation.network.loses(self.name):
            self._reply = None
            raise UnavailableError("the reply was lost")
        self._wait(self._federation.network.seconds())

    def _advance(self, act: Callable[[], None]) -> None:
        """Let the session go on; it then has a call to make, or has finished with the message."""
        act()
        if self._conversation is not None and self._conversation.asking is None:
            self._conversation = None
        self._wait(self._federation.network.seconds())

    def _wait(self, seconds: float) -> None:
        self.ready_at = self._federation.now + seconds

    # -------------------------------------------------------------------------------- what happens to it

    async def hang_up(self) -> None:
        """Lose the connection; the aggregator notices."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def lose_aggregator(self, *, read_all: bool) -> DirectStream | None:
        """Lose and return the stream because the aggregator is gone, having read what it had pushed or not."""
        stream, self._stream = self._stream, None
        while read_all and stream is not None and stream.pending:
            self.unread.append(await stream.take())
        return stream

    async def stop(self) -> None:
        """Be killed, and not started again."""
        await self.hang_up()
        self._conversation = self._reply = None
        self.close()
        self.stopped = True

    async def restart(self) -> None:
        """Be killed and started again: a new process, with nothing but its files."""
        await self.hang_up()
        self.close()
        self.stopped = False
        self._begin()

    def close(self) -> None:
        """Close the files that its program holds open."""
        if isinstance(self.session, HolderSession):
            self.session.holder.ledger.close()
