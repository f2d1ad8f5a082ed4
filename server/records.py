"""What the aggregator's SQLite file holds, and how it is read: runs, clients, attempts, updates, models, history.

All methods are to be called from one thread, and raise StorageError when the file cannot be used.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.database import Database
from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId, HolderSignature, ModelOrigin, RoundResult, Signed, digest
from core.server_rules import FEDAVG, ServerModel, ServerRule
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_from_wire, holder_signatures_to_wire
from core.wire.streams import model_from_bytes

FILE = "aggregator.sqlite"
SCHEMA_VERSION = 7
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, settings TEXT NOT NULL, selection_secret TEXT NOT NULL,
    start_run TEXT, start_round INTEGER,
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
    list_signatures TEXT NOT NULL DEFAULT '[]', request_signatures TEXT NOT NULL DEFAULT '[]',
    opened BLOB, sentence TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN
        ('committing', 'closing', 'uploading', 'releasing', 'endorsing', 'completed', 'abandoned')),
    PRIMARY KEY (run, round, attempt)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_completed_attempt ON attempts (run, round) WHERE state = 'completed';
CREATE UNIQUE INDEX IF NOT EXISTS one_attempt_a_key ON attempts (key_serial);
CREATE TABLE IF NOT EXISTS submissions (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, client TEXT NOT NULL,
    commitment BLOB NOT NULL, signature BLOB NOT NULL, sha256 BLOB NOT NULL, ciphertexts_sha256 BLOB NOT NULL,
    train_seconds REAL NOT NULL, encrypt_seconds REAL NOT NULL,
    payload BLOB, bytes_up INTEGER,
    PRIMARY KEY (run, round, attempt, client)
) STRICT;
CREATE TABLE IF NOT EXISTS evidence (
    run TEXT NOT NULL, client TEXT NOT NULL, sentence TEXT NOT NULL, message BLOB NOT NULL,
    PRIMARY KEY (run, client)
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
    true_positives INTEGER NOT NULL, false_positives INTEGER NOT NULL,
    false_negatives INTEGER NOT NULL, true_negatives INTEGER NOT NULL,
    cohort_true_positives INTEGER NOT NULL, cohort_false_positives INTEGER NOT NULL,
    cohort_false_negatives INTEGER NOT NULL, cohort_true_negatives INTEGER NOT NULL,
    repeats INTEGER NOT NULL, repeats_correct INTEGER NOT NULL,
    wordless INTEGER NOT NULL, wordless_correct INTEGER NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
CREATE TABLE IF NOT EXISTS record (
    run TEXT NOT NULL, round INTEGER NOT NULL, line TEXT NOT NULL,
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
    """An unfinished run, with the settings it was started with."""

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


class Records:
    """The reading side of `folder`/aggregator.sqlite."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._database = Database(self.path, SCHEMA, SCHEMA_VERSION, owner="aggregator")
        self._all = self._database.all
        self._first = self._database.first

    # -------------------------------------------------------------------------------- runs and clients

    def unfinished_run(self) -> StoredRun | None:
        row = self._first("SELECT run, settings FROM runs WHERE status = 'running'")
        return StoredRun(row[0], json.loads(row[1])) if row else None

    def last_ending(self) -> tuple[str, str] | None:
        """Return whether the latest run is running, completed or failed, and its closing message; None without one."""
        return self._first("SELECT status, sentence FROM runs ORDER BY rowid DESC LIMIT 1")

    def abandoned(self, run: str, round_number: int, message: str) -> int:
        """Return how many attempts at a round were given up for this reason."""
        query = "SELECT count(*) FROM attempts WHERE run = ? AND round = ? AND state = 'abandoned' AND sentence = ?"
        row = self._first(query, run, round_number, message)
        return 0 if row is None else int(row[0])

    def has_runs(self) -> bool:
        """Return whether there is any run, finished or not."""
        return self._first("SELECT 1 FROM runs") is not None

    def start_of(self, run: str) -> ModelOrigin | None:
        """Return which round made the model that a run started from; None for the task's initial model."""
        row = self._first("SELECT start_run, start_round FROM runs WHERE run = ?", run)
        if row is None or row[0] is None:
            return None
        return ModelOrigin(row[0], row[1], self.server_model(row[0], row[1])[1].state_digest)

    def last_model_of(self, task: str) -> ModelOrigin | None:
        """Return the last completed round of the latest run of a task that completed any."""
        query = (
            "SELECT models.run, max(models.round), settings FROM models JOIN runs ON runs.run = models.run "
            "WHERE models.round > 0 GROUP BY models.run ORDER BY runs.rowid DESC"
        )
        rows = self._all(query)
        return next((ModelOrigin(row[0], row[1]) for row in rows if json.loads(row[2])["task"] == task), None)

    def selection_secret(self, run: str) -> str:
        """Return the secret by which clients are drawn. Never to be logged or sent."""
        row = self._first("SELECT selection_secret FROM runs WHERE run = ?", run)
        assert row is not None
        return str(row[0])

    def is_enrolled(self, run: str, client: str) -> bool:
        return self._first("SELECT 1 FROM clients WHERE run = ? AND client = ?", run, client) is not None

    def refusals(self, run: str) -> Counter[str]:
        """Return how often messages were refused, by the name of the check."""
        return Counter(dict(self._all("SELECT reason, count FROM refusals WHERE run = ?", run)))

    # -------------------------------------------------------------------------------- attempts

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
            list_signatures=signatures_from_json(signatures),
            opened=opened,
        )

    def used_keys(self) -> frozenset[int]:
        """Return the serial numbers of all round keys that an attempt was ever opened with."""
        return frozenset(row[0] for row in self._all("SELECT key_serial FROM attempts"))

    def sampling(self, id: AttemptId) -> tuple[int, int]:
        """Return how many clients the attempt was opened for, and from how many they were drawn."""
        row = self._first(
            "SELECT json_array_length(expected), chosen_from FROM attempts WHERE run = ? AND round = ? AND attempt = ?",
            *id.key,
        )
        assert row is not None
        chosen, chosen_from = row
        return chosen, max(chosen, chosen_from)  # late clients join only where no client was left out

    def _state(self, id: AttemptId) -> str | None:
        row = self._first("SELECT state FROM attempts WHERE run = ? AND round = ? AND attempt = ?", *id.key)
        return row[0] if row else None

    # -------------------------------------------------------------------------------- commitments and updates

    def commitment_of(self, id: AttemptId, client: str) -> Signed | None:
        """Return the commitment the client has in this attempt, if any."""
        row = self._submission("commitment, signature", id, client)
        return Signed(*row) if row else None

    def committed_to(self, id: AttemptId, sha256: bytes, except_for: str) -> str | None:
        """Return another client that has committed to the same ciphertexts in this attempt, if there is one."""
        row = self._first(
            "SELECT client FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? AND ciphertexts_sha256 = ? AND client != ? "
            "ORDER BY client LIMIT 1",
            *id.key,
            sha256,
            except_for,
        )
        return row[0] if row else None

    def has_payload(self, id: AttemptId, client: str, sha256: bytes) -> bool:
        """Return whether these ciphertexts of the client are stored already.

        Raises Refused(NOT_COMMITTED or WRONG_DIGEST) unless they are what the client committed to.
        """
        row = self._submission("sha256, bytes_up IS NOT NULL", id, client)
        if row is None:
            raise Refused(Reason.NOT_COMMITTED, f"{client!r} has not committed to an update of {id}")
        if row[0] != sha256:
            raise Refused(Reason.WRONG_DIGEST, f"the update is not the one that {client!r} committed to")
        return bool(row[1])

    def submissions(self, id: AttemptId) -> list[StoredSubmission]:
        """Return every client's part in the attempt, in the order of names."""
        rows = self._all(
            "SELECT client, commitment, signature, sha256, bytes_up IS NOT NULL FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? ORDER BY client",
            *id.key,
        )
        return [StoredSubmission(row[0], Signed(row[1], row[2]), row[3], bool(row[4])) for row in rows]

    def evidence(self, run: str) -> dict[str, tuple[str, bytes]]:
        """Return, by client, why its update was found to be false, and the signed bytes that show it."""
        rows = self._all("SELECT client, sentence, message FROM evidence WHERE run = ? ORDER BY client", run)
        return {client: (sentence, message) for client, sentence, message in rows}

    def latest_cohorts(self, count: int) -> tuple[frozenset[str], ...]:
        """Return the contributors of the latest opened sums, of whatever run, the newest first."""
        rows = self._all(
            "SELECT json_group_array(client) FROM submissions JOIN attempts USING (run, round, attempt) "
            "WHERE bytes_up IS NOT NULL AND state IN ('releasing', 'endorsing', 'completed') "
            "GROUP BY attempts.rowid ORDER BY attempts.rowid DESC LIMIT ?",
            count,
        )
        return tuple(frozenset(json.loads(row[0])) for row in rows)

    def opened_rounds(self) -> list[tuple[bytes, tuple[str, ...]]]:
        """Return the description and the contributors of each opened sum, of whatever run, the oldest first."""
        rows = self._all(
            "SELECT description, json_group_array(client) FROM submissions JOIN attempts USING (run, round, attempt) "
            "WHERE bytes_up IS NOT NULL AND state IN ('releasing', 'endorsing', 'completed') "
            "GROUP BY attempts.rowid ORDER BY attempts.rowid"
        )
        return [(description, tuple(json.loads(clients))) for description, clients in rows]

    def payload(self, id: AttemptId, client: str) -> bytes:
        """Return the ciphertexts of one update. Raise Refused(ROUND_NOT_OPEN) if there are none (any more)."""
        row = self._submission("payload", id, client)
        if row is None or row[0] is None:
            raise Refused(Reason.ROUND_NOT_OPEN, f"there is no update of {client!r} in {id}")
        stored: bytes = row[0]
        return stored

    def costs(self, id: AttemptId) -> Costs:
        rows = self._all(
            "SELECT avg(bytes_up), avg(train_seconds), avg(encrypt_seconds) FROM submissions "
            "WHERE run = ? AND round = ? AND attempt = ? AND bytes_up IS NOT NULL",
            *id.key,
        )
        return Costs(*rows[0])

    def _submission(self, columns: str, id: AttemptId, client: str) -> tuple[Any, ...] | None:
        return self._first(
            f"SELECT {columns} FROM submissions WHERE run = ? AND round = ? AND attempt = ? AND client = ?",  # noqa: S608
            *id.key,
            client,
        )

    # -------------------------------------------------------------------------------- models and history

    def model(self, run: str, round_number: int | None = None) -> tuple[int, FloatArray]:
        """Return a round's model (None: the newest) as (round, vector of shape (values,)). Raise Refused(NO_MODEL)."""
        number, model = self.server_model(run, round_number)
        return number, model.model

    def server_model(self, run: str, round_number: int | None = None) -> tuple[int, ServerModel]:
        """Return the same with what the server's rule remembers after that round. Raise Refused(NO_MODEL)."""
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
        return row[0], ServerModel.from_vector(self._rule_of(run), model_from_bytes(row[1], len(row[1]) // 8))

    def _rule_of(self, run: str) -> ServerRule:
        """Return a run's rule; runs of before there were others have the plain mean."""
        row = self._first("SELECT settings FROM runs WHERE run = ?", run)
        said = json.loads(row[0]).get("server_rule") if row else None
        return FEDAVG if said is None else ServerRule(**said)

    def endorsements(self, run: str, round_number: int) -> tuple[HolderSignature, ...]:
        """Return the key holders' signatures under a round's model; none for round 0."""
        row = self._first("SELECT endorsements FROM models WHERE run = ? AND round = ?", run, round_number)
        return signatures_from_json(row[0]) if row else ()

    def record(self, run: str) -> Iterator[str]:
        """Yield the lines of the run's public record, in the order of the rounds."""
        for (number,) in self._all("SELECT round FROM record WHERE run = ? ORDER BY round", run):
            row = self._first("SELECT line FROM record WHERE run = ? AND round = ?", run, number)
            if row is not None:
                yield row[0]

    def history(self, run: str) -> list[RoundResult]:
        """Return the completed rounds in order."""
        columns = ", ".join(field.name for field in fields(RoundResult))
        rows = self._all(f"SELECT {columns} FROM history WHERE run = ? ORDER BY round", run)  # noqa: S608
        return [RoundResult(*row) for row in rows]


def signatures_to_json(signatures: Sequence[HolderSignature]) -> str:
    return json.dumps(
        [each.SerializeToString().hex() for each in holder_signatures_to_wire(signatures)], allow_nan=False
    )


def signatures_from_json(text: str) -> tuple[HolderSignature, ...]:
    return holder_signatures_from_wire(pb.HolderSignature.FromString(bytes.fromhex(each)) for each in json.loads(text))
