"""How well a score tells two groups apart: the curve, the area under it, and what is left at few false alarms.

A mean over all cases hides that an attack may be sure of a few: hence the share found at very few false alarms
(Carlini et al., "Membership inference attacks from first principles", IEEE S&P 2022, section III).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from experiments.arrays import FloatArray


def roc_curve(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rates of every threshold, from (0, 0) to (1, 1), each of shape (thresholds,).

    Args:
        positives, negatives: scores of either group, any shape; positives should be higher. Equal scores share a
            threshold. Raises ValueError if a group is empty or a score is not a number.
    """
    yes, no = (_scores(group) for group in (positives, negatives))
    thresholds = np.unique(np.concatenate([yes, no]))[::-1]
    rates = [_share_at_least(np.sort(group), thresholds) for group in (no, yes)]
    return rates[0], rates[1]


def auc(positives: npt.ArrayLike, negatives: npt.ArrayLike) -> float:
    """Return the chance that a positive scores higher than a negative, a tie counting half: 0.5 is guessing."""
    false, true = roc_curve(positives, negatives)
    return round(float(np.trapezoid(true, false)), 12)  # 1 is 1, however many sums it came from


def tpr_at_fpr(positives: npt.ArrayLike, negatives: npt.ArrayLike, most: float) -> float:
    """Return the largest share of positives found with at most this share of false alarms."""
    false, true = roc_curve(positives, negatives)
    return float(true[false <= most].max())


def _scores(group: npt.ArrayLike) -> FloatArray:
    scores = np.asarray(group, np.float64).reshape(-1)
    if not len(scores) or np.isnan(scores).any():
        raise ValueError(f"a group of {len(scores)} scores cannot be judged: it is empty or holds NaN")
    return scores


def _share_at_least(ascending: FloatArray, thresholds: FloatArray) -> FloatArray:
    counts = len(ascending) - np.searchsorted(ascending, thresholds, side="left")
    shares: FloatArray = np.concatenate([[0.0], counts / len(ascending)])
    return shares
