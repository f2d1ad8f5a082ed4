"""What a key holder must not forget: which lists it signed, which sums it helped to open, which models it endorsed.

One SQLite file. Every entry is on the disk before an answer leaves, and each carries the hash of the one before it, so
that none can be removed or changed later without the rest showing it. (Of what is cut off at the end, nothing is
left to show it.) The tables that are asked must hold what the entries say. An attempt has one list, a round one release
and one model, a key one attempt: the database's unique constraints say so, not the code above them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.database import Database
from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, digest

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS lists (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    key_serial INTEGER NOT NULL UNIQUE, statement BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (run, round, attempt)
) STRICT;
CREATE TABLE IF NOT EXISTS releases (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    key_serial INTEGER NOT NULL UNIQUE, request_sha256 BLOB NOT NULL, answer BLOB,
    contributors TEXT NOT NULL, exposure TEXT NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS models (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, sha256 BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
"""
ANSWERS_KEPT = 2
"""Number of latest releases whose answers are kept for repeated requests; older rounds are over."""
GENESIS = bytes(32)


@dataclass(frozen=True)
class Answer:
    """What was given out for a release: the share of the opening, and what the difference rule said to it."""

    partial: bytes
    exposure: str


class Ledger:
    """The ledger in `folder`/keyholder.sqlite. Raises StorageError when it cannot be used or its chain is broken."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / "keyholder.sqlite", SCHEMA, SCHEMA_VERSION, owner="key holder")
        try:
            self._last = self._verified_chain()
            self._check_tables()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    # -------------------------------------------------------------------------------- lists

    def signed_list(self, id: AttemptId) -> tuple[bytes, bytes] | None:
        """Return the statement this holder signed for an attempt's list, and the signature, if any."""
        query = "SELECT statement, signature FROM lists WHERE run = ? AND round = ? AND attempt = ?"
        row = self._database.first(query, *id.key)
        return (row[0], row[1]) if row else None

    def record_list(self, id: AttemptId, key_serial: int, statement: bytes, signature: bytes) -> None:
        """Write down a list before its signature leaves. Raises Refused(KEY_USED) if the key served another attempt."""
        content = {"key": key_serial, "statement": digest(statement).hex()}
        row = (*id.key, key_serial, statement, signature)
        try:
            self._append("list", id, content, "INSERT INTO lists VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.KEY_USED, f"the key {key_serial} served another attempt before") from error

    # -------------------------------------------------------------------------------- releases

    def earlier_answer(self, id: AttemptId, request_digest: bytes) -> Answer | None:
        """Return the answer already given to this very request, or None if this round was never released.

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

    def record_release(
        self, id: AttemptId, key_serial: int, request_digest: bytes, answer: Answer, contributors: list[str]
    ) -> None:
        """Write a release down, durably, before it happens.

        Raises Refused(ALREADY_RELEASED) if this round was released before, or with this key another one was.
        """
        content = {"key": key_serial, "request": request_digest.hex(), "contributors": contributors}
        row = (*id.key, key_serial, request_digest, answer.partial, json.dumps(contributors), answer.exposure)
        try:
            self._append("release", id, content, "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.ALREADY_RELEASED, f"the sum of round {id.round} was opened before") from error

    def latest_cohorts(self, count: int) -> list[tuple[str, int, frozenset[str]]]:
        """Run, round and contributors of the latest releases, of whatever run."""
        rows = self._database.all("SELECT run, round, contributors FROM releases ORDER BY rowid DESC LIMIT ?", count)
        try:
            return [(run, round_number, frozenset(json.loads(names))) for run, round_number, names in rows]
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
        rows = self._database.all("SELECT key_serial FROM lists WHERE key_serial != ?", but)
        return frozenset(row[0] for row in rows)

    def spent_keys(self) -> frozenset[int]:
        """Return the serial numbers of the keys whose share was used."""
        return frozenset(row[0] for row in self._database.all("SELECT key_serial FROM releases"))

    # -------------------------------------------------------------------------------- models

    def endorsed_model(self, run: str, round_number: int) -> tuple[bytes, bytes] | None:
        """Return the digest of the model this holder endorsed for a round, and its signature, if any."""
        query = "SELECT sha256, signature FROM models WHERE run = ? AND round = ?"
        row = self._database.first(query, run, round_number)
        return (row[0], row[1]) if row else None

    def record_model(self, id: AttemptId, model_digest: bytes, signature: bytes) -> None:
        """Write down which model of a round is endorsed, before the signature leaves."""
        row = (*id.key, model_digest, signature)
        try:
            self._append("model", id, {"model": model_digest.hex()}, "INSERT INTO models VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.WRONG_MODEL, f"another model of round {id.round} was endorsed before") from error

    # -------------------------------------------------------------------------------- the chain

    def entries(self) -> list[tuple[int, str, str]]:
        """Return the number, kind and content of every entry, in order."""
        rows = self._database.all("SELECT number, kind, content FROM entries ORDER BY number")
        return [(row[0], row[1], row[2]) for row in rows]

    def _append(self, kind: str, id: AttemptId, content: dict[str, Any], insert: str, row: tuple[object, ...]) -> None:
        number, previous = self._last
        text = json.dumps({"run": id.run, "round": id.round, "attempt": id.attempt, **content}, sort_keys=True)
        chained = _hash(number + 1, kind, text, previous)
        refused: sqlite3.IntegrityError | None = None
        with self._database.commit() as db:
            try:
                db.execute(insert, row)
            except sqlite3.IntegrityError as error:
                refused = error
            else:
                db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (number + 1, kind, text, previous, chained))
                db.execute(
                    "UPDATE releases SET answer = NULL WHERE rowid <= (SELECT max(rowid) FROM releases) - ?",
                    (ANSWERS_KEPT,),
                )
        if refused is not None:
            raise refused
        self._last = (number + 1, chained)

    def _verified_chain(self) -> tuple[int, bytes]:
        """Return the last entry's number and hash, after checking every one.

        Raises StorageError where the chain breaks.
        """
        expected = (0, GENESIS)
        rows = self._database.all("SELECT number, kind, content, previous, hash FROM entries ORDER BY number")
        for number, kind, content, previous, found in rows:
            readable = isinstance(kind, str) and isinstance(content, str) and isinstance(previous, bytes)
            if (
                not readable or (number - 1, previous) != expected or _hash(number, kind, content, previous) != found
            ):  # a damaged file does not keep to its columns' types
                raise StorageError(
                    f"entry {number} of {self._database.path} does not follow from the one before: "
                    "the ledger was changed or damaged, and nothing is opened with it"
                )
            expected = (number, found)
        return expected

    def _check_tables(self) -> None:
        """Raise StorageError unless the tables hold what the entries say, no more and no less."""
        try:
            entries = [[kind, json.loads(content)] for _, kind, content in self.entries()]
            same = sorted(map(_comparable, entries)) == sorted(map(_comparable, self._told()))
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
        query = "SELECT run, round, attempt, key_serial, request_sha256, contributors FROM releases"
        for row in self._database.all(query):
            yield "release", {**_named(row), "key": row[3], "request": row[4].hex(), "contributors": json.loads(row[5])}
        for row in self._database.all("SELECT run, round, attempt, sha256 FROM models"):
            yield "model", {**_named(row), "model": row[3].hex()}


def _named(row: tuple[Any, ...]) -> dict[str, Any]:
    return {"run": row[0], "round": row[1], "attempt": row[2]}


def _comparable(told: Sequence[Any]) -> str:
    return json.dumps(told, sort_keys=True)


def _hash(number: int, kind: str, content: str, previous: bytes) -> bytes:
    return digest(b"\0".join((str(number).encode(), kind.encode(), content.encode(), previous)))
