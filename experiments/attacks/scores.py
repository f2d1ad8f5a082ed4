"""How good an attacker's guess is."""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import numpy.typing as npt

from experiments.arrays import FloatArray


def precision_recall(guessed: Set[object], true: Set[object]) -> tuple[float, float]:
    """Return which share of the guesses is right, and which share of the truth was guessed; 0 for a share of none."""
    hits = len(guessed & true)
    return hits / len(guessed) if guessed else 0.0, hits / len(true) if true else 0.0


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Spearman's rank correlation, -1 to 1 (1904); 0 if all values of either are equal."""
    one, other = ranks(first), ranks(second)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: npt.ArrayLike) -> FloatArray:
    """Return the rank of each value, from 1; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    shared: FloatArray = (last - (sizes - 1) / 2)[group]
    return shared
