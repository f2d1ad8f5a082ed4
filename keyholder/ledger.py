"""What a key holder must not forget: lists it signed, sums it agreed to open, models it endorsed, and its own starts.

One SQLite file. Every entry is on the disk before an answer leaves, and each carries the hash of the one before it, so
that none can be removed or changed later without the rest showing it. (Of what is cut off at the end, nothing is left
to show it; the other holders remember it, keyholder/starting.py.) The tables that are asked must hold what the entries
say. An attempt has one list, a round one release and one model, a starting model one release ever, a key one attempt:
the database's unique constraints say so, not the code above them.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.database import Database
from core.errors import Reason, Refused, StorageError
from core.protocol import MOST_LIVES, MOST_REPORTED, AttemptId, Head, ModelOrigin, ReportedRequest, digest
from keyholder.accounts import ACCOUNTS, Accounts
from keyholder.difference import Contributors, sums_told
from keyholder.peers import Peers

FILE = "keyholder.sqlite"
SCHEMA_VERSION = 5
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS lists (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    key_serial INTEGER NOT NULL UNIQUE, statement BLOB NOT NULL, entry INTEGER NOT NULL,
    PRIMARY KEY (run, round, attempt)
) STRICT;
CREATE TABLE IF NOT EXISTS releases (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    key_serial INTEGER NOT NULL UNIQUE, request_sha256 BLOB NOT NULL, answer BLOB,
    contributors TEXT NOT NULL, exposure TEXT NOT NULL, model BLOB NOT NULL UNIQUE, entry INTEGER NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS models (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, sha256 BLOB NOT NULL, entry INTEGER NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS identity (id BLOB NOT NULL, base INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS peers (
    holder TEXT PRIMARY KEY, life BLOB NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, seen_in BLOB NOT NULL
) STRICT;
"""
ANSWERS_KEPT = 2
"""Number of latest releases whose answers are kept for repeated requests; older rounds are over."""
ID_BYTES = 16
LEDGER_ENTRIES = 10**9
"""A new ledger of a key holder counts from the next multiple: whatever is in it is newer than what was in the last."""


@dataclass(frozen=True)
class LedgerId:
    """Which ledger it is: 16 random bytes, and the number from which its entries count."""

    id: bytes
    base: int = 0

    @classmethod
    def new(cls, generation: int = 0) -> LedgerId:
        """Return the name of a new ledger, `generation` ledgers after a holder's first."""
        return cls(secrets.token_bytes(ID_BYTES), generation * LEDGER_ENTRIES)

    @property
    def head(self) -> Head:
        """What the first entry follows."""
        return Head(self.base, digest(self.id))


@dataclass(frozen=True)
class Answer:
    """What is given out for a release: the share of the opening, and what the difference rule said to it."""

    partial: bytes
    exposure: str


