"""What training on a data set has cost its owner in privacy, over all runs and aggregators: a durable chain of charges.

A round is charged before the client commits to anything, with mu^2 of its sum (core/privacy/composition.py): infinitely
much without privacy. A round of a federation that starts from the same model is charged once for all its attempts,
with what the most expensive of them costs: key holders open at most one sum a round, and what is never opened tells
nothing. (t key holders together could open every attempt; they read everything anyway.)

Every entry has a number and the hash of the one before it, as in a key holder's ledger. The last one is in the client's
signed commitments, so that key holders notice when it is deleted, or restored from an old copy. Several identities with
the same data may share the file, also at the same time.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.database import Database
from core.errors import StorageError
from core.protocol import Head, RoundDescription, digest

FOLDER = "budget"
"""The folder's name, inside the client's memory."""
FILE = "budget.sqlite"
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (id BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS charges (
    number INTEGER PRIMARY KEY, dataset TEXT NOT NULL, federation TEXT NOT NULL, run TEXT NOT NULL,
    round INTEGER NOT NULL, model BLOB NOT NULL, cost REAL NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
"""
ID_BYTES = 16
"""Of a budget's random name: without it, hashes would tell which names and runs are in it to anybody who guesses."""


@dataclass(frozen=True)
class Spent:
    """What one data set has cost: mu^2 in all, for how many rounds of how many runs."""

    dataset: str
    cost: float = 0.0
    rounds: int = 0
    runs: int = 0


class Budget:
    """The charges in `folder`/budget.sqlite, by data set; without a folder, kept as long as the object.

    Args:
        dataset: the name under which this client's data is charged.

    Raises StorageError when the file cannot be used, or was changed.
    """

    def __init__(self, folder: Path | None = None, dataset: str = "generated") -> None:
        self.dataset = dataset
        self.folder = folder
        self._database = Database(
            None if folder is None else folder / FILE, SCHEMA, SCHEMA_VERSION, owner="client", alone=False
        )
        try:
            self._start = Head(0, digest(self._id()))
            self._verify_chain()
        except BaseException:
            self.close()
            raise

    def _id(self) -> bytes:
        with self._database.commit() as db:  # of two processes that begin the file at a time, the second waits
            if (row := self._database.first("SELECT id FROM identity")) is None:
                row = (secrets.token_bytes(ID_BYTES),)
                db.execute("INSERT INTO identity VALUES (?)", row)
        return bytes(row[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def spent(self) -> list[Spent]:
        """Return what every data set has cost, by name."""
        query = (
            "SELECT dataset, sum(cost), count(DISTINCT federation || run || '/' || round), "
            "count(DISTINCT federation || run) FROM charges GROUP BY dataset ORDER BY dataset"
        )
        return [Spent(*row) for row in self._database.all(query)]

    @property
    def own(self) -> Spent:
        """What this client's data set has cost."""
        return next((each for each in self.spent() if each.dataset == self.dataset), Spent(self.dataset))

    def after(self, description: RoundDescription, cost: float) -> float:
        """Return what the data set will have cost after a round of this cost."""
        return self.own.cost + self._extra(description, cost)

    def charge(self, description: RoundDescription, cost: float, require: Callable[[float], None]) -> Head:
        """Write down, durably, that the data set is used in a round, and return the last entry.

        `require` is handed what the data set will have cost then, and raises what forbids it: nothing is written then.
        """
        with self._database.commit() as db:
            extra, last = self._extra(description, cost), self._last()
            require(self.own.cost + extra)
            if extra == 0 and self._charged(description) is not None:
                return last
            number, about = last.number + 1, (self.dataset, *_key(description), extra)
            chained = _hash(number, about, last.hash)
            db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *about, last.hash, chained))
        return Head(number, chained)

    def _extra(self, description: RoundDescription, cost: float) -> float:
        """Return how much more a round costs than what was charged for its earlier attempts."""
        charged = self._charged(description) or 0.0
        return cost - charged if cost > charged else 0.0

    def _charged(self, description: RoundDescription) -> float | None:
        query = (
            "SELECT sum(cost) FROM charges WHERE dataset = ? AND federation = ? AND run = ? AND round = ? AND model = ?"
        )
        row = self._database.first(query, self.dataset, *_key(description))
        return None if row is None else row[0]

    def _last(self) -> Head:
        row = self._database.first("SELECT number, hash FROM charges ORDER BY number DESC LIMIT 1")
        return self._start if row is None else Head(*row)

    def _verify_chain(self) -> None:
        expected = self._start
        for number, *about, previous, found in self._database.all("SELECT * FROM charges ORDER BY number"):
            if Head(number - 1, previous) != expected or _hash(number, tuple(about), previous) != found:
                raise StorageError(
                    f"entry {number} of {self._database.path} does not follow from the one before: the budget was "
                    "changed or damaged; restore its newest copy"
                )
            expected = Head(number, found)


def _key(description: RoundDescription) -> tuple[str, str, int, bytes]:
    return description.federation, description.id.run, description.id.round, description.model_digest


def _hash(number: int, about: tuple[Any, ...], previous: bytes) -> bytes:
    dataset, federation, run, round_number, model, cost = about
    wide = "unlimited" if math.isinf(cost) else float(cost).hex()
    content = json.dumps([number, dataset, federation, run, round_number, model.hex(), wide], allow_nan=False)
    return digest(content.encode() + b"\0" + previous)
