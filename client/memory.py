"""What a client must not forget between runs: which starting models it has contributed to, and in which round.

One SQLite file in a folder of the client's own. Training repeats itself exactly from the same model, so the sums of
several rounds from one model, each of an allowed cohort, combine to single updates. So a client contributes to each
starting model in one round of one run only; further attempts at that round are allowed, because key holders open at
most one of them.
"""

from __future__ import annotations

from pathlib import Path

from client.budget import FOLDER as BUDGET
from client.budget import Budget
from client.controls import SCHEMA as CONTROLS
from client.controls import Controls
from client.seen_ledgers import SeenLedgers
from core.database import Database
from core.protocol import ModelOrigin

FOLDER = "memory"
"""The folder's name, inside the folder of the client's identity."""
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS contributions (
    model BLOB PRIMARY KEY, run TEXT NOT NULL, round INTEGER NOT NULL
) STRICT;
"""


class Memory:
    """The memory in `folder`/client.sqlite, for one process at a time; without a folder, one that ends with the object.

    Args:
        budget: what the client's data has cost; by default in the folder `budget` in `folder`. It is closed with this.

    Raises StorageError when the file cannot be used, or another process of this client uses it.
    """

    def __init__(self, folder: Path | None = None, budget: Budget | None = None) -> None:
        path = None if folder is None else folder / "client.sqlite"
        self.seen = SeenLedgers(folder)
        """What was seen of key holders' ledgers."""
        self._database = Database(path, SCHEMA + CONTROLS, SCHEMA_VERSION, owner="client")
        self.controls = Controls(self._database)
        """This client's control variates, in runs with SCAFFOLD."""
        self.budget = budget or Budget(None if folder is None else folder / BUDGET)
        """What the client's data has cost."""

    def close(self) -> None:
        """Close the files, and let another process use them."""
        self.budget.close()
        self._database.close()

    def contributed_in(self, model_digest: bytes) -> ModelOrigin | None:
        """Return the round in which this client contributed to a starting model; None if it has not."""
        row = self._database.first("SELECT run, round FROM contributions WHERE model = ?", model_digest)
        return ModelOrigin(*row) if row else None

    def record_contribution(self, model_digest: bytes, run: str, round_number: int) -> None:
        """Write down, durably, that this client contributes to a starting model; the first round stays."""
        if self.contributed_in(model_digest) is None:
            with self._database.commit() as db:
                db.execute("INSERT INTO contributions VALUES (?, ?, ?)", (model_digest, run, round_number))
