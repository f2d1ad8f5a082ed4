"""Divide mails: one part held out to judge a model by, or shares for several clients.

Clients that come with mailboxes of their own need no sharing out; the shares are for experiments on one mailbox.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from core.data.message import Mail
from core.errors import DataError, SettingsError
from core.randomness import Rng, generator


class Text(Protocol):
    """A mail, a review: anything with a text."""

    @property
    def text(self) -> str: ...


T = TypeVar("T", bound=Text)


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
    """A number in [0, 1) that depends on the text and the seed only."""
    content = f"{seed}:{' '.join(text.split())}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big") / 2**48


def partition_iid(mails: Sequence[Mail], clients: int, rng: Rng) -> list[list[Mail]]:
    """Share the mails out at random, each client as many as the others or one more.

    Raises:
        SettingsError: fewer than one client.
        DataError: fewer mails than clients.
    """
    _check_enough(mails, clients)
    shares = np.array_split(generator(rng).permutation(len(mails)), clients)
    return [_take(mails, share) for share in shares]


def partition_dirichlet(mails: Sequence[Mail], clients: int, alpha: float, rng: Rng) -> list[list[Mail]]:
    """Share the mails out unevenly: of each class a client gets a share drawn from Dirichlet(alpha, ..., alpha).

    A small alpha makes unlike clients (at 0.1 most hold mainly one class), a large one makes them alike. A client
    that would get nothing gets one mail of the largest.

    Raises:
        SettingsError: fewer than one client, or alpha is not a positive number.
        DataError: fewer mails than clients.
    """
    _check_enough(mails, clients)
    if not (np.isfinite(alpha) and alpha > 0):
        raise SettingsError(f"alpha is {alpha}; it must be a positive number")
    spam = np.array([mail.spam for mail in mails])
    shares: list[list[int]] = [[] for _ in range(clients)]
    rng = generator(rng)
    for label in (False, True):
        rows = rng.permutation(np.flatnonzero(spam == label))
        cuts = np.cumsum(rng.dirichlet(np.full(clients, alpha)))[:-1]
        parts = np.split(rows, np.rint(cuts * len(rows)).astype(int))
        for share, part in zip(shares, parts, strict=True):
            share.extend(part.tolist())
    for share in shares:
        if not share:
            share.append(max(shares, key=len).pop())
    return [_take(mails, share) for share in shares]


def _check_enough(mails: Sequence[Mail], clients: int) -> None:
    if clients < 1:
        raise SettingsError(f"mails cannot be shared out among {clients} clients; at least 1 is needed")
    if len(mails) < clients:
        raise DataError(f"{len(mails)} mails are too few for {clients} clients, each of which needs at least 1")


def _take(mails: Sequence[Mail], rows: npt.ArrayLike) -> list[Mail]:
    """Pick mails, in the order they had."""
    picked: Any = np.sort(np.asarray(rows))
    return [mails[row] for row in picked]
