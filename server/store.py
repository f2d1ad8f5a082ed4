"""What the aggregator must not forget, in one SQLite file: runs, clients, attempts, updates, models, history.

A receipt is sent only after the commit (WAL, synchronous=FULL), and the unique constraints, not the code above them,
decide that an update counts once. All methods are to be called from one thread. They raise StorageError, in a sentence,
when the disk is full or the file is not ours.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import numpy.typing as npt

from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, Contribution, RoundResult, SubmissionHeader, digest
from core.wire.streams import model_bytes, model_from_bytes

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, settings TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'running', sentence TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS clients (
    run TEXT NOT NULL, client TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (run, client), UNIQUE (run, number)
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    description BLOB NOT NULL, expected TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('collecting', 'releasing', 'completed', 'abandoned')),
    PRIMARY KEY (run, round, attempt)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_completed_attempt ON attempts (run, round) WHERE state = 'completed';
CREATE TABLE IF NOT EXISTS submissions (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, client TEXT NOT NULL,
    sha256 BLOB NOT NULL, payload BLOB, bytes_up INTEGER NOT NULL,
    train_seconds REAL NOT NULL, encrypt_seconds REAL NOT NULL,
    PRIMARY KEY (run, round, attempt, client)
) STRICT;
CREATE TABLE IF NOT EXISTS models (
    run TEXT NOT NULL, round INTEGER NOT NULL, vector BLOB NOT NULL, sha256 BLOB NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS history (
    run TEXT NOT NULL, round INTEGER NOT NULL, contributors INTEGER NOT NULL,
    accuracy REAL NOT NULL, loss REAL NOT NULL,
    bytes_up_per_client REAL NOT NULL, train_seconds REAL NOT NULL, encrypt_seconds REAL NOT NULL,
    add_seconds REAL NOT NULL, decrypt_seconds REAL NOT NULL, cohort_accuracy REAL NOT NULL, cohort_loss REAL NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
"""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StoredRun:
    """A run as the file has it. `settings` are those it was started with."""

    run: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class StoredAttempt:
    """One attempt at a round; `state` is collecting, releasing, completed or abandoned."""

    id: AttemptId
    description: bytes
    expected: frozenset[str]
    state: str


@dataclass(frozen=True)
class Costs:
    """Means over the contributors of one attempt: bytes of their uploads and the seconds they reported."""

    bytes_up: float
    train_seconds: float
    encrypt_seconds: float


