"""How good an attacker's guess is."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def precision_recall(guessed: Set[object], true: Set[object]) -> tuple[float, float]:
    """Which share of what was guessed is right, and which share of what is right was guessed; 0 for a share of none."""
    hits = len(guessed & true)
    return hits / len(guessed) if guessed else 0.0, hits / len(true) if true else 0.0


def auc(scores: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """How often a member has a higher score than one that is none, ties counting half (Mann and Whitney 1947).

    0.5 is guessing. It is the area under the curve of true against false positives (Fawcett 2006, section 7).

    Args:
        scores: how sure the attacker is of each candidate, shape (candidates,).
        members: which of them really are members, shape (candidates,).

    Raises:
        ValueError: the shapes differ, or all or none are members.
    """
    found, truth = np.asarray(scores, dtype=np.float64), np.asarray(members, dtype=bool)
    if found.shape != truth.shape:
        raise ValueError(f"there are scores of shape {found.shape} for candidates of shape {truth.shape}")
    inside = int(truth.sum())
    outside = len(truth) - inside
    if not (inside and outside):
        raise ValueError(f"{inside} of {len(truth)} candidates are members; there must be some of both kinds")
    return float((ranks(found)[truth].sum() - inside * (inside + 1) / 2) / (inside * outside))


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """How alike two orders are, -1 to 1 (Spearman 1904); 0 if one of them does not tell its entries apart."""
    one, other = ranks(first), ranks(second)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: npt.ArrayLike) -> FloatArray:
    """The place of each value in ascending order, from 1; equal values share the mean of their places."""
    _, group, sizes = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    shared: FloatArray = (last - (sizes - 1) / 2)[group]
    return shared
