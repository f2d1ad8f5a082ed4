"""What the aggregator must not forget, in one SQLite file: runs, clients, attempts, updates, models, history.

A receipt is sent only after the commit (WAL, synchronous=FULL), and the unique constraints, not the code above them,
decide that an update counts once. All methods are to be called from one thread. They raise StorageError, in a sentence,
when the disk is full or the file is not ours.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from core.database import Database
from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, Commitment, HolderSignature, RoundResult, Signed, SubmissionHeader, Timings, digest
from core.wire.streams import model_bytes, model_from_bytes

FILE = "aggregator.sqlite"
SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, settings TEXT NOT NULL, selection_secret TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'running', sentence TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS clients (
    run TEXT NOT NULL, client TEXT NOT NULL,
    PRIMARY KEY (run, client)
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    key_serial INTEGER NOT NULL, description BLOB NOT NULL, signature BLOB NOT NULL, expected TEXT NOT NULL,
    chosen_from INTEGER NOT NULL,
    list_signatures TEXT NOT NULL DEFAULT '[]', opened BLOB, sentence TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN
        ('committing', 'closing', 'uploading', 'releasing', 'endorsing', 'completed', 'abandoned')),
    PRIMARY KEY (run, round, attempt)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_completed_attempt ON attempts (run, round) WHERE state = 'completed';
CREATE UNIQUE INDEX IF NOT EXISTS one_attempt_a_key ON attempts (key_serial);
CREATE TABLE IF NOT EXISTS submissions (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, client TEXT NOT NULL,
    commitment BLOB NOT NULL, signature BLOB NOT NULL, sha256 BLOB NOT NULL,
    train_seconds REAL NOT NULL, encrypt_seconds REAL NOT NULL,
    payload BLOB, bytes_up INTEGER,
    PRIMARY KEY (run, round, attempt, client)
) STRICT;
CREATE TABLE IF NOT EXISTS models (
    run TEXT NOT NULL, round INTEGER NOT NULL, vector BLOB NOT NULL, sha256 BLOB NOT NULL,
    endorsements TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS history (
    run TEXT NOT NULL, round INTEGER NOT NULL, contributors INTEGER NOT NULL,
    accuracy REAL NOT NULL, loss REAL NOT NULL,
    bytes_up_per_client REAL NOT NULL, train_seconds REAL NOT NULL, encrypt_seconds REAL NOT NULL,
    add_seconds REAL NOT NULL, decrypt_seconds REAL NOT NULL, cohort_accuracy REAL NOT NULL, cohort_loss REAL NOT NULL,
    seconds REAL NOT NULL, exposure TEXT NOT NULL,
    epsilon REAL NOT NULL, epsilon_models REAL NOT NULL, chosen INTEGER NOT NULL, chosen_from INTEGER NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS refusals (
    run TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (run, reason)
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
    """One attempt at a round; `state` is the name of its phase, completed or abandoned."""

    id: AttemptId
    description: Signed
    expected: frozenset[str]
    state: str
    list_signatures: tuple[HolderSignature, ...]
    opened: bytes | None


@dataclass(frozen=True)
class StoredSubmission:
    """One client's part in an attempt: its signed commitment, and whether its ciphertexts are here."""

    client: str
    commitment: Signed
    digest: bytes
    uploaded: bool


@dataclass(frozen=True)
class Costs:
    """Means over the contributors of one attempt: bytes of their uploads and the seconds they reported."""

    bytes_up: float
    train_seconds: float
    encrypt_seconds: float


