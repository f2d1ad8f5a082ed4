"""What people want to know of a model besides its loss, from outputs and targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.ops import Array
from core.tensor import Tensor

Numbers = Tensor | npt.ArrayLike


def correct_classes(logits: Numbers, targets: Numbers) -> int:
    """Count the rows whose largest logit is the target's.

    Args:
        logits: shape (..., classes).
        targets: class numbers, shape (...).
    """
    logits, targets = _array(logits), _array(targets)
    _same_shape(logits.shape[:-1], targets.shape)
    return int((logits.argmax(axis=-1) == targets).sum())


def correct_answers(logits: Numbers, targets: Numbers) -> int:
    """Count the yes/no answers that are right: a positive logit means yes, targets are 1 for yes and 0 for no."""
    logits, targets = _array(logits), _array(targets)
    _same_shape(logits.shape, targets.shape)
    return int(((logits > 0) == (targets == 1)).sum())


def perplexity(mean_loss: float) -> float:
    """Turn a mean negative log likelihood into the number of equally likely choices it is worth."""
    return float(np.exp(mean_loss))


@dataclass(frozen=True)
class Confusion:
    """How many yes/no answers were right and wrong, by answer; the sum of parts is that of the whole.

    A share of nothing is 0: a filter that never says spam has precision 0.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float:
        """How much of what was called positive is positive."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """How much of what is positive was called so."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def accuracy(self) -> float:
        right = self.true_positives + self.true_negatives
        return _share(right, right + self.false_positives + self.false_negatives)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )


def confusion(logits: Numbers, targets: Numbers) -> Confusion:
    """Count right and wrong yes/no answers: a positive logit means yes, targets are 1 for yes and 0 for no."""
    logits, targets = _array(logits), _array(targets)
    _same_shape(logits.shape, targets.shape)
    called, actual = logits > 0, targets == 1
    return Confusion(
        true_positives=int((called & actual).sum()),
        false_positives=int((called & ~actual).sum()),
        false_negatives=int((~called & actual).sum()),
        true_negatives=int((~called & ~actual).sum()),
    )


def _array(numbers: Numbers) -> Array:
    return numbers.data if isinstance(numbers, Tensor) else np.asarray(numbers)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _same_shape(outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    if outputs != targets:
        raise ValueError(f"answers of shape {outputs} do not fit targets of shape {targets}")
