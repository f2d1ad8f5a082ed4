"""What the key holder must not forget: which sums it has opened. One SQLite file, written before any answer leaves.

A round's sum is opened once. The same request again gets the same answer, from here, because the key is gone by then.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from core.errors import Reason, Refused, StorageError
from core.protocol import AttemptId

SCHEMA = """
CREATE TABLE IF NOT EXISTS releases (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
    request_sha256 BLOB NOT NULL, answer BLOB NOT NULL, contributors INTEGER NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
"""


class Ledger:
    """The releases in `folder`/keyholder.sqlite. Raises StorageError when it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keyholder.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the key holder's ledger {self._path} cannot be used: {error}") from error

    def close(self) -> None:
        self._db.close()

    def earlier_answer(self, id: AttemptId, request_digest: bytes) -> bytes | None:
        """The answer already given to this very request, or None if this round was never opened.

        Raises Refused(ALREADY_RELEASED) if it was opened for another request.
        """
        query = "SELECT request_sha256, answer FROM releases WHERE run = ? AND round = ?"
        try:
            row = self._db.execute(query, (id.run, id.round)).fetchone()
        except sqlite3.Error as error:
            raise StorageError(f"the key holder's ledger {self._path} cannot be read: {error}") from error
        if row is None:
            return None
        if row[0] != request_digest:
            raise Refused(
                Reason.ALREADY_RELEASED, f"the sum of round {id.round} was opened before, for another request"
            )
        answer: bytes = row[1]
        return answer

    def record(self, id: AttemptId, request_digest: bytes, answer: bytes, contributors: int) -> None:
        """Write a release down, durably, before it happens."""
        try:
            self._db.execute(
                "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?)",
                (id.run, id.round, id.attempt, request_digest, answer, contributors),
            )
        except sqlite3.IntegrityError as error:
            raise Refused(Reason.ALREADY_RELEASED, f"the sum of round {id.round} was opened before") from error
        except sqlite3.Error as error:
            raise StorageError(f"the key holder's ledger {self._path} cannot be written: {error}") from error
