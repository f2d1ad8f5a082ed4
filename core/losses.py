"""Losses: how wrong a batch of outputs is, as one number to make smaller.

Each takes the outputs and the targets and a reduction, "mean" (the default) or "sum". What goes with what: raw values
with `mse` or `l1`, independent yes/no answers with `binary_cross_entropy_with_logits`, one of many classes with
`cross_entropy`. The last two take *logits*, the numbers before sigmoid or softmax, and are exact and free of overflow
for any finite logit; `binary_cross_entropy` takes probabilities and is neither.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from core import ops
from core.indices import as_indices, check_indices, largest, smallest
from core.tensor import Tensor, apply, as_tensor

Reduction = Literal["mean", "sum"]
Loss = Callable[[Tensor, Any], Tensor]
Outputs = Tensor | npt.ArrayLike


def mse(outputs: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return squared error (output - target)², over outputs and targets of one shape."""
    return apply(_reduced(_squared_error, reduction), *_pair(outputs, targets))


def delta_rule(outputs: Outputs, targets: Outputs) -> Tensor:
    """Return half the summed squared error, whose gradient is just output - target.

    The programs of chapters 4 to 8 move weights by `rate * input * (prediction - goal)`, half the true gradient
    of the squared error they print. Training on this loss at the book's rate reproduces them; training on
    `mse(..., "sum")` needs half the rate.
    """
    return mse(outputs, targets, "sum") * 0.5


