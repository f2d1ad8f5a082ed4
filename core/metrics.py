"""What people want to know of a model besides its loss, from outputs and targets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion
from core.ops import Array
from core.tensor import Tensor

Numbers = Tensor | npt.ArrayLike

__all__ = ["Confusion", "confusion", "correct_answers", "correct_classes", "perplexity"]


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


def _same_shape(outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    if outputs != targets:
        raise ValueError(f"answers of shape {outputs} do not fit targets of shape {targets}")
