"""The open streams and the messages waiting on them. Lives in the event loop; nothing here needs to survive."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from core.errors import Reason, Refused
from core.protocol import Signed
from core.wire import federation_pb2 as pb
from server.lanes import Lane

M = TypeVar("M")
LONGEST_OUTBOX = 1000


class NotListeningError(Exception):
    """A party left more messages unread than are kept for it."""


class Outbox(Generic[M]):
    """The messages for one connected party, in order; ends when closed.

    A party that does not read is cut off after LONGEST_OUTBOX messages; when it reconnects, it gets all that it needs.
    """

    def __init__(self, instance: bytes = b"") -> None:
        self.instance = instance
        self._unread: deque[M] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._cut_off = False

    @property
    def pending(self) -> int:
        """Number of messages that were pushed and not taken yet."""
        return len(self._unread)

    @property
    def ended(self) -> bool:
        """Whether the stream is closed: nothing follows the pending messages."""
        return self._ended

    def push(self, message: M) -> None:
        """Append a message; after close() it is dropped."""
        if self._ended:
            return
        if len(self._unread) < LONGEST_OUTBOX:
            self._unread.append(message)
        else:
            self._cut_off = True
        self._changed.set()

    def close(self) -> None:
        """End the stream after the messages pushed so far."""
        self._ended = True
        self._changed.set()

    def take(self) -> M | None:
        """Remove and return the oldest pending message; None if there is none. Raise NotListeningError if cut off."""
        if self._cut_off:
            raise NotListeningError("too many messages were left unread; connect again")
        return self._unread.popleft() if self._unread else None

    async def messages(self) -> AsyncIterator[M]:
        """Yield each message as it is pushed, until the stream is closed."""
        while True:
            while (message := self.take()) is not None:
                yield message
            if self._ended:
                return
            self._changed.clear()
            await self._changed.wait()


@dataclass
class Told:
    """What one observer was told already: how many results, the parties' lanes, the counts of calls."""

    results: int = 0
    lanes: frozenset[Lane] = frozenset()
    calls: dict[str, int] = field(default_factory=dict)

    def complete(self, message: pb.Progress, results: int, lanes: frozenset[Lane], calls: Mapping[str, int]) -> None:
        """Add to a message what has changed since the last one, and note it as told."""
        message.parties.extend(lane.to_wire() for lane in sorted(lanes - self.lanes, key=lambda lane: lane.name))
        message.calls.update({name: count for name, count in calls.items() if self.calls.get(name) != count})
        self.results, self.lanes, self.calls = results, lanes, dict(calls)