class Store:
    """The aggregator's memory in `folder`/aggregator.sqlite, for this process alone."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._database = Database(self.path, SCHEMA, SCHEMA_VERSION, owner="aggregator")
        self._commit = self._database.commit
        self._all = self._database.all
        self._first = self._database.first

    def spool(self) -> BinaryIO:
        """Open a file without a name beside the database; closed, it is gone. Raises StorageError."""
        return self._database.spool()

    def close(self) -> None:
        self._database.close()

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
            db.execute(
                "INSERT INTO runs (run, settings, selection_secret) VALUES (?, ?, ?)",
                (run, json.dumps(settings, sort_keys=True), secrets.token_hex(16)),
            )
            _insert_model(db, run, 0, model, ())

    def selection_secret(self, run: str) -> str:
        """What decides which clients of the run are chosen; it leaves this file for nobody."""
        row = self._first("SELECT selection_secret FROM runs WHERE run = ?", run)
        assert row is not None
        return str(row[0])

    def end_run(self, run: str, *, completed: bool, sentence: str) -> None:
        with self._commit() as db:
            status = "completed" if completed else "failed"
            db.execute("UPDATE runs SET status = ?, sentence = ? WHERE run = ?", (status, sentence, run))
            db.execute("UPDATE submissions SET payload = NULL WHERE run = ?", (run,))

    def enrol(self, run: str, client: str) -> None:
        """Remember that a client has joined; joining again changes nothing."""
        if not self.is_enrolled(run, client):
            with self._commit() as db:
                db.execute("INSERT OR IGNORE INTO clients VALUES (?, ?)", (run, client))

    def is_enrolled(self, run: str, client: str) -> bool:
        return self._first("SELECT 1 FROM clients WHERE run = ? AND client = ?", run, client) is not None

    def count_refusals(self, run: str, refusals: Counter[Reason]) -> None:
        """Add to the counts of what was refused, by name."""
        with self._commit() as db:
            db.executemany(
                "INSERT INTO refusals VALUES (?, ?, ?) "
                "ON CONFLICT (run, reason) DO UPDATE SET count = count + excluded.count",
                [(run, reason.value, count) for reason, count in refusals.items()],
            )

    def refusals(self, run: str) -> Counter[str]:
        """How often messages were refused, by the name of the check."""
        return Counter(dict(self._all("SELECT reason, count FROM refusals WHERE run = ?", run)))

    # -------------------------------------------------------------------------------- attempts and updates

    def last_attempt(self, run: str) -> StoredAttempt | None:
        row = self._first(
            "SELECT round, attempt, description, signature, expected, state, list_signatures, opened FROM attempts "
            "WHERE run = ? ORDER BY round DESC, attempt DESC LIMIT 1",
            run,
        )
        if row is None:
            return None
        round_number, attempt, description, signature, expected, state, signatures, opened = row
        return StoredAttempt(
            id=AttemptId(run, round_number, attempt),
            description=Signed(description, signature),
            expected=frozenset(json.loads(expected)),
            state=state,
            list_signatures=_signatures_from_json(signatures),
            opened=opened,
        )

    def used_keys(self) -> frozenset[int]:
        """Serial numbers of all round keys that an attempt was ever opened with."""
        return frozenset(row[0] for row in self._all("SELECT key_serial FROM attempts"))

    def open_attempt(
        self,
        id: AttemptId,
        key_serial: int,
        description: Signed,
        expected: frozenset[str],
        chosen_from: int | None = None,
    ) -> None:
        """Store a new attempt for the `expected` clients, chosen from so many (default: all were)."""
        with self._commit() as db:
            db.execute(
                "INSERT INTO attempts "
                "(run, round, attempt, key_serial, description, signature, expected, chosen_from, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'committing')",
                (
                    *(id.run, id.round, id.attempt, key_serial),
                    *(description.body, description.signature, json.dumps(sorted(expected))),
                    len(expected) if chosen_from is None else chosen_from,
                ),
            )

    def sampling(self, id: AttemptId) -> tuple[int, int]:
        """How many clients the attempt was opened for, and from how many they were chosen."""
        row = self._first(
            "SELECT json_array_length(expected), chosen_from FROM attempts WHERE run = ? AND round = ? AND attempt = ?",
            *(id.run, id.round, id.attempt),
        )
        assert row is not None
        chosen, chosen_from = row
        return chosen, max(chosen, chosen_from)  # late clients are taken in only where nobody was left out

    def widen_attempt(self, id: AttemptId, expected: frozenset[str]) -> None:
        """Remember who else is expected, so that a restart waits for them too."""
        with self._commit() as db:
            db.execute(
                "UPDATE attempts SET expected = ? WHERE run = ? AND round = ? AND attempt = ?",
                (json.dumps(sorted(expected)), id.run, id.round, id.attempt),
            )

    def add_commitment(self, commitment: Commitment, signed: Signed, timings: Timings) -> bool:
        """Store one commitment durably. False if this very one was there already.

        Raises Refused(DUPLICATE) if the client has another one in this attempt, Refused(ROUND_NOT_OPEN) if the list is
        closed.
        """
        id = commitment.id
        with self._commit() as db:
            there = self.commitment_of(id, commitment.client)
            if there == signed.body:
                return False
            if there is not None:
                raise Refused(Reason.DUPLICATE, f"{commitment.client!r} has committed to another update of {id}")
            if self._state(id) != "committing":
                raise Refused(Reason.ROUND_NOT_OPEN, f"{id} is not open for commitments (any more)")
            db.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    *(id.run, id.round, id.attempt, commitment.client),
                    *(signed.body, signed.signature, commitment.digest),
                    *(timings.train_seconds, timings.encrypt_seconds),
                ),
            )
        return True

    def commitment_of(self, id: AttemptId, client: str) -> bytes | None:
        """The commitment the client has in this attempt, if any."""
        row = self._submission("commitment", id, client)
        return row[0] if row else None

    def committed_to(self, id: AttemptId, sha256: bytes, but: str) -> str | None:
        """A client, other than `but`, that has committed to these very ciphertexts in this attempt, if there is one."""
        row = self._first(
            "SELECT client FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? AND sha256 = ? AND client != ? ORDER BY client LIMIT 1",
            *(id.run, id.round, id.attempt, sha256, but),
        )
        return row[0] if row else None

    def add_payload(self, header: SubmissionHeader, client: str, payload: bytes, bytes_up: int) -> bool:
        """Store the ciphertexts of a listed client durably. False if they were there already.

        Raises Refused(NOT_COMMITTED or WRONG_DIGEST) unless the client committed to them, Refused(ROUND_NOT_OPEN) if
        the contributors are fixed.
        """
        id = header.id
        with self._commit() as db:
            if self.has_payload(id, client, header.digest):
                return False
            if self._state(id) != "uploading":
                raise Refused(Reason.ROUND_NOT_OPEN, f"{id} is not open for updates")
            db.execute(
                "UPDATE submissions SET payload = ?, bytes_up = ? "
                "WHERE run = ? AND round = ? AND attempt = ? AND client = ?",
                (payload, bytes_up, id.run, id.round, id.attempt, client),
            )
        return True

    def has_payload(self, id: AttemptId, client: str, sha256: bytes) -> bool:
        """Whether these ciphertexts of the client were taken in already.

        Raises Refused(NOT_COMMITTED or WRONG_DIGEST) unless they are what the client committed to.
        """
        row = self._submission("sha256, bytes_up IS NOT NULL", id, client)
        if row is None:
            raise Refused(Reason.NOT_COMMITTED, f"{client!r} has not committed to an update of {id}")
        if row[0] != sha256:
            raise Refused(Reason.WRONG_DIGEST, f"the update is not the one that {client!r} committed to")
        return bool(row[1])

    def submissions(self, id: AttemptId) -> list[StoredSubmission]:
        """Who has committed in the attempt, in the order of names."""
        rows = self._all(
            "SELECT client, commitment, signature, sha256, bytes_up IS NOT NULL FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? ORDER BY client",
            *(id.run, id.round, id.attempt),
        )
        return [StoredSubmission(row[0], Signed(row[1], row[2]), row[3], bool(row[4])) for row in rows]

    def payload(self, id: AttemptId, client: str) -> bytes:
        """The ciphertexts of one update. Raises Refused(ROUND_NOT_OPEN) when there are none (any more)."""
        row = self._submission("payload", id, client)
        if row is None or row[0] is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no update of {client!r} in {id}")
        stored: bytes = row[0]
        return stored

    def set_state(self, id: AttemptId, state: str) -> None:
        """Note that the attempt has come to its next phase."""
        with self._commit() as db:
            self._update(db, id, state=state)

    def announce_list(self, id: AttemptId, signatures: Sequence[HolderSignature]) -> None:
        """Enough holders have signed the list: from here on ciphertexts are taken."""
        with self._commit() as db:
            self._update(db, id, state="uploading", list_signatures=_signatures_to_json(signatures))

    def keep_opened(self, id: AttemptId, opened: bytes) -> None:
        """Store the opened sum, whose model is not endorsed yet."""
        with self._commit() as db:
            self._update(db, id, state="endorsing", opened=opened)

    def abandon_attempt(self, id: AttemptId, sentence: str) -> None:
        with self._commit() as db:
            self._update(db, id, state="abandoned", sentence=sentence)
            self._forget_payloads(db, id)

    def complete_attempt(
        self, id: AttemptId, model: FloatArray, endorsements: Sequence[HolderSignature], result: RoundResult
    ) -> None:
        """Store the new model, the history's row and the end of the attempt, together; forget the ciphertexts."""
        with self._commit() as db:
            self._update(db, id, state="completed", opened=None)
            self._forget_payloads(db, id)
            _insert_model(db, id.run, id.round, model, endorsements)
            values = [getattr(result, field.name) for field in fields(RoundResult)]
            columns = ", ".join(field.name for field in fields(RoundResult))
            marks = ", ?" * len(values)
            db.execute(f"INSERT INTO history (run, {columns}) VALUES (?{marks})", (id.run, *values))  # noqa: S608

    def costs(self, id: AttemptId) -> Costs:
        rows = self._all(
            "SELECT avg(bytes_up), avg(train_seconds), avg(encrypt_seconds) FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? AND bytes_up IS NOT NULL",
            *(id.run, id.round, id.attempt),
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

    def endorsements(self, run: str, round_number: int) -> tuple[HolderSignature, ...]:
        """The key holders' signatures under a round's model; none for round 0."""
        row = self._first("SELECT endorsements FROM models WHERE run = ? AND round = ?", run, round_number)
        return _signatures_from_json(row[0]) if row else ()

    def history(self, run: str) -> list[RoundResult]:
        """The completed rounds in order."""
        columns = ", ".join(field.name for field in fields(RoundResult))
        rows = self._all(f"SELECT {columns} FROM history WHERE run = ? ORDER BY round", run)  # noqa: S608
        return [RoundResult(*row) for row in rows]

    # -------------------------------------------------------------------------------- helpers

    def _submission(self, columns: str, id: AttemptId, client: str) -> tuple[Any, ...] | None:
        return self._first(
            f"SELECT {columns} FROM submissions WHERE run = ? AND round = ? AND attempt = ? AND client = ?",  # noqa: S608
            *(id.run, id.round, id.attempt, client),
        )

    def _state(self, id: AttemptId) -> str | None:
        row = self._first(
            "SELECT state FROM attempts WHERE run = ? AND round = ? AND attempt = ?", id.run, id.round, id.attempt
        )
        return row[0] if row else None

    @staticmethod
    def _update(db: sqlite3.Connection, id: AttemptId, **columns: object) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        db.execute(
            f"UPDATE attempts SET {assignments} WHERE run = ? AND round = ? AND attempt = ?",  # noqa: S608  names of our own columns
            (*columns.values(), id.run, id.round, id.attempt),
        )

    @staticmethod
    def _forget_payloads(db: sqlite3.Connection, id: AttemptId) -> None:
        """Ciphertexts are kept no longer than needed; the digests stay."""
        db.execute(
            "UPDATE submissions SET payload = NULL WHERE run = ? AND round = ? AND attempt = ?",
            (id.run, id.round, id.attempt),
        )


def _insert_model(
    db: sqlite3.Connection, run: str, round_number: int, model: FloatArray, endorsements: Sequence[HolderSignature]
) -> None:
    raw = model_bytes(model)
    row = (run, round_number, raw, digest(raw), _signatures_to_json(endorsements))
    db.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", row)


def _signatures_to_json(signatures: Sequence[HolderSignature]) -> str:
    return json.dumps([[each.holder, each.signature.hex()] for each in signatures])


def _signatures_from_json(text: str) -> tuple[HolderSignature, ...]:
    return tuple(HolderSignature(holder, bytes.fromhex(signature)) for holder, signature in json.loads(text))
