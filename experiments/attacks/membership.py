"""Was an example among those a model learned from? Scores of two attacks; higher means more likely yes.

A model is surer of what it has learned from. How sure it would be anyhow differs from example to example; the
likelihood ratio attack measures that on shadow models trained on random halves of the same kind of data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from experiments.arrays import BoolArray, FloatArray, IntArray

SMALLEST_SPREAD = 1e-6


def confidence(logits: npt.ArrayLike, labels: IntArray) -> FloatArray:
    """Return log(p / (1 - p)) for the probability p of the true class: nearly normal from model to model.

    Args:
        logits: shape (..., examples, classes).
        labels: shape (examples,).

    Returns:
        Shape (..., examples); Carlini et al. (IEEE S&P 2022), section IV-C, in the form without overflow.
    """
    values = np.asarray(logits, np.float64)
    places = np.broadcast_to(labels[:, None], (*values.shape[:-1], 1))
    true = np.take_along_axis(values, places, axis=-1)[..., 0]
    others = values.copy()
    np.put_along_axis(others, places, -np.inf, axis=-1)
    top = others.max(axis=-1)
    found: FloatArray = true - top - np.log(np.exp(others - top[..., None]).sum(axis=-1))
    return found


def by_loss(confidences: FloatArray) -> FloatArray:
    """Guess by the loss alone (Yeom et al., IEEE CSF 2018): the smaller, the likelier a member.

    The loss is log(1 + exp(-confidence)), so that its order is that of the confidences, reversed.
    """
    return -np.logaddexp(0, -confidences)


@dataclass(frozen=True)
class Shadows:
    """What shadow models say of the examples.

    Attributes:
        confidences: shape (models, examples).
        members: which model has learned from which example, in that shape. Raises ValueError unless every example is
            in two models at least, and not in two.
    """

    confidences: FloatArray
    members: BoolArray

    def __post_init__(self) -> None:
        fewest = min(self.members.sum(axis=0).min(), (~self.members).sum(axis=0).min())
        if fewest < 2:
            raise ValueError(f"an example is in, or left out of, {fewest} shadow models; at least 2 of each are needed")

    def without(self, model: int) -> Shadows:
        """Return the other models: shadows of this one."""
        kept = np.arange(len(self.members)) != model
        return Shadows(self.confidences[kept], self.members[kept])

    def _mean_and_spread(self, chosen: BoolArray) -> tuple[FloatArray, float]:
        """Return the mean per example, (examples,), and one spread for all: few shadows make single ones too noisy."""
        counts = chosen.sum(axis=0)
        means = np.where(chosen, self.confidences, 0).sum(axis=0) / counts
        squares = np.where(chosen, (self.confidences - means) ** 2, 0).sum()
        return means, max(float(np.sqrt(squares / (counts - 1).sum())), SMALLEST_SPREAD)

    def how_easy(self) -> FloatArray:
        """Return how sure models are of examples they never saw, (examples,): known without the target."""
        return self._mean_and_spread(~self.members)[0]

    def by_likelihood_ratio(self, confidences: FloatArray) -> FloatArray:
        """Return LiRA's online score, section IV: how much likelier the confidence is with the example than without."""
        return self._log_density(confidences, self.members) - self._log_density(confidences, ~self.members)

    def by_surprise(self, confidences: FloatArray) -> FloatArray:
        """Return LiRA's offline score, section IV-E: by how many spreads the target is surer than models without."""
        mean, spread = self._mean_and_spread(~self.members)
        found: FloatArray = (confidences - mean) / spread
        return found

    def _log_density(self, confidences: FloatArray, chosen: BoolArray) -> FloatArray:
        mean, spread = self._mean_and_spread(chosen)
        found: FloatArray = -(((confidences - mean) / spread) ** 2) / 2 - np.log(spread)
        return found
