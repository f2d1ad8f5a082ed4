"""What a key holder knows of the others: in which life each of them is, and the newest entry seen of its ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from core.database import Database
from core.protocol import Head, HolderSignature

_SAVE = (
    "INSERT INTO peers VALUES (?, ?, ?, ?, ?) ON CONFLICT (holder) DO UPDATE SET "
    "life = excluded.life, number = excluded.number, hash = excluded.hash, seen_in = excluded.seen_in"
)


@dataclass(frozen=True)
class Seen:
    """What is known of one other holder.

    Attributes:
        life: the last one that was vouched for; empty if none was.
        head: the newest entry seen of its ledger.
        seen_in: the life in which it wrote that entry.
    """

    life: bytes
    head: Head
    seen_in: bytes


NOTHING = Seen(b"", Head(), b"")


class Peers:
    """The table `peers` of a ledger's database, and what is to be written to it with the ledger's next entry."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = {
            holder: Seen(life, Head(number, chained), seen_in)
            for holder, life, number, chained, seen_in in database.all("SELECT * FROM peers")
        }
        self._unsaved: set[str] = set()

    @property
    def lives(self) -> tuple[tuple[str, bytes], ...]:
        """Names and lives of the holders that were vouched for, in the order of names."""
        return tuple((holder, seen.life) for holder, seen in sorted(self._seen.items()) if seen.life)

    def seen(self, holder: str) -> Seen:
        """Return what is known of a holder."""
        return self._seen.get(holder, NOTHING)

    def began(self, holder: str, life: bytes, head: Head) -> None:
        """Write down, durably, that a holder has started a new life, with this entry of its ledger."""
        if self.seen(holder).life == life:
            return
        seen = Seen(life, head, life)
        with self._database.commit() as db:
            _save(db, holder, seen)
        self._seen[holder] = seen

    def saw(self, signatures: Iterable[HolderSignature]) -> None:
        """Remember the newest entries that valid signatures are about; the ledger's next entry makes it durable."""
        for each in signatures:
            known = self.seen(each.holder)
            if each.ledger.head.number > known.head.number:
                self._seen[each.holder] = Seen(known.life, each.ledger.head, each.ledger.life)
                self._unsaved.add(each.holder)

    def save(self, db: sqlite3.Connection) -> None:
        """Write what is not on the disk yet, as part of a transaction."""
        for holder in self._unsaved:
            _save(db, holder, self._seen[holder])

    def saved(self) -> None:
        """Note that the transaction is on the disk."""
        self._unsaved.clear()


def _save(db: sqlite3.Connection, holder: str, seen: Seen) -> None:
    db.execute(_SAVE, (holder, seen.life, seen.head.number, seen.head.hash, seen.seen_in))
