"""Labels read off the change of a model's last bias.

The gradient of cross entropy with respect to the last bias is the mean over the batch of prediction less label. Of one
mail the sign says the label (Zhao, Mopuri and Bilen, iDLG, 2020); of a batch the value says how many labels of each
kind there are, once the mean prediction is known or guessed (Wainakh et al., LLG, PoPETs 2022).
"""

from __future__ import annotations

import numpy as np

from experiments.arrays import FloatArray, IntArray


def mean_gradient(change: FloatArray, rate: float, steps: int) -> FloatArray:
    """Return the mean gradient over the steps of gradient descent that made this change, in the change's shape."""
    if not (rate > 0 and steps >= 1):
        raise ValueError(f"{steps} steps at a rate of {rate} have no mean gradient; both must be positive")
    return -change / (rate * steps)


def shares_of_labels(gradient: FloatArray, predictions: FloatArray) -> FloatArray:
    """Return the share of each label in the data that gave this gradient of the last bias, shape (classes,).

    gradient = (sum over labels of share * mean prediction for that label) - share, solved by least squares together
    with sum(share) = 1. Exact if predictions are; where the model has not learned yet, they are alike for all labels.

    Args:
        gradient: of the bias, shape (classes,).
        predictions: the mean predicted probabilities for examples of each label, shape (labels, classes).
    """
    classes = len(gradient)
    equations = np.vstack([predictions.T - np.eye(classes), np.ones(classes)])
    solved = np.linalg.lstsq(equations, np.append(gradient, 1.0), rcond=None)[0]
    shares: FloatArray = np.clip(solved, 0.0, 1.0)
    return shares


def whole_counts(shares: FloatArray, examples: int) -> IntArray:
    """Round shares to whole numbers that add up to `examples`, by largest remainder.

    Where no class has any share at all, all are thought alike.
    """
    total = shares.sum()
    exact = (shares / total if total > 0 else np.full_like(shares, 1 / len(shares))) * examples
    counts = np.floor(exact).astype(np.int64)
    missing = examples - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def labels_right(guessed: IntArray, true: IntArray) -> float:
    """Return the share of labels that two counts, each of shape (classes,), have in common."""
    return float(np.minimum(guessed, true).sum() / true.sum())


def fit(changes: FloatArray, shares: FloatArray) -> FloatArray:
    """Learn from the attacker's own clients how changes of the bias follow from shares, by least squares.

    This is for optimisers whose changes are no gradients, such as Adam.

    Args:
        changes: of each client, shape (clients, biases).
        shares: of the labels of each, shape (clients, classes).

    Returns:
        coefficients, shape (biases + 1, classes), for `apply_fit`.
    """
    return np.asarray(np.linalg.lstsq(_with_constant(changes), shares, rcond=None)[0], dtype=np.float64)


def apply_fit(change: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Return the shares that a change of the bias points to, shape (classes,), each between 0 and 1."""
    shares: FloatArray = np.clip((_with_constant(change[None]) @ coefficients)[0], 0.0, 1.0)
    return shares


def _with_constant(changes: FloatArray) -> FloatArray:
    return np.column_stack([changes, np.ones(len(changes))])
