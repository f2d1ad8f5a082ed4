"""One client's control variates c_i in a run with SCAFFOLD (core/scaffold.py), durable with its memory.

A client that uploads cannot know yet whether its change of c_i will be in the sum that is opened. So it writes down the
new c_i for the round before it uploads, and a later round takes it as it is; a round's attempt that is abandoned takes
it back. A run begins with c_i = 0, as the server's c does, and what earlier runs left is forgotten then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.database import Database
from core.protocol import AttemptId
from core.wire.streams import model_bytes, model_from_bytes

FloatArray = npt.NDArray[np.float64]
SCHEMA = """
CREATE TABLE IF NOT EXISTS controls (
    run TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (run, round)
) STRICT;
"""


class Controls:
    """The control variates in a client's database. Every method raises StorageError when it cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def before(self, id: AttemptId, values: int) -> FloatArray:
        """Return c_i before a round, shape (values,): that of the last round of this run it took part in, or 0.

        Raises Refused(WRONG_LENGTH or MALFORMED) for one that is damaged.
        """
        query = "SELECT vector FROM controls WHERE run = ? AND round < ? ORDER BY round DESC LIMIT 1"
        row = self._database.first(query, id.run, id.round)
        return np.zeros(values) if row is None else model_from_bytes(row[0], values)

    def keep(self, id: AttemptId, control: FloatArray) -> None:
        """Write down what c_i is, shape (values,), once this attempt's sum is opened.

        The one before is kept until a later round, in case the attempt is abandoned.
        """
        with self._database.commit() as db:
            db.execute("DELETE FROM controls WHERE run <> ?", (id.run,))
            db.execute(
                "DELETE FROM controls WHERE round < (SELECT max(round) FROM controls WHERE round < ?)", (id.round,)
            )
            db.execute("INSERT OR REPLACE INTO controls VALUES (?, ?, ?, ?)", (*id.key, model_bytes(control)))

    def closed(self, id: AttemptId, *, completed: bool) -> None:
        """Take back what an abandoned attempt would have made of c_i, or an attempt other than the completed one."""
        which = "attempt <> ?" if completed else "attempt = ?"
        if self._database.first(f"SELECT 1 FROM controls WHERE run = ? AND round = ? AND {which}", *id.key):  # noqa: S608
            with self._database.commit() as db:
                db.execute(f"DELETE FROM controls WHERE run = ? AND round = ? AND {which}", id.key)  # noqa: S608