class Watcher:
    """One observer, who is told what has changed since it was told last; what comes faster than that comes together.

    Args:
        news: builds the message of what has changed, and notes it as told.
    """

    def __init__(self, news: Callable[[Told], pb.Progress]) -> None:
        self._news = news
        self._told = Told()
        self._due = True
        self._changed = asyncio.Event()
        self._end = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the stream is closed: nothing follows but what is due."""
        return self._end.is_set()

    def notify(self) -> None:
        """Note that there is something to tell."""
        self._due = True
        self._changed.set()

    def close(self) -> None:
        """End the stream once all has been told."""
        self._end.set()
        self._changed.set()

    def take(self) -> pb.Progress | None:
        """Return what has changed; None if nothing has."""
        if not self._due:
            return None
        self._due = False
        return self._news(self._told)

    async def messages(self, pause: float = 0.0) -> AsyncIterator[pb.Progress]:
        """Yield what has changed, again and again, `pause` seconds after the last time, until the stream ends."""
        while True:
            self._changed.clear()
            if (message := self.take()) is not None:
                yield message
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._end.wait()
            elif self.ended:
                return
            else:
                await self._changed.wait()


class Audience:
    """All open streams: clients and key holders by name, any number of watchers."""

    def __init__(self) -> None:
        self.clients: dict[str, Outbox[pb.Notice]] = {}
        self.holders: dict[str, Outbox[pb.HolderTask]] = {}
        self.starts: dict[str, Signed] = {}
        """What each of these key holders said of its start."""
        self._served: dict[str, bytes] = {}
        """The life in which each key holder served last."""
        self._vouched: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        """Who vouched for whom last, and the lives of both."""
        self.watchers: set[Watcher] = set()
        self._gone = asyncio.Condition()

    def seat_client(self, name: str, outbox: Outbox[pb.Notice]) -> None:
        """Register a client's stream; a reconnection replaces the old one, another process is refused."""
        _seat(self.clients, name, outbox)

    def seat_holder(self, name: str, outbox: Outbox[pb.HolderTask], start: Signed) -> None:
        """Register a key holder's stream by the same rule; `start` is what it says of its start."""
        _seat(self.holders, name, outbox)
        self.starts[name] = start

    def note_vouch(self, voucher: str, about: str, life: bytes) -> None:
        """Note that a key holder here has vouched for this life of another."""
        self._vouched[voucher, about] = (self.holders[voucher].instance, life)

    def note_served(self, name: str) -> None:
        """Note that a key holder here serves."""
        self._served[name] = self.holders[name].instance

    def must_vouch(self, voucher: str, about: str) -> bool:
        """Return whether one of these holders is to be asked to vouch for another.

        Not if the other serves with its help already: a lost connection begins no new life, and if each were to be
        vouched for again, a bad network would have little else to carry.
        """
        lives = (self.holders[voucher].instance, self.holders[about].instance)
        return self._served.get(about) != lives[1] or self._vouched.get((voucher, about)) != lives

    @property
    def lives(self) -> dict[str, bytes]:
        """The lives of the key holders that are connected, by name."""
        return {name: outbox.instance for name, outbox in self.holders.items()}

    async def unseat_client(self, name: str, outbox: Outbox[pb.Notice]) -> bool:
        """Forget a stream that ended; return False if another has replaced it."""
        return await self._unseat(self.clients, name, outbox)

    async def unseat_holder(self, name: str, outbox: Outbox[pb.HolderTask]) -> bool:
        """Return the same for a key holder."""
        return await self._unseat(self.holders, name, outbox)

    async def _unseat(self, seats: dict[str, Outbox[M]], name: str, outbox: Outbox[M]) -> bool:
        if seats.get(name) is not outbox:
            return False
        del seats[name]
        await self._tell_gone()
        return True

    async def unseat_watcher(self, watcher: Watcher) -> None:
        self.watchers.discard(watcher)
        await self._tell_gone()

    def notify_clients(self, notice: pb.Notice) -> None:
        for outbox in self.clients.values():
            outbox.push(notice)

    def announce_roster(self, version: int) -> None:
        """Tell clients and holders that there is a new roster for them to fetch."""
        self.notify_clients(pb.Notice(roster_version=version))
        for outbox in self.holders.values():
            outbox.push(pb.HolderTask(roster_version=version))

    def end(self, ended: pb.RunEnded) -> None:
        """Announce the end of the run. Clients and holders hang up when they have fetched what they need."""
        self.notify_clients(pb.Notice(run_ended=ended))
        for outbox in self.holders.values():
            outbox.push(pb.HolderTask(run_ended=ended))
        for watcher in self.watchers:
            watcher.close()

    async def until_empty(self) -> None:
        """Wait until no party is connected."""
        async with self._gone:
            await self._gone.wait_for(lambda: not (self.clients or self.holders or self.watchers))

    async def _tell_gone(self) -> None:
        async with self._gone:
            self._gone.notify_all()


def _seat(seats: dict[str, Outbox[M]], name: str, outbox: Outbox[M]) -> None:
    old = seats.get(name)
    if old is not None and old.instance != outbox.instance:
        raise Refused(Reason.NAME_TAKEN, f"{name!r} is here already, as another process")
    if old is not None:
        old.close()
    seats[name] = outbox
