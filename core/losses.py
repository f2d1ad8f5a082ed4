"""Losses: how wrong a batch of outputs is, as one number to make smaller.

Each takes the outputs and the targets and a reduction, "mean" (the default) or "sum". The two for classes take
*logits*, the numbers before sigmoid or softmax, and are exact and free of overflow for any finite logit.
What goes with what: raw values with `mse` or `l1`, independent yes/no answers with `binary_cross_entropy`,
one of many classes with `cross_entropy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from core import ops
from core.indices import as_indices
from core.tensor import Tensor, apply, as_tensor

Reduction = Literal["mean", "sum"]
Loss = Callable[[Tensor, Any], Tensor]
Outputs = Tensor | npt.ArrayLike


def mse(outputs: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return squared error (output - target)², over outputs and targets of one shape."""
    return _reduce(_difference(outputs, targets) ** 2, reduction)


def delta_rule(outputs: Outputs, targets: Outputs) -> Tensor:
    """Return half the summed squared error, whose gradient is just output - target.

    The programs of chapters 4 to 8 move weights by `rate * input * (prediction - goal)`, half the true gradient
    of the squared error they print. Training on this loss at the book's rate reproduces them; training on
    `mse(..., "sum")` needs half the rate.
    """
    return mse(outputs, targets, "sum") * 0.5


def l1(outputs: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return absolute error |output - target|, over outputs and targets of one shape."""
    return _reduce(abs(_difference(outputs, targets)), reduction)


def binary_cross_entropy(logits: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """-log P(target) with P(yes) = sigmoid(logit); PyTorch's `binary_cross_entropy_with_logits`.

    Args:
        logits: any shape.
        targets: 0 for no, 1 for yes, or anything between, in the shape of the logits.
        reduction: over all entries.
    """
    logits = _floats(logits)
    targets = np.asarray(targets, logits.dtype)
    if targets.size and not 0 <= targets.min() <= targets.max() <= 1:
        raise ValueError(f"targets must be in 0 ... 1, not from {targets.min()} to {targets.max()}")
    return _reduce(apply(ops.binary_cross_entropy, logits, targets=targets), reduction)


binary_cross_entropy_with_logits = binary_cross_entropy


def cross_entropy(logits: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """-log P(target) with P = softmax(logits). The classes are the last axis, also where PyTorch has them second.

    Args:
        logits: shape (..., classes).
        targets: class numbers, shape (...).
        reduction: over all targets.
    """
    return _reduce(apply(ops.cross_entropy, _floats(logits), targets=as_indices(targets)), reduction)


def negative_sampling(
    positive: Outputs, negative: Outputs, valid: npt.ArrayLike | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return binary cross entropy of one true answer and a few drawn wrong ones, in place of a softmax over all words.

    Args:
        positive: logits of the true words, shape (n,).
        negative: logits of the drawn words, shape (n, draws).
        valid: shape (n, draws); false where the draw happened to hit the true word and must not count against it.
        reduction: over the n examples; the draws of one example are summed.
    """
    positive, negative = _floats(positive), _floats(negative)
    if negative.ndim != 2 or positive.shape != negative.shape[:1]:
        raise ValueError(f"logits of shapes {positive.shape} and {negative.shape} should be (n,) and (n, draws)")
    wrong = negative.softplus()
    if valid is not None:
        counted = np.asarray(valid)
        if counted.shape != wrong.shape:
            raise ValueError(f"logits of shape {wrong.shape} need `valid` of that shape, not {counted.shape}")
        wrong = wrong * counted.astype(wrong.dtype)
    return _reduce((-positive).softplus() + wrong.sum(axis=1), reduction)


def _difference(outputs: Outputs, targets: Outputs) -> Tensor:
    outputs, targets = as_tensor(outputs), as_tensor(targets)
    if outputs.shape != targets.shape:  # broadcasting (n, 1) against (n,) would compare everything with everything
        raise ValueError(f"outputs of shape {outputs.shape} need targets of that shape, not {targets.shape}")
    return outputs - (targets.astype(outputs.dtype) if outputs.dtype.kind == "f" else targets)


def _floats(outputs: Outputs) -> Tensor:
    """Make a tensor of what a model said; whole numbers become float64."""
    outputs = as_tensor(outputs)
    return outputs if outputs.dtype.kind == "f" else outputs.astype(np.float64)


def _reduce(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