class Ledger:
    """The ledger in `folder`/keyholder.sqlite, begun as `new` where there is none; without a folder, in memory.

    Raises StorageError when it cannot be used or its chain is broken.

    Attributes:
        peers, accounts: what is known of other key holders' starts and ledgers, and of clients' budgets.
    """

    def __init__(self, folder: Path | None, new: LedgerId | None = None) -> None:
        path = None if folder is None else folder / FILE
        self._database = Database(path, SCHEMA + ACCOUNTS, SCHEMA_VERSION, owner="key holder")
        try:
            self.id = self._identified(new)
            self._last = self._verified_chain()
            self._check_tables()
            self.peers = Peers(self._database)
            self.accounts = Accounts(self._database)
        except BaseException:
            self._database.close()
            raise

    def _identified(self, new: LedgerId | None) -> LedgerId:
        row = self._database.first("SELECT id, base FROM identity")
        if row is None:
            made = new or LedgerId.new()
            with self._database.commit() as db:
                db.execute("INSERT INTO identity VALUES (?, ?)", (made.id, made.base))
            return made
        if not isinstance(row[0], bytes) or not isinstance(row[1], int):
            raise StorageError(f"the identity of {self.path} cannot be read: it is damaged")
        return LedgerId(*row)

    def close(self) -> None:
        self._database.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    @property
    def head(self) -> Head:
        """The last entry."""
        return self._last

    def record_start(self, life: bytes) -> Head:
        """Write down that the program started, in this life."""
        return self._append("start", {"life": life.hex()})

    def lives(self) -> list[tuple[bytes, int]]:
        """Return the last lives in which the program was started and the numbers of their entries, oldest first."""
        query = "SELECT content, number FROM entries WHERE kind = 'start' ORDER BY number DESC LIMIT ?"
        rows = self._database.all(query, MOST_LIVES)
        return [(bytes.fromhex(json.loads(content)["life"]), number) for content, number in reversed(rows)]

    def holds(self, head: Head) -> bool:
        """Return whether an entry of another holder's memory is one of this ledger, or older than all of it."""
        if head.number <= self.id.base:
            return True
        row = self._database.first("SELECT hash FROM entries WHERE number = ?", head.number)
        return row is not None and row[0] == head.hash

    # -------------------------------------------------------------------------------- lists

    def signed_list(self, id: AttemptId) -> tuple[bytes, Head] | None:
        """Return the statement this holder signed for an attempt's list, and the entry about it, if any."""
        query = "SELECT statement, entry FROM lists WHERE run = ? AND round = ? AND attempt = ?"
        row = self._database.first(query, *id.key)
        return (row[0], self._entry(row[1])) if row else None

    def record_list(self, id: AttemptId, key_serial: int, statement: bytes) -> Head:
        """Write down a list before its signature leaves. Raises Refused(KEY_USED) if the key served another attempt."""
        content = {**_named(id.key), "key": key_serial, "statement": digest(statement).hex()}
        insert = "INSERT INTO lists VALUES (?, ?, ?, ?, ?, ?)"
        try:
            return self._append("list", content, insert, (*id.key, key_serial, statement))
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.KEY_USED, f"the key {key_serial} served another attempt before") from error

    def highest_list(self) -> tuple[int, bytes]:
        """Return the highest number of a key whose list this holder signed, and the statement's digest; 0 if none."""
        row = self._database.first("SELECT key_serial, statement FROM lists ORDER BY key_serial DESC LIMIT 1")
        return (row[0], digest(row[1])) if row else (0, b"")

    # -------------------------------------------------------------------------------- releases

    def earlier_answer(self, id: AttemptId, request_digest: bytes) -> Answer | None:
        """Return the answer prepared for this very request, or None if this round was never released.

        Raises Refused(ALREADY_RELEASED) if it was released for another request, or too long ago.
        """
        query = "SELECT request_sha256, answer, exposure FROM releases WHERE run = ? AND round = ?"
        row = self._database.first(query, id.run, id.round)
        if row is None:
            return None
        if row[0] != request_digest:
            sentence = f"the sum of round {id.round} was opened before, for another request"
            raise Refused(Reason.ALREADY_RELEASED, sentence)
        if row[1] is None:
            sentence = f"the sum of round {id.round} was opened before, and the answer is no longer kept"
            raise Refused(Reason.ALREADY_RELEASED, sentence)
        return Answer(row[1], row[2])

    def released_request(self, run: str, round_number: int) -> bytes | None:
        """Return the digest of the request this holder answered for a round, if it did."""
        row = self._database.first("SELECT request_sha256 FROM releases WHERE run = ? AND round = ?", run, round_number)
        return row[0] if row else None

    def release_entry(self, run: str, round_number: int) -> Head:
        """Return the entry about the request that this holder agreed to for a round."""
        row = self._database.first("SELECT entry FROM releases WHERE run = ? AND round = ?", run, round_number)
        assert row is not None
        return self._entry(row[0])

    def prepared(self, id: AttemptId) -> tuple[bytes, Answer]:
        """Return the request that this holder agreed to for an attempt, by digest, and its share of the opening.

        Raises Refused(NOT_SIGNED) if it agreed to none, Refused(ALREADY_RELEASED) if the answer is no longer kept.
        """
        query = "SELECT request_sha256 FROM releases WHERE run = ? AND round = ? AND attempt = ?"
        row = self._database.first(query, *id.key)
        if row is None:
            raise Refused(Reason.NOT_SIGNED, f"this key holder has signed no request to open {id}")
        answer = self.earlier_answer(id, row[0])
        assert answer is not None
        return row[0], answer

    def latest_requests(self) -> list[ReportedRequest]:
        """Return the last release in each run, the newest run first."""
        query = (
            "SELECT run, round, request_sha256, model, max(rowid) AS last FROM releases "
            "GROUP BY run ORDER BY last DESC LIMIT ?"
        )
        return [ReportedRequest(*row[:4]) for row in self._database.all(query, MOST_REPORTED)]

    def record_release(
        self,
        id: AttemptId,
        key_serial: int,
        request_digest: bytes,
        answer: Answer,
        contributors: Contributors,
        model_digest: bytes,
    ) -> Head:
        """Write down, durably, a request that this holder agrees to, with its share of the opening.

        `model_digest` is that of the model the round starts from; with groups, contributors are those of each.
        Raises Refused(ALREADY_RELEASED) if this round was released before, or with this key another one was;
        Refused(MODEL_USED) if another round from the same model was.
        """
        content = {
            **_named(id.key), "key": key_serial, "request": request_digest.hex(), "contributors": contributors,
            "model": model_digest.hex(),
        }  # fmt: skip
        names = json.dumps(contributors, allow_nan=False)
        row = (*id.key, key_serial, request_digest, answer.partial, names, answer.exposure, model_digest)
        try:
            return self._append("release", content, "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            if self.opened_from(model_digest) not in (None, ModelOrigin(id.run, id.round)):
                raise Refused(Reason.MODEL_USED, f"a sum from the starting model of {id} was opened before") from error
            raise Refused(Reason.ALREADY_RELEASED, f"the sum of round {id.round} was opened before") from error

    def opened_from(self, model_digest: bytes) -> ModelOrigin | None:
        """Return the round whose sum was opened from a starting model, of whatever run; None if there is none."""
        row = self._database.first("SELECT run, round FROM releases WHERE model = ?", model_digest)
        return ModelOrigin(*row) if row else None

    def latest_cohorts(self, count: int) -> list[tuple[str, int, frozenset[str]]]:
        """Run, round and contributors of all sums of the latest releases, of whatever run."""
        rows = self._database.all("SELECT run, round, contributors FROM releases ORDER BY rowid DESC LIMIT ?", count)
        try:
            return [(row[0], row[1], each) for row in rows for each in sums_told(json.loads(row[2]))]
        except (AttributeError, TypeError, ValueError) as error:  # a damaged file does not keep to its columns' types
            raise StorageError(f"the releases in {self._database.path} cannot be read: it is damaged") from error

    def used_keys(self) -> frozenset[int]:
        """Return the serial numbers of keys that no other attempt may use: bound to a list, or a share was lent."""
        rows = self._database.all("SELECT key_serial FROM releases UNION SELECT key_serial FROM lists")
        return frozenset(row[0] for row in rows)

    def attempt_of_key(self, serial: int) -> AttemptId | None:
        """Return the attempt whose list this holder signed for a key; None if it signed none."""
        row = self._database.first("SELECT run, round, attempt FROM lists WHERE key_serial = ?", serial)
        return AttemptId(*row) if row else None

    def bound_keys(self, but: int = 0) -> frozenset[int]:
        """Return the serial numbers of the keys of all lists that were signed, but one."""
        query = "SELECT key_serial FROM lists WHERE key_serial != ?"
        return frozenset(row[0] for row in self._database.all(query, but))

    def spent_keys(self) -> frozenset[int]:
        """Return the serial numbers of the keys whose share was used."""
        return frozenset(row[0] for row in self._database.all("SELECT key_serial FROM releases"))

    def forget(self) -> None:
        """Let no answer that is not kept any more stay on the disk. Raises StorageError."""
        self._database.forget()

    # -------------------------------------------------------------------------------- models

    def endorsed_model(self, run: str, round_number: int) -> tuple[bytes, Head] | None:
        """Return the digest of the model this holder endorsed for a round, and the entry about it, if any."""
        query = "SELECT sha256, entry FROM models WHERE run = ? AND round = ?"
        row = self._database.first(query, run, round_number)
        return (row[0], self._entry(row[1])) if row else None

    def record_model(self, id: AttemptId, model_digest: bytes) -> Head:
        """Write down which model of a round is endorsed, before the signature leaves."""
        content, row = {**_named(id.key), "model": model_digest.hex()}, (*id.key, model_digest)
        try:
            return self._append("model", content, "INSERT INTO models VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.WRONG_MODEL, f"another model of round {id.round} was endorsed before") from error

    # -------------------------------------------------------------------------------- the chain

    def entries(self) -> list[tuple[int, str, str]]:
        """Return the number, kind and content of every entry, in order."""
        rows = self._database.all("SELECT number, kind, content FROM entries ORDER BY number")
        return [(row[0], row[1], row[2]) for row in rows]

    def _entry(self, number: int) -> Head:
        row = self._database.first("SELECT hash FROM entries WHERE number = ?", number)
        assert row is not None
        return Head(number, row[0])

    def _append(
        self, kind: str, content: dict[str, Any], insert: str | None = None, row: tuple[object, ...] = ()
    ) -> Head:
        """Write one entry, and with it the row of its table, whose last column is the entry's number."""
        number = self._last.number + 1
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        chained = _hash(number, kind, text, self._last.hash)
        refused: sqlite3.IntegrityError | None = None
        with self._database.commit() as db:
            try:
                if insert is not None:
                    db.execute(insert, (*row, number))
            except sqlite3.IntegrityError as error:
                refused = error
            else:
                db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (number, kind, text, self._last.hash, chained))
                db.execute(
                    "UPDATE releases SET answer = NULL WHERE rowid <= (SELECT max(rowid) FROM releases) - ?",
                    (ANSWERS_KEPT,),
                )
                self.peers.save(db)
                self.accounts.save(db)
        if refused is not None:
            raise refused
        self.peers.saved()
        self.accounts.saved()
        self._last = Head(number, chained)
        return self._last

    def _verified_chain(self) -> Head:
        """Return the last entry, after checking every one.

        Raises StorageError where the chain breaks.
        """
        expected = self.id.head
        rows = self._database.all("SELECT number, kind, content, previous, hash FROM entries ORDER BY number")
        for number, kind, content, previous, found in rows:
            readable = isinstance(kind, str) and isinstance(content, str) and isinstance(previous, bytes)
            if (
                not readable
                or Head(number - 1, previous) != expected
                or _hash(number, kind, content, previous) != found
            ):  # a damaged file does not keep to its columns' types
                raise StorageError(
                    f"entry {number} of {self._database.path} does not follow from the one before: "
                    "the ledger was changed or damaged, and nothing is opened with it"
                )
            expected = Head(number, found)
        return expected

    def _check_tables(self) -> None:
        """Raise StorageError unless the tables hold what the entries say, no more and no less."""
        try:
            entries = [(kind, json.loads(content)) for _, kind, content in self.entries()]
            same = sorted(_comparable(each) for each in entries if each[0] != "start") == sorted(
                map(_comparable, self._told())
            )
        except (AttributeError, TypeError, ValueError) as error:  # a damaged file does not keep to its columns' types
            raise StorageError(f"the releases in {self._database.path} cannot be read: it is damaged") from error
        if not same:
            raise StorageError(
                f"{self._database.path} does not hold what its entries say: "
                "the ledger was changed or damaged, and nothing is opened with it"
            )

    def _told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what the tables say, in the words of the entries."""
        for row in self._database.all("SELECT run, round, attempt, key_serial, statement FROM lists"):
            yield "list", {**_named(row), "key": row[3], "statement": digest(row[4]).hex()}
        query = "SELECT run, round, attempt, key_serial, request_sha256, contributors, model FROM releases"
        for row in self._database.all(query):
            told = {"key": row[3], "request": row[4].hex(), "contributors": json.loads(row[5]), "model": row[6].hex()}
            yield "release", {**_named(row), **told}
        for row in self._database.all("SELECT run, round, attempt, sha256 FROM models"):
            yield "model", {**_named(row), "model": row[3].hex()}


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"run": row[0], "round": row[1], "attempt": row[2]}


def _comparable(parts: Sequence[Any]) -> str:
    return json.dumps(parts, sort_keys=True, allow_nan=False)


def _hash(number: int, kind: str, content: str, previous: bytes) -> bytes:
    return digest(b"\0".join((str(number).encode(), kind.encode(), content.encode(), previous)))
