"""Deal examples out among clients by their labels alone: what an example is does not matter here.

Every function returns the row numbers of each client's examples, ascending; each row goes to exactly one client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from core.errors import DataError, SettingsError
from core.randomness import Rng, generator

Parts = list[list[int]]


def deal_evenly(examples: int, clients: int, rng: Rng) -> Parts:
    """Deal at random, to each client as many as to the others or one more."""
    _check_enough(examples, "examples", clients)
    return [sorted(part.tolist()) for part in np.array_split(generator(rng).permutation(examples), clients)]


def deal_by_dirichlet(labels: Sequence[Hashable], clients: int, alpha: float, rng: Rng) -> Parts:
    """Deal unevenly: of each label a client gets a share drawn from Dirichlet(alpha, ..., alpha).

    A small alpha makes unlike clients. A client that would get nothing gets one example of the largest.
    """
    _check_enough(len(labels), "examples", clients)
    parts: Parts = [[] for _ in range(clients)]
    rng = generator(rng)
    for rows in _groups(labels):
        cuts = np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1]
        pieces = np.split(rng.permutation(rows), np.rint(cuts * len(rows)).astype(int))
        for part, piece in zip(parts, pieces, strict=True):
            part.extend(piece.tolist())
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    return [sorted(part) for part in parts]


def deal_groups(labels: Sequence[Hashable], clients: int) -> Parts:
    """Give all examples of one label to one client: the largest group first, to whoever has least so far.

    Raises DataError if there are fewer labels than clients.
    """
    _check_enough(len(set(labels)), "groups of examples", clients)
    parts: Parts = [[] for _ in range(clients)]
    for rows in sorted(_groups(labels), key=lambda rows: -len(rows)):
        min(parts, key=len).extend(rows)
    return [sorted(part) for part in parts]


def _groups(labels: Sequence[Hashable]) -> list[list[int]]:
    """Return the rows of each label, in the order in which labels first occur."""
    groups: dict[Hashable, list[int]] = {label: [] for label in Counter(labels)}
    for row, label in enumerate(labels):
        groups[label].append(row)
    return list(groups.values())


def _check_enough(count: int, what: str, clients: int) -> None:
    if clients < 1:
        raise SettingsError(f"the number of clients is {clients}; it must be at least 1")
    if count < clients:
        raise DataError(f"{count} {what} are too few for {clients} clients, each of which needs at least 1")
