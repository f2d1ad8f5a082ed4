"""Does one client's data have a property? A classifier of updates, trained on clients that the attacker makes up.

The idea is that of Melis et al. ("Exploiting unintended feature leakage in collaborative learning", IEEE S&P 2019,
section 4): data with and without the property yield updates of both kinds, and a classifier to tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class LinearScore:
    """A number for each update: the higher, the likelier its data have the property.

    It is linear, so that the score of a sum is the sum of the scores.

    Attributes:
        weights: shape (values,).
    """

    weights: FloatArray

    def __call__(self, updates: FloatArray) -> FloatArray:
        """Return a score for each update or sum of updates, shape (...,), of shape (..., values)."""
        found: FloatArray = updates @ self.weights
        return found


def learn_to_tell(
    updates: FloatArray, has_property: BoolArray, *, features: int = 1000, penalty: float = 1.0, steps: int = 200
) -> LinearScore:
    """Train logistic regression on updates of made-up clients.

    Args:
        updates: shape (clients, values).
        has_property: shape (clients,). Raises ValueError unless both kinds are there.
        features: how many values to look at: those whose means differ most, in units of their spread.
        penalty: how many clients' worth the weights are pulled towards 0.
        steps: of gradient descent on the scaled values.
    """
    if has_property.all() or not has_property.any():
        raise ValueError(f"{len(has_property)} updates of one kind only teach nothing about the other")
    spread = updates.std(axis=0)
    apart = updates[has_property].mean(axis=0) - updates[~has_property].mean(axis=0)
    contrast = np.abs(apart) / np.where(spread > 0, spread, np.inf)
    chosen = np.argsort(-contrast, kind="stable")[:features]
    chosen = chosen[spread[chosen] > 0]
    scaled = (updates[:, chosen] - updates[:, chosen].mean(axis=0)) / spread[chosen]
    weights = np.zeros(updates.shape[1])
    weights[chosen] = _logistic_regression(scaled, has_property, penalty, steps) / spread[chosen]
    return LinearScore(weights)


def _logistic_regression(inputs: FloatArray, targets: BoolArray, penalty: float, steps: int) -> FloatArray:
    """Return weights of logistic regression by gradient descent; without a bias, as inputs have mean 0."""
    count = len(inputs)
    centred = targets.mean()
    # The steepest the loss can be curved: a quarter of the largest eigenvalue, found by a few power iterations.
    direction = np.full(inputs.shape[1], inputs.shape[1] ** -0.5)
    for _ in range(20):
        direction = inputs.T @ (inputs @ direction) + 1e-12
        direction /= np.linalg.norm(direction)
    curvature = float(np.linalg.norm(inputs.T @ (inputs @ direction))) / (4 * count) + penalty / count
    weights = np.zeros(inputs.shape[1])
    bias = float(np.log(centred / (1 - centred)))
    for _ in range(steps):
        errors = 1 / (1 + np.exp(-(inputs @ weights + bias))) - targets
        weights -= (inputs.T @ errors + penalty * weights) / count / curvature
    return weights
