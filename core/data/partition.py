"""Divide examples: a part held out for testing, or shares for several clients.

Shares are the row numbers of each client's examples, ascending; each row goes to exactly one client. What an example is
does not matter for that, only its label.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from core.errors import DataError, SettingsError
from core.randomness import Rng, generator


class Text(Protocol):
    """A mail, a review: anything with a text."""

    @property
    def text(self) -> str:
        """The words that decide on which side of a split the example falls."""


T = TypeVar("T", bound=Text)
Parts = list[list[int]]


def split_held_out(mails: Iterable[T], fraction: float = 0.2, seed: int = 0) -> tuple[list[T], list[T]]:
    """Return (training mails, held-out mails), both in the given order. It does the same for other texts.

    A digest of the text decides, so that repeats of one text fall on the same side, in one mailbox and in several:
    nothing that is held out was trained on anywhere. Spaces and line ends do not count.

    Args:
        fraction: how large the held-out part is on average, above 0 and below 1. Raises SettingsError otherwise.
        seed: another number gives another split.
    """
    if not 0 < fraction < 1:
        raise SettingsError(f"the held-out fraction is {fraction}; it must lie between 0 and 1")
    train: list[T] = []
    held_out: list[T] = []
    for mail in mails:
        side = held_out if _place(mail.text, seed) < fraction else train
        side.append(mail)
    return train, held_out


def _place(text: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on the text and the seed only."""
    content = f"{seed}:{' '.join(text.split())}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48


def partition_iid(examples: int, clients: int, rng: Rng) -> Parts:
    """Share examples out at random, to each client as many as to the others or one more.

    Raises:
        SettingsError: fewer than one client.
        DataError: fewer examples than clients.
    """
    _check_enough(examples, "examples", clients)
    return [sorted(part.tolist()) for part in np.array_split(generator(rng).permutation(examples), clients)]


def partition_dirichlet(labels: Sequence[Hashable], clients: int, alpha: float, rng: Rng) -> Parts:
    """Share examples out unevenly: of each label a client gets a share drawn from Dirichlet(alpha, ..., alpha).

    A small alpha makes unlike clients (at 0.1 most hold mainly one label), a large one makes them alike. A client
    that would get nothing gets one example of the largest.

    Raises:
        SettingsError: fewer than one client, or alpha is not a positive number.
        DataError: fewer examples than clients.
    """
    _check_enough(len(labels), "examples", clients)
    if not (np.isfinite(alpha) and alpha > 0):
        raise SettingsError(f"alpha is {alpha}; it must be a positive number")
    parts: Parts = [[] for _ in range(clients)]
    rng = generator(rng)
    for rows in _groups(labels):
        cuts = np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1]
        pieces = np.split(rng.permutation(rows), np.rint(cuts * len(rows)).astype(int))
        for part, piece in zip(parts, pieces, strict=True):
            part.extend(piece.tolist())
    _fill_empty(parts)
    return [sorted(part) for part in parts]


def _fill_empty(parts: Parts) -> None:
    """Give each client without an example one of the largest part, the first of equals."""
    largest = [(-len(part), place) for place, part in enumerate(parts)]
    heapq.heapify(largest)
    for place, part in enumerate(parts):
        if not part:
            size, source = largest[0]
            part.append(parts[source].pop())
            heapq.heapreplace(largest, (size + 1, source))
            heapq.heappush(largest, (-1, place))


def partition_groups(labels: Sequence[Hashable], clients: int) -> Parts:
    """Give all examples of one label to one client: the largest group first, to the client with the fewest so far.

    Raises:
        SettingsError: fewer than one client.
        DataError: fewer labels than clients.
    """
    _check_enough(len(set(labels)), "groups of examples", clients)
    parts: Parts = [[] for _ in range(clients)]
    for rows in sorted(_groups(labels), key=lambda rows: -len(rows)):
        min(parts, key=len).extend(rows)
    return [sorted(part) for part in parts]


def _groups(labels: Sequence[Hashable]) -> list[list[int]]:
    """Return the rows of each label, in the order in which labels first occur."""
    groups: dict[Hashable, list[int]] = {}
    for row, label in enumerate(labels):
        groups.setdefault(label, []).append(row)
    return list(groups.values())


def _check_enough(count: int, what: str, clients: int) -> None:
    if clients < 1:
        raise SettingsError(f"the number of clients is {clients}; it must be at least 1")
    if count < clients:
        raise DataError(f"{count} {what} are too few for {clients} clients, each of which needs at least 1")
