"""What a key holder remembers of each client: the newest entry seen of its budget, and what it has spent, in all runs.

A client's signed commitments carry the last entry of its budget (client/budget.py). One that comes with an older entry,
or with another one of the same number, has lost what it wrote down: its budget was deleted, or restored from a copy.

A round is charged to every client on its list, once for all attempts, because holders open at most one of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.checks import Verifier
from core.database import Database
from core.errors import Reason
from core.policy import Policy
from core.protocol import Commitment, Head, RoundDescription

ACCOUNTS = """
CREATE TABLE IF NOT EXISTS memories (client TEXT PRIMARY KEY, number INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS charges (
    client TEXT NOT NULL, run TEXT NOT NULL, round INTEGER NOT NULL, cost REAL NOT NULL,
    PRIMARY KEY (client, run, round)
) STRICT;
"""
_NAMED = 5
"""How many clients a sentence names."""


@dataclass
class _Unsaved:
    memories: dict[str, Head] = field(default_factory=dict)
    charges: dict[tuple[str, str, int], float] = field(default_factory=dict)


class Accounts:
    """The tables `memories` and `charges` of a ledger's database, and what its next entry is to write to them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memories = {row[0]: Head(row[1], row[2]) for row in database.all("SELECT * FROM memories")}
        self._spent: dict[str, float] = dict(database.all("SELECT client, sum(cost) FROM charges GROUP BY client"))
        self._unsaved = _Unsaved()

    def spent(self, client: str) -> float:
        """Return what a client's rounds have cost in all, as mu^2."""
        return self._spent.get(client, 0.0)

    def require(
        self, verifier: Verifier, policy: Policy, description: RoundDescription, commitments: Sequence[Commitment]
    ) -> None:
        """Refuse clients that have lost their memory, or would spend more than the policy allows; all are named.

        Raises Refused(STALE_MEMORY or BUDGET_SPENT).
        """
        stale = tuple(each.client for each in commitments if self._is_stale(each))
        verifier.require(
            not stale,
            Reason.STALE_MEMORY,
            f"the budget of {_listed(stale)} is older than it was in an earlier commitment, or another one: restore "
            "the newest copy of its folder, or enrol under another name",
            stale,
        )
        if policy.max_epsilon is None:
            return
        extra = self._extra(description, description.cost(policy.max_colluders), commitments)
        over = tuple(client for client, more in extra.items() if not policy.affords(self.spent(client) + more))
        verifier.require(
            not over,
            Reason.BUDGET_SPENT,
            f"{description.id} would bring {_listed(over)} beyond an epsilon of {policy.max_epsilon:g} at delta "
            f"{policy.delta:g}, this key holder's max-epsilon; leave them out, or run rounds with more noise",
            over,
        )

    def _is_stale(self, commitment: Commitment) -> bool:
        known, now = self._memories.get(commitment.client), commitment.memory
        return known is not None and (now.number < known.number or (now.number == known.number and now != known))

    def saw(self, policy: Policy, description: RoundDescription, commitments: Sequence[Commitment]) -> None:
        """Remember what valid commitments say, and charge the round; the ledger's next entry makes it durable."""
        id, cost = description.id, description.cost(policy.max_colluders)
        extra = self._extra(description, cost, commitments)
        for each in commitments:
            if not self._is_stale(each) and self._memories.get(each.client) != each.memory:
                self._memories[each.client] = self._unsaved.memories[each.client] = each.memory
            if more := extra[each.client]:
                self._unsaved.charges[each.client, id.run, id.round] = cost
                self._spent[each.client] = self.spent(each.client) + more

    def _extra(
        self, description: RoundDescription, cost: float, commitments: Sequence[Commitment]
    ) -> dict[str, float]:  # fmt: skip
        """Return how much more this round costs each client than what was charged for earlier attempts at it."""
        id, query = description.id, "SELECT client, cost FROM charges WHERE run = ? AND round = ?"
        charged: dict[str, float] = dict(self._database.all(query, id.run, id.round))
        for (client, *about), waiting in self._unsaved.charges.items():
            if about == [id.run, id.round]:
                charged[client] = waiting
        before = {each.client: charged.get(each.client, 0.0) for each in commitments}
        return {client: cost - earlier if cost > earlier else 0.0 for client, earlier in before.items()}

    def save(self, db: sqlite3.Connection) -> None:
        """Write what is not on the disk yet, as part of a transaction."""
        unsaved = self._unsaved
        rows = [(client, head.number, head.hash) for client, head in unsaved.memories.items()]
        db.executemany("INSERT OR REPLACE INTO memories VALUES (?, ?, ?)", rows)
        charges = [(*about, cost) for about, cost in unsaved.charges.items()]
        db.executemany("INSERT OR REPLACE INTO charges VALUES (?, ?, ?, ?)", charges)

    def saved(self) -> None:
        """Note that the transaction is on the disk."""
        self._unsaved = _Unsaved()


def _listed(clients: Sequence[str]) -> str:
    more = len(clients) - _NAMED
    return ", ".join(clients[:_NAMED]) + (f" and {more} more" if more > 0 else "")