class Store:
    """The aggregator's memory in `folder`/aggregator.sqlite, for this process alone."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "aggregator.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the state folder {folder} cannot be used: {error}") from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with _explained(self.path):
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # deleted ciphertexts do not stay in free pages
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise StorageError(f"{self.path} has layout {version}; this program knows {SCHEMA_VERSION}")
            self._db.executescript(SCHEMA)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def spool(self) -> BinaryIO:
        """Open a file without a name beside the database; closed, it is gone. Raises StorageError."""
        try:
            return tempfile.TemporaryFile(dir=self.path.parent)
        except OSError as error:
            raise StorageError(f"the state folder {self.path.parent} cannot be used: {error}") from error

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction: all of it or nothing."""
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            return self._db.execute(query, values).fetchall()

    def _first(self, query: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._all(query, *values)
        return rows[0] if rows else None

    # -------------------------------------------------------------------------------- runs and clients

    def unfinished_run(self) -> StoredRun | None:
        row = self._first("SELECT run, settings FROM runs WHERE status = 'running'")
        return StoredRun(row[0], json.loads(row[1])) if row else None

    def has_runs(self) -> bool:
        """Whether there is any run, finished or not."""
        return self._first("SELECT 1 FROM runs") is not None

    def begin_run(self, run: str, settings: dict[str, Any], model: FloatArray) -> None:
        """Store a new run with its starting model as round 0."""
        with self._commit() as db:
            db.execute("INSERT INTO runs (run, settings) VALUES (?, ?)", (run, json.dumps(settings, sort_keys=True)))
            _insert_model(db, run, 0, model)

    def end_run(self, run: str, *, completed: bool, sentence: str) -> None:
        with self._commit() as db:
            status = "completed" if completed else "failed"
            db.execute("UPDATE runs SET status = ?, sentence = ? WHERE run = ?", (status, sentence, run))
            db.execute("UPDATE submissions SET payload = NULL WHERE run = ?", (run,))

    def enrol(self, run: str, client: str, wanted_number: int, largest: int) -> int:
        """The client's number: its earlier one, the wanted one, or (wanted 0) the lowest that is free.

        Raises Refused(NUMBER_TAKEN) or Refused(FEDERATION_FULL).
        """
        with self._commit() as db:
            rows = db.execute("SELECT client, number FROM clients WHERE run = ?", (run,)).fetchall()
            numbers: dict[str, int] = dict(rows)
            if client in numbers:
                return self._same_number(client, numbers[client], wanted_number)
            if wanted_number in numbers.values():
                raise Refused(Reason.NUMBER_TAKEN, f"number {wanted_number} belongs to another client of this run")
            number = wanted_number or next(n for n in range(1, len(numbers) + 2) if n not in numbers.values())
            if wanted_number > largest:
                raise Refused(
                    Reason.FEDERATION_FULL, f"number {number} is too high; this federation takes {largest} clients"
                )
            if len(numbers) >= largest:
                raise Refused(Reason.FEDERATION_FULL, f"this federation takes {largest} clients and is full")
            db.execute("INSERT INTO clients VALUES (?, ?, ?)", (run, client, number))
            return number

    def is_enrolled(self, run: str, client: str) -> bool:
        return self._first("SELECT 1 FROM clients WHERE run = ? AND client = ?", run, client) is not None

    @staticmethod
    def _same_number(client: str, number: int, wanted_number: int) -> int:
        if wanted_number not in (0, number):
            sentence = f"{client!r} is enrolled as number {number} and cannot become {wanted_number}"
            raise Refused(Reason.NUMBER_TAKEN, sentence)
        return number

    # -------------------------------------------------------------------------------- attempts and updates

    def last_attempt(self, run: str) -> StoredAttempt | None:
        row = self._first(
            "SELECT round, attempt, description, expected, state FROM attempts WHERE run = ? "
            "ORDER BY round DESC, attempt DESC LIMIT 1",
            run,
        )
        if row is None:
            return None
        round_number, attempt, description, expected, state = row
        return StoredAttempt(AttemptId(run, round_number, attempt), description, frozenset(json.loads(expected)), state)

    def open_attempt(self, id: AttemptId, description: bytes, expected: frozenset[str]) -> None:
        with self._commit() as db:
            db.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, 'collecting')",
                (id.run, id.round, id.attempt, description, json.dumps(sorted(expected))),
            )

    def widen_attempt(self, id: AttemptId, expected: frozenset[str]) -> None:
        """Remember who else is expected, so that a restart waits for them too."""
        with self._commit() as db:
            db.execute(
                "UPDATE attempts SET expected = ? WHERE run = ? AND round = ? AND attempt = ?",
                (json.dumps(sorted(expected)), id.run, id.round, id.attempt),
            )

    def add_submission(self, header: SubmissionHeader, payload: bytes, bytes_up: int) -> bool:
        """Store one update durably. False if this very update was there already.

        Raises Refused(DUPLICATE) if the client has another one in this attempt, Refused(ROUND_NOT_OPEN) if the list of
        contributors is closed.
        """
        id = header.id
        with self._commit() as db:
            there = self.stored_digest(id, header.client)
            if there == header.digest:
                return False
            if there is not None:
                raise Refused(Reason.DUPLICATE, f"another update of {header.client!r} is already in {id}")
            if self._state(id) != "collecting":
                raise Refused(Reason.ROUND_NOT_OPEN, f"{id} is not open for updates")
            db.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id.run,
                    id.round,
                    id.attempt,
                    header.client,
                    header.digest,
                    payload,
                    bytes_up,
                    header.train_seconds,
                    header.encrypt_seconds,
                ),
            )
        return True

    def stored_digest(self, id: AttemptId, client: str) -> bytes | None:
        """Digest of what the client has in this attempt, if anything."""
        row = self._first(
            "SELECT sha256 FROM submissions WHERE run = ? AND round = ? AND attempt = ? AND client = ?",
            id.run,
            id.round,
            id.attempt,
            client,
        )
        return row[0] if row else None

    def close_attempt(self, id: AttemptId) -> None:
        """Close the list of contributors: from here on no update is taken."""
        self._set_state(id, "releasing")

    def abandon_attempt(self, id: AttemptId) -> None:
        with self._commit() as db:
            self._update_state(db, id, "abandoned")
            self._forget_payloads(db, id)

    def complete_attempt(self, id: AttemptId, model: FloatArray, result: RoundResult) -> None:
        """Store the new model, the history's row and the end of the attempt, together; forget the ciphertexts."""
        with self._commit() as db:
            self._update_state(db, id, "completed")
            self._forget_payloads(db, id)
            _insert_model(db, id.run, id.round, model)
            values = [getattr(result, field.name) for field in fields(RoundResult)]
            db.execute(f"INSERT INTO history VALUES (?{', ?' * len(values)})", (id.run, *values))  # noqa: S608  only "?"

    def contributions(self, id: AttemptId) -> list[Contribution]:
        """Who is in the attempt, in the order of names, each with the digest of what it sent."""
        rows = self._all(
            "SELECT client, sha256 FROM submissions WHERE run = ? AND round = ? AND attempt = ? ORDER BY client",
            id.run,
            id.round,
            id.attempt,
        )
        return [Contribution(client, sha256) for client, sha256 in rows]

    def payload(self, id: AttemptId, client: str) -> bytes:
        """The ciphertexts of one update. Raises Refused(ROUND_NOT_OPEN) when there are none (any more)."""
        row = self._first(
            "SELECT payload FROM submissions WHERE run = ? AND round = ? AND attempt = ? AND client = ?",
            id.run,
            id.round,
            id.attempt,
            client,
        )
        if row is None or row[0] is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no update of {client!r} in {id}")
        stored: bytes = row[0]
        return stored

    def costs(self, id: AttemptId) -> Costs:
        rows = self._all(
            "SELECT avg(bytes_up), avg(train_seconds), avg(encrypt_seconds) FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ?",
            id.run,
            id.round,
            id.attempt,
        )
        return Costs(*rows[0])

    # -------------------------------------------------------------------------------- models and history

    def model(self, run: str, round_number: int | None = None) -> tuple[int, FloatArray]:
        """A round's model (without a round: the newest) as (round, vector). Raises Refused(NO_MODEL)."""
        row = self._first(
            "SELECT round, vector, sha256 FROM models WHERE run = ? AND round = ifnull(?, round) "
            "ORDER BY round DESC LIMIT 1",
            run,
            round_number,
        )
        if row is None:
            raise Refused(Reason.NO_MODEL, f"there is no model of round {round_number} in this run")
        if digest(row[1]) != row[2]:
            raise StorageError(f"the model of round {row[0]} in {self.path} is damaged")
        return row[0], model_from_bytes(row[1], len(row[1]) // 8)

    def history(self, run: str) -> list[RoundResult]:
        """The completed rounds in order."""
        columns = ", ".join(field.name for field in fields(RoundResult))
        rows = self._all(f"SELECT {columns} FROM history WHERE run = ? ORDER BY round", run)  # noqa: S608
        return [RoundResult(*row) for row in rows]

    # -------------------------------------------------------------------------------- helpers

    def _state(self, id: AttemptId) -> str | None:
        row = self._first(
            "SELECT state FROM attempts WHERE run = ? AND round = ? AND attempt = ?", id.run, id.round, id.attempt
        )
        return row[0] if row else None

    def _set_state(self, id: AttemptId, state: str) -> None:
        with self._commit() as db:
            self._update_state(db, id, state)

    @staticmethod
    def _update_state(db: sqlite3.Connection, id: AttemptId, state: str) -> None:
        db.execute(
            "UPDATE attempts SET state = ? WHERE run = ? AND round = ? AND attempt = ?",
            (state, id.run, id.round, id.attempt),
        )

    @staticmethod
    def _forget_payloads(db: sqlite3.Connection, id: AttemptId) -> None:
        """Ciphertexts are kept no longer than needed; the digests stay."""
        db.execute(
            "UPDATE submissions SET payload = NULL WHERE run = ? AND round = ? AND attempt = ?",
            (id.run, id.round, id.attempt),
        )


def _insert_model(db: sqlite3.Connection, run: str, round_number: int, model: FloatArray) -> None:
    raw = model_bytes(model)
    db.execute("INSERT INTO models VALUES (?, ?, ?, ?)", (run, round_number, raw, digest(raw)))


def _lock(folder: Path) -> TextIO:
    """Keep a second aggregator out; the operating system lets go of it however this process ends."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StorageError(f"{folder} is in use by another aggregator; stop it or give another --state") from error
    return lock


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"{path} is not a file of this program or is damaged: {error}") from error
