"""Loops: minibatches, a pass of training, evaluation, early stopping.

Nothing here knows which model or data it works on: the model is called with what the data set's `batch` hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion, four_counts
from core.losses import Loss
from core.nn import Module
from core.ops import Array
from core.optim import DivergenceCheck, Optimiser
from core.tensor import no_grad

Rows = npt.NDArray[np.int64]
Correct = Callable[[Array, Array], int | Confusion]
"""Counts a batch's right answers, given outputs and targets as arrays; of yes/no answers, all four counts."""


class Dataset(Protocol):
    """Examples that can be taken in batches."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def batch(self, rows: Rows) -> tuple[Any, Array]:
        """Return the inputs, as the model takes them, and the targets of these examples."""


@dataclass(frozen=True)
class Sums:
    """Totals over examples; sums of parts are the totals of the whole.

    Attributes:
        positives: examples whose answer is yes; 0 where no yes/no question was asked.
        true_positives: those of them that were answered so.
    """

    examples: int
    loss: float
    correct: int
    positives: int = 0
    true_positives: int = 0

    @classmethod
    def of(cls, examples: int, loss: float, answers: int | Confusion) -> Sums:
        """Return the sums of a batch, with its right answers as a `Correct` counts them."""
        if isinstance(answers, Confusion):
            return cls(examples, loss, answers.correct, answers.positives, answers.true_positives)
        return cls(examples, loss, answers)

    @property
    def confusion(self) -> Confusion:
        """The same as four counts; of an answer that is neither yes nor no, as if it were no."""
        return four_counts(self.examples, self.correct, self.positives, self.true_positives)

    @property
    def accuracy(self) -> float:
        return self._per_example(self.correct)

    @property
    def mean_loss(self) -> float:
        return self._per_example(self.loss)

    def _per_example(self, total: float) -> float:
        if not self.examples:
            raise ValueError("sums over no examples have no accuracy and no mean loss")
        return total / self.examples

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.examples + other.examples,
            self.loss + other.loss,
            self.correct + other.correct,
            self.positives + other.positives,
            self.true_positives + other.true_positives,
        )


def minibatches(n: int, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield each of 0 ... n - 1 once, in random order, `size` at a time; the last batch may be short."""
    yield from _slices(rng.permutation(n), size)


def train_epoch(
    model: Module,
    data: Dataset,
    loss: Loss,
    optimiser: Optimiser,
    batch_size: int,
    rng: np.random.Generator,
    check: DivergenceCheck | None = None,
) -> float:
    """Train one pass over the data: one forward, one backward, one step for each batch.

    Args:
        loss: the mean loss of a batch.
        check: watches the losses of several passes together; left out, this pass is watched alone.

    Returns:
        The mean loss over the examples, each measured in training mode before its step; 0 without examples.

    Raises:
        DivergedError: the loss is not finite or grows without bound.
    """
    model.train()
    check = check or DivergenceCheck()
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # the check reports what overflowed, as an error
        for rows in minibatches(len(data), batch_size, rng):
            inputs, targets = data.batch(rows)
            batch_loss = loss(model(inputs), targets)
            check(batch_loss.item())
            optimiser.zero_grad()
            batch_loss.backward()
            optimiser.step()
            total += batch_loss.item() * len(rows)
    return total / len(data) if len(data) else 0.0


def evaluate(model: Module, data: Dataset, loss: Loss, correct: Correct, batch_size: int = 1024) -> Sums:
    """Measure the model on the data in evaluation mode, without a graph; leave the mode as it was.

    Args:
        loss: the mean loss of a batch.
        correct: counts the right outputs of a batch.
    """
    sums = Sums(0, 0.0, 0)
    was_training = model.training
    model.eval()
    with no_grad():
        for rows in _slices(np.arange(len(data)), batch_size):
            inputs, targets = data.batch(rows)
            outputs = model(inputs)
            batch_loss = loss(outputs, targets).item() * len(rows)
            sums += Sums.of(len(rows), batch_loss, correct(outputs.numpy(), targets))
    model.train(was_training)
    return sums


class EarlyStopping:
    """Remember the best weights seen and say when to stop looking for better ones.

    The loss must come from the validation part: stopping by the test part would fit to it.

    Args:
        model: whose weights are remembered.
        patience: after how many passes without a new best loss to stop.
    """

    def __init__(self, model: Module, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 pass, not {patience}")
        self.model = model
        self.patience = patience
        self.best_loss = np.inf
        self.passes_since_best = 0
        self._best_weights = model.state_dict()

    def should_stop(self, validation_loss: float) -> bool:
        """Take note of one more pass."""
        self.passes_since_best += 1
        if validation_loss < self.best_loss:
            self.best_loss = validation_loss
            self.passes_since_best = 0
            self._best_weights = self.model.state_dict()
        return self.passes_since_best >= self.patience

    def restore(self) -> None:
        """Give the model its best weights back."""
        self.model.load_state_dict(self._best_weights)


@dataclass(frozen=True)
class Pass:
    """What one pass of `train` came to: a point of the learning curve."""

    training_loss: float
    validation: Sums


def train(
    model: Module,
    training: Dataset,
    validation: Dataset,
    loss: Loss,
    correct: Correct,
    optimiser: Optimiser,
    *,
    passes: int,
    batch_size: int,
    patience: int,
    rng: np.random.Generator,
) -> list[Pass]:
    """Train until the validation loss has not fallen for `patience` passes; leave the model at its best.

    Returns:
        The learning curve, one point a pass.
    """
    stopping = EarlyStopping(model, patience)
    check = DivergenceCheck()
    curve: list[Pass] = []
    for _ in range(passes):
        training_loss = train_epoch(model, training, loss, optimiser, batch_size, rng, check)
        curve.append(Pass(training_loss, evaluate(model, validation, loss, correct)))
        if stopping.should_stop(curve[-1].validation.mean_loss):
            break
    stopping.restore()
    return curve


def _slices(rows: Rows, size: int) -> Iterator[Rows]:
    if size < 1:
        raise ValueError(f"a batch must hold at least 1 example, not {size}")
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
