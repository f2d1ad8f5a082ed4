"""One SQLite file of a party: durable transactions, one process at a time, and sentences when the disk is full.

WAL with synchronous=FULL: when a transaction has returned, it is on the disk. All methods are to be called from one
thread.
"""

from __future__ import annotations

import fcntl
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from core.errors import StorageError

IN_MEMORY = ":memory:"
"""SQLite's name for a database that is no file."""


class Database:
    """The file at `path` with the tables of `schema`, for this process alone unless it is to be shared.

    Args:
        path: of the file; None keeps everything in memory, until close().
        version: of the schema; a file of another version is refused.
        owner: the party, for sentences.
        alone: whether no other process may have it open; else each transaction waits for those of others.

    Raises StorageError, in a sentence, when the file cannot be used.
    """

    def __init__(self, path: Path | None, schema: str, version: int, owner: str, *, alone: bool = True) -> None:
        self.path = path or Path(IN_MEMORY)
        self._lock: TextIO | None = None
        folder = self.path.parent
        try:
            if path is not None:
                # For this user alone: it holds ciphertexts, opened sums, and who was chosen at random.
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _lock(folder, owner) if alone else None
                path.touch(mode=0o600)  # the files that SQLite puts next to it take over its mode
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the state folder {folder} cannot be used: {error}") from error
        try:
            self._prepare(schema, version)
        except BaseException:
            self.close()
            raise

    def _prepare(self, schema: str, version: int) -> None:
        with explained(self.path):
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # deleted ciphertexts do not stay in free pages
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, version):
                raise StorageError(f"{self.path} has layout {found}; this program knows {version}")
            # One transaction: a layout is there as a whole or not at all, and is synced to the disk once.
            self._db.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version = {version}; COMMIT")
        self.forget()  # a process that was killed has left it

    def spool(self) -> BinaryIO:
        """Open a nameless file in the database's folder; it is gone when closed. Raises StorageError."""
        try:
            return tempfile.TemporaryFile(dir=self.path.parent)
        except OSError as error:
            raise StorageError(f"the state folder {self.path.parent} cannot be used: {error}") from error

    def forget(self) -> None:
        """Let nothing that was deleted stay in the write-ahead log: copy the rest into the file, and empty the log."""
        with explained(self.path):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def close(self) -> None:
        """Close the database and let go of its lock."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def commit(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction: all of it or nothing."""
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises StorageError."""
        with explained(self.path):
            return self._db.execute(query, values).fetchall()

    def first(self, query: str, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None. Raises StorageError."""
        rows = self.all(query, *values)
        return rows[0] if rows else None


def _lock(folder: Path, owner: str) -> TextIO:
    """Keep a second process out; the operating system lets go of it however this process ends."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        message = f"{folder} is in use by another {owner}; stop that one first, or use another folder"
        raise StorageError(message) from error
    return lock


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into StorageError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"{path} cannot be used: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # SQLite quotes damaged names as they are
        raise StorageError(f"{path} is not a file of this program or is damaged: {error}") from error
