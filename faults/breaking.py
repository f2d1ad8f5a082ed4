"""Places where a party can be broken, each with a name: around every durable write and every answer."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from core.wire.calls import Upload, Uploaded
from keyholder.ledger import Ledger
from server.store import Store

WRITES = (
    "begin_run", "change_settings", "end_run", "enrol", "count_refusals", "open_attempt", "widen_attempt", "add_commitment", "add_payload",
    "set_state", "announce_list", "forget_updates", "keep_evidence", "keep_opened", "abandon_attempt", "complete_attempt",
)  # fmt: skip
"""All methods of the store that commit."""
LEDGER_WRITES = ("record_list", "record_release", "record_model", "began")
"""All methods of a ledger, and of what it knows of others, that commit while a holder serves."""
Commit = Callable[[], AbstractContextManager[sqlite3.Connection]]


class Crash(BaseException):
    """The process is gone, as by kill -9: nothing of it runs on."""


class Breaker:
    """Breaks a party at the `occurrence`-th time that it comes to the point `at`; never, if that is None.

    After that nothing of the party can be written any more, whatever clean-up code tries. `seen` counts what was
    passed, so that a first run without a fault says what there is to break.
    """

    def __init__(self, at: str | None = None, occurrence: int = 1) -> None:
        self.seen: Counter[str] = Counter()
        self.broken = False
        self._at = at
        self._occurrence = occurrence
        self._full = 0
        self._full_from: tuple[str, int, int] | None = None

    def fill(self, writes: int) -> None:
        """Let the next `writes` writes find the disk full."""
        self._full = writes

    def fill_at(self, write: str, occurrence: int, writes: int) -> None:
        """The same, from the `occurrence`-th time on that something is written by the method `write`."""
        self._full_from = (f"before {write}", occurrence, writes)

    def write(self, name: str) -> None:
        """Just before something is durable: die there, or find the disk full."""
        self.reach(f"before {name}")
        if self._full_from is not None:
            point, occurrence, writes = self._full_from
            if point == f"before {name}" and self.seen[point] == occurrence:
                self._full, self._full_from = writes, None
        if self._full:
            self._full -= 1
            self.seen["disk full"] += 1
            raise sqlite3.OperationalError("database or disk is full")

    def arm(self, at: str, occurrence: int = 1) -> None:
        """Break at the next time (or a later one) that the party comes to `at`."""
        self._at, self._occurrence = at, self.seen[at] + occurrence

    def reach(self, point: str) -> None:
        """Pass a point, or raise Crash."""
        if self.broken:
            raise Crash(point)
        self.seen[point] += 1
        if point == self._at and self.seen[point] == self._occurrence:
            self.broken = True
            raise Crash(point)


def break_store(store: Store, breaker: Breaker) -> None:
    """Give every write of the aggregator's store two points: just before and just after it is durable."""
    _name_writes(store, WRITES)
    vars(store)["_commit"] = _broken(store._commit, breaker, store)


def break_ledger(ledger: Ledger, breaker: Breaker) -> None:
    """The same for a key holder's ledger."""
    _name_writes(ledger, LEDGER_WRITES[:-1])
    ledger.peers.began = _named(ledger.peers.began, "began", ledger)  # type: ignore[method-assign]
    database = ledger._database
    vars(database)["commit"] = _broken(database.commit, breaker, ledger)


def _name_writes(owner: Any, names: tuple[str, ...]) -> None:
    for name in names:
        setattr(owner, name, _named(getattr(owner, name), name, owner))


def _named(method: Callable[..., Any], name: str, owner: Any) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        owner.writing = f"{name} {arguments[1]}" if name == "set_state" else name
        return method(*arguments, **named)

    return wrapped


def _broken(commit: Commit, breaker: Breaker, owner: Any) -> Commit:
    @contextmanager
    def wrapped() -> Iterator[sqlite3.Connection]:
        name = owner.writing
        with commit() as db:
            yield db
            breaker.write(name)
        breaker.reach(f"after {name}")

    return wrapped


class HalfUpload(Upload):
    """An upload whose connection breaks in the middle."""

    def messages(self) -> Iterator[Uploaded]:
        yield self.header
        yield type(self.header)(data=self.payload[: len(self.payload) // 2])
        raise asyncio.CancelledError
