"""What the aggregator must not forget, written to one SQLite file; records.py is how it is read.

A receipt is sent only after the commit (WAL, synchronous=FULL), and the unique constraints, not the code above them,
decide that an update counts once. All methods are to be called from one thread. They raise StorageError when the disk
is full or the file is not the aggregator's.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import Reason, Refused
from core.protocol import (
    AttemptId,
    Commitment,
    HolderSignature,
    ModelOrigin,
    RoundResult,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from core.wire.streams import model_bytes
from server.records import FloatArray, Records, signatures_to_json


class Store(Records):
    """The aggregator's state in `folder`/aggregator.sqlite, for this process alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._commit = self._database.commit

    def spool(self) -> BinaryIO:
        """Open a nameless file next to the database; it is deleted when closed. Raise StorageError."""
        return self._database.spool()

    def close(self) -> None:
        self._database.close()

    def forget(self) -> None:
        """Let no ciphertext that was deleted stay on the disk. Raise StorageError."""
        self._database.forget()

    # -------------------------------------------------------------------------------- runs and clients

    def begin_run(
        self, run: str, settings: dict[str, Any], model: FloatArray, start: ModelOrigin | None = None
    ) -> None:
        """Store a new run with its starting model as round 0; `start` is the earlier round that made it, if one did."""
        row = (run, json.dumps(settings, sort_keys=True, allow_nan=False), secrets.token_hex(16))
        origin = (None, None) if start is None else (start.run, start.round)
        endorsements = () if start is None else self.endorsements(start.run, start.round)
        with self._commit() as db:
            columns = "run, settings, selection_secret, start_run, start_round"
            db.execute(f"INSERT INTO runs ({columns}) VALUES (?, ?, ?, ?, ?)", (*row, *origin))  # noqa: S608
            _insert_model(db, run, 0, model, endorsements)

    def change_settings(self, run: str, settings: dict[str, Any]) -> None:
        """Store other settings of a run."""
        with self._commit() as db:
            db.execute(
                "UPDATE runs SET settings = ? WHERE run = ?",
                (json.dumps(settings, sort_keys=True, allow_nan=False), run),
            )

    def end_run(self, run: str, *, completed: bool, message: str) -> None:
        with self._commit() as db:
            status = "completed" if completed else "failed"
            db.execute("UPDATE runs SET status = ?, sentence = ? WHERE run = ?", (status, message, run))
            db.execute("UPDATE submissions SET payload = NULL WHERE run = ?", (run,))

    def enrol(self, run: str, client: str) -> None:
        """Store that a client has joined; joining again changes nothing."""
        if not self.is_enrolled(run, client):
            with self._commit() as db:
                db.execute("INSERT OR IGNORE INTO clients VALUES (?, ?)", (run, client))

    def count_refusals(self, run: str, refusals: Counter[Reason]) -> None:
        """Add to the counts of refused messages, by reason."""
        with self._commit() as db:
            db.executemany(
                "INSERT INTO refusals VALUES (?, ?, ?) "
                "ON CONFLICT (run, reason) DO UPDATE SET count = count + excluded.count",
                [(run, reason.value, count) for reason, count in refusals.items()],
            )

    # -------------------------------------------------------------------------------- attempts and updates

    def open_attempt(
        self,
        id: AttemptId,
        key_serial: int,
        description: Signed,
        expected: frozenset[str],
        chosen_from: int | None = None,
    ) -> None:
        """Store a new attempt for the `expected` clients, drawn from `chosen_from` (default: from as many)."""
        with self._commit() as db:
            db.execute(
                "INSERT INTO attempts "
                "(run, round, attempt, key_serial, description, signature, expected, chosen_from, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'committing')",
                (
                    *id.key,
                    key_serial,
                    description.body,
                    description.signature,
                    json.dumps(sorted(expected), allow_nan=False),
                    len(expected) if chosen_from is None else chosen_from,
                ),
            )

    def widen_attempt(self, id: AttemptId, expected: frozenset[str]) -> None:
        """Store which clients are expected now, so that a restart waits for them too."""
        with self._commit() as db:
            db.execute(
                "UPDATE attempts SET expected = ? WHERE run = ? AND round = ? AND attempt = ?",
                (json.dumps(sorted(expected), allow_nan=False), *id.key),
            )

    def add_commitment(self, commitment: Commitment, signed: Signed, timings: Timings) -> bool:
        """Store one commitment durably. Return False if this very one was stored already.

        Raises Refused(DUPLICATE) if the client has another one in this attempt, Refused(ROUND_NOT_OPEN) if the list is
        closed.
        """
        id = commitment.id
        with self._commit() as db:
            stored = self.commitment_of(id, commitment.client)
            if stored is not None and stored.body == signed.body:
                return False
            if stored is not None:
                raise Refused(Reason.DUPLICATE, f"{commitment.client!r} has committed to another update of {id}")
            if self._state(id) != "committing":
                raise Refused(Reason.ROUND_NOT_OPEN, f"{id} is not open for commitments (any more)")
            db.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    *id.key,
                    commitment.client,
                    signed.body,
                    signed.signature,
                    commitment.digest,
                    commitment.ciphertexts_digest,
                    timings.train_seconds,
                    timings.encrypt_seconds,
                ),
            )
        return True

    def add_payload(self, header: SubmissionHeader, client: str, payload: bytes, bytes_up: int) -> bool:
        """Store the ciphertexts of a listed client durably. Return False if they were stored already.

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
                (payload, bytes_up, *id.key, client),
            )
        return True

    def keep_evidence(self, run: str, client: str, sentence: str, message: bytes) -> None:
        """Store the signed bytes that show that a client's update is false; the first of a run are kept."""
        with self._commit() as db:
            db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?)", (run, client, sentence, message))

    def set_state(self, id: AttemptId, state: str) -> None:
        """Store that the attempt has come to its next phase."""
        with self._commit() as db:
            self._update(db, id, state=state)

    def announce_list(self, id: AttemptId, signatures: Sequence[HolderSignature]) -> None:
        """Store the list's signatures; from here on ciphertexts are taken."""
        with self._commit() as db:
            self._update(db, id, state="uploading", list_signatures=signatures_to_json(signatures))

    def forget_updates(self, id: AttemptId, clients: frozenset[str]) -> None:
        """Delete the ciphertexts of clients that are left out of the sum, as if they had not come."""
        with self._commit() as db:
            db.executemany(
                "UPDATE submissions SET payload = NULL, bytes_up = NULL "
                "WHERE run = ? AND round = ? AND attempt = ? AND client = ?",
                [(*id.key, client) for client in sorted(clients)],
            )

    def keep_opened(self, id: AttemptId, opened: bytes, requests: Sequence[HolderSignature]) -> None:
        """Store the opened sum, whose model is not endorsed yet, and who agreed to open it."""
        with self._commit() as db:
            self._update(db, id, state="endorsing", opened=opened, request_signatures=signatures_to_json(requests))

    def abandon_attempt(self, id: AttemptId, message: str) -> None:
        with self._commit() as db:
            self._update(db, id, state="abandoned", sentence=message)
            self._forget_payloads(db, id)

    def complete_attempt(
        self,
        id: AttemptId,
        model: FloatArray,
        endorsements: Sequence[HolderSignature],
        result: RoundResult,
        line: str = "",
    ) -> None:
        """Store the new model, the history's row and the end of the attempt, together; forget the ciphertexts.

        Args:
            line: the round in the run's public record.
        """
        with self._commit() as db:
            self._update(db, id, state="completed", opened=None)
            self._forget_payloads(db, id)
            _insert_model(db, id.run, id.round, model, endorsements)
            db.execute("INSERT INTO record VALUES (?, ?, ?)", (id.run, id.round, line))
            values = [_storable(getattr(result, field.name)) for field in fields(RoundResult)]
            columns = ", ".join(field.name for field in fields(RoundResult))
            marks = ", ?" * len(values)
            db.execute(f"INSERT INTO history (run, {columns}) VALUES (?{marks})", (id.run, *values))  # noqa: S608

    # -------------------------------------------------------------------------------- helpers

    @staticmethod
    def _update(db: sqlite3.Connection, id: AttemptId, **columns: object) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        db.execute(
            f"UPDATE attempts SET {assignments} WHERE run = ? AND round = ? AND attempt = ?",  # noqa: S608  names of our own columns
            (*columns.values(), *id.key),
        )

    @staticmethod
    def _forget_payloads(db: sqlite3.Connection, id: AttemptId) -> None:
        """Delete the ciphertexts, which are not needed any more; the digests stay."""
        db.execute(
            "UPDATE submissions SET payload = NULL WHERE run = ? AND round = ? AND attempt = ?",
            id.key,
        )


def _insert_model(
    db: sqlite3.Connection, run: str, round_number: int, model: FloatArray, endorsements: Sequence[HolderSignature]
) -> None:
    raw = model_bytes(model)
    row = (run, round_number, raw, digest(raw), signatures_to_json(endorsements))
    db.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", row)


def _storable(value: Any) -> Any:
    """Return the value, or infinity for NaN, such as the loss of a model that diverged: SQLite makes NULL of that."""
    return inf if value != value else value