def l1(outputs: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return absolute error |output - target|, over outputs and targets of one shape."""
    outputs, targets = _pair(outputs, targets)
    return _reduce(abs(outputs - targets), reduction)


def binary_cross_entropy_with_logits(logits: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return -log P(target) with P(yes) = sigmoid(logit).

    Args:
        logits: any shape.
        targets: 0 for no, 1 for yes, or anything between, in the shape of the logits.
        reduction: over all entries.

    Raises:
        ValueError: for targets outside 0 ... 1.
    """
    logits = _floats(logits)
    targets = _between_0_and_1("targets", np.asarray(targets, logits.dtype))
    return apply(_reduced(_binary_cross_entropy_with_logits, reduction), logits, targets=targets)


def binary_cross_entropy(probabilities: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return -log P(target) with P(yes) = probability; -log 0 counts as 100, as in PyTorch.

    Args:
        probabilities: of yes, any shape.
        targets: 0 for no, 1 for yes, or anything between, in the shape of the probabilities.
        reduction: over all entries.

    Raises:
        ValueError: for probabilities or targets outside 0 ... 1.
    """
    probabilities = _floats(probabilities)
    _between_0_and_1("probabilities (logits go to binary_cross_entropy_with_logits)", probabilities.data)
    targets = _between_0_and_1("targets", np.asarray(targets, probabilities.dtype))
    return apply(_reduced(_binary_cross_entropy, reduction), probabilities, targets=targets)


def cross_entropy(logits: Outputs, targets: Outputs, reduction: Reduction = "mean") -> Tensor:
    """Return -log P(target) with P = softmax(logits); the classes are the last axis (in PyTorch, the second).

    Args:
        logits: shape (..., classes).
        targets: class numbers, shape (...).
        reduction: over all targets.
    """
    return apply(_reduced(_cross_entropy, reduction), _floats(logits), targets=as_indices(targets))


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


def _pair(outputs: Outputs, targets: Outputs) -> tuple[Tensor, Tensor]:
    """Return outputs and targets as tensors of one type of numbers; of floats, that of the outputs if they are some."""
    outputs, targets = as_tensor(outputs), as_tensor(targets)
    if outputs.shape != targets.shape:  # broadcasting (n, 1) against (n,) would compare everything with everything
        raise ValueError(f"outputs of shape {outputs.shape} need targets of that shape, not {targets.shape}")
    if outputs.dtype != targets.dtype and outputs.dtype.kind == "f":
        targets = targets.astype(outputs.dtype)
    elif outputs.dtype != targets.dtype and targets.dtype.kind == "f":
        outputs = outputs.astype(targets.dtype)
    return outputs, targets


def _between_0_and_1(what: str, numbers: ops.Array) -> ops.Array:
    if numbers.size and not 0 <= smallest(numbers) <= largest(numbers) <= 1:
        raise ValueError(f"{what} must be in 0 ... 1, not from {numbers.min()} to {numbers.max()}")
    return numbers


def _floats(outputs: Outputs) -> Tensor:
    """Make a tensor of what a model said; whole numbers become float64."""
    outputs = as_tensor(outputs)
    return outputs if outputs.dtype.kind == "f" else outputs.astype(np.float64)


def _reduce(losses: Tensor, reduction: Reduction) -> Tensor:
    return apply(_REDUCTIONS[_known(reduction)], losses)


@cache
def _reduced(loss: Callable[..., ops.Result], reduction: Reduction) -> Callable[..., ops.Result]:
    """Return the loss and its reduction as one primitive."""
    return ops.chained(loss, _REDUCTIONS[_known(reduction)])


_REDUCTIONS: dict[str, Callable[..., ops.Result]] = {"mean": ops.mean, "sum": ops.sum}


def _known(reduction: Reduction) -> Reduction:
    if reduction not in _REDUCTIONS:
        raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
    return reduction


# --- Losses of each entry or example; those with an activation would overflow apart from it ---


def _squared_error(outputs: ops.Array, targets: ops.Array) -> ops.Result:
    """Return (output - target)², entry by entry, and its derivatives."""
    difference = outputs - targets
    return difference**2, (lambda g: g * 2 * difference, lambda g: -(g * 2 * difference))


def _binary_cross_entropy_with_logits(logits: ops.Array, *, targets: ops.Array) -> ops.Result:
    """-log P(target) for P(1) = sigmoid(logit), entry by entry; targets in [0, 1] of the same shape."""
    _require_same_shape("logits", logits, targets)
    small = np.exp(-np.abs(logits))  # at most 1: softplus and sigmoid are computed from it without overflow
    # max(x, 0) - x y + log(1 + exp(-|x|)): for x = 1000, y = 1 the first two terms cancel exactly.
    losses = np.maximum(logits, 0) + np.log1p(small) - logits * targets
    return losses, (lambda g: g * (np.exp(np.minimum(logits, 0)) / (1 + small) - targets),)


def _binary_cross_entropy(probabilities: ops.Array, *, targets: ops.Array) -> ops.Result:
    """-log P(target) for P(1) = probability, entry by entry; targets in [0, 1] of the same shape."""
    _require_same_shape("probabilities", probabilities, targets)
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(probabilities), -100), np.maximum(np.log1p(-probabilities), -100)
    variance = np.maximum(probabilities * (1 - probabilities), 1e-12)  # PyTorch's two bounds, so that results agree
    return -(targets * yes + (1 - targets) * no), (lambda g: g * (probabilities - targets) / variance,)


def _require_same_shape(what: str, outputs: ops.Array, targets: ops.Array) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(f"{what} of shape {outputs.shape} need targets of that shape, not {targets.shape}")


def _cross_entropy(logits: ops.Array, *, targets: ops.Array) -> ops.Result:
    """-log P(target) for P = softmax(logits).

    Args:
        logits: shape (..., classes).
        targets: class numbers, shape (...).
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, not {targets.shape}"
        )
    chosen = check_indices(targets, logits.shape[-1], "targets")[..., None]
    log_probabilities = ops.stable_log_softmax(logits)

    def derivative(g: ops.Array) -> ops.Array:
        slope: ops.Array = np.exp(log_probabilities)
        np.put_along_axis(slope, chosen, np.take_along_axis(slope, chosen, -1) - 1, -1)
        return g[..., None] * slope

    return -np.take_along_axis(log_probabilities, chosen, -1)[..., 0], (derivative,)
