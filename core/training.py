"""Loops: minibatches, a pass of training, evaluation, early stopping.

Nothing here knows which model or data it works on: the model is called with what the data set's `batch` hands out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion, four_counts
from core.losses import Loss
from core.nn import Module
from core.ops import Array
from core.optim import DivergenceCheck, Optimiser, clip_grad_norm_
from core.randomness import Rng, generator
from core.tensor import Tensor, no_grad

Rows = npt.NDArray[np.int64]
AnyRows = TypeVar("AnyRows", Rows, range)
Correct = Callable[[Array, Array], int | Confusion]
"""Counts a batch's right answers, given outputs and targets as arrays; of yes/no answers, all four counts."""


class Dataset(Protocol):
    """Examples that can be taken in batches."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def batch(self, rows: Rows) -> tuple[Any, Array]:
        """Return the inputs, as the model takes them, and the targets of these examples."""


@runtime_checkable
class Arrangeable(Dataset, Protocol):
    """A dataset that is cheaper to put in order once than to take batch by batch from everywhere."""

    def in_order(self, rows: Rows) -> Arrangeable:
        """Return the examples `rows` in that order."""

    def part(self, start: int, stop: int) -> tuple[Any, Array]:
        """Return what `batch` returns of the examples from `start` to before `stop`."""


class Schedule(Protocol):
    """Something that changes the learning rate after each pass, `core.optim.StepDecay` for example."""

    def step(self) -> None:
        """Take note of one more pass."""


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
        """Share of the examples that were answered rightly."""
        return self._per_example(self.correct)

    @property
    def mean_loss(self) -> float:
        """Mean loss of an example."""
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


NOTHING = Sums(0, 0.0, 0)


def minibatches(n: int, size: int, rng: Rng) -> Iterator[Rows]:
    """Yield each of 0 ... n - 1 once, in random order, `size` at a time; the last batch may be short."""
    yield from _slices(generator(rng).permutation(n), size)


def train_epoch(
    model: Module,
    data: Dataset,
    loss: Loss,
    optimiser: Optimiser,
    batch_size: int,
    rng: Rng,
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
    sums = _Steps(model, loss, optimiser, check or DivergenceCheck()).through(data, batch_size, rng)
    return sums.mean_loss if sums.examples else 0.0


def train_steps(
    model: Module, data: Dataset, loss: Loss, optimiser: Optimiser, batch_size: int, rng: Rng, steps: int
) -> None:
    """Train on `steps` batches: pass after pass over the data, in new random order, the last one perhaps in part.

    Raises:
        DivergedError: the loss is not finite or grows without bound.
    """
    training, rng = _Steps(model, loss, optimiser, DivergenceCheck()), generator(rng)
    while steps > 0 and len(checked(data)):
        training.through(data, batch_size, rng, steps)
        steps -= -(-len(data) // batch_size)


@dataclass
class _Steps:
    """Steps of an optimiser, one for each batch.

    Attributes:
        correct: counts the right outputs of a batch; None counts nothing.
        max_norm: the largest global norm of the gradients of a step.
    """

    model: Module
    loss: Loss
    optimiser: Optimiser
    check: DivergenceCheck
    correct: Correct | None = None
    max_norm: float | None = None

    def through(self, data: Dataset, batch_size: int, rng: Rng, most: int | None = None) -> Sums:
        """Train one pass over the data; return the sums over its batches, each as it was before its step.

        With `most`, the pass ends after that many batches.
        """
        self.model.train()
        total, answers = 0.0, NOTHING
        order = generator(rng).permutation(len(checked(data)))[: None if most is None else most * batch_size]
        with np.errstate(over="ignore", invalid="ignore"):  # the check reports what overflowed, as an error
            for examples, inputs, targets in _batches(data, order, batch_size):
                outputs = self.model(inputs)
                batch_loss = self.loss(outputs, targets)
                mean = batch_loss.item()
                self.check(mean)
                if self.correct is not None:  # before the step, because the outputs may be a view of what it changes
                    answers += Sums.of(0, 0.0, self.correct(outputs.numpy(), targets))
                self._step(batch_loss)
                total += mean * examples
        return Sums(len(order), total, 0) + answers

    def _step(self, batch_loss: Tensor) -> None:
        self.optimiser.zero_grad()
        batch_loss.backward()
        if self.max_norm is not None:
            clip_grad_norm_(self.optimiser.parameters, self.max_norm)
        self.optimiser.step()


def checked(data: Dataset) -> Dataset:
    """Return a dataset unchanged; raise TypeError for anything else, a pair of arrays for example."""
    if not callable(getattr(data, "batch", None)):
        raise TypeError(
            f"a dataset is needed, not a {type(data).__name__}: ArrayDataset(inputs, targets) makes one of arrays"
        )
    return data


def evaluate(model: Module, data: Dataset, loss: Loss, correct: Correct, batch_size: int = 1024) -> Sums:
    """Measure the model on the data in evaluation mode, without a graph; leave the mode as it was.

    Args:
        loss: the mean loss of a batch.
        correct: counts the right outputs of a batch.
    """
    sums = NOTHING
    was_training = model.training
    model.eval()
    with no_grad():
        for examples, inputs, targets in _batches(checked(data), None, batch_size):
            outputs = model(inputs)
            batch_loss = loss(outputs, targets).item() * examples
            sums += Sums.of(examples, batch_loss, correct(outputs.numpy(), targets))
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
    """What one pass of `train` came to: a point of the learning curve.

    Attributes:
        training: over the examples trained on, each measured in training mode before its step.
        validation: after the pass.
    """

    training: Sums
    validation: Sums

    @property
    def training_loss(self) -> float:
        """Mean loss of an example while training."""
        return self.training.mean_loss

    @property
    def training_accuracy(self) -> float:
        """Share of the training examples that were answered rightly."""
        return self.training.accuracy


@dataclass(frozen=True)
class Plan:
    """How `train` goes through the data.

    Attributes:
        passes: over the training examples, at most.
        batch_size: examples for each step.
        patience: after how many passes without a new best validation loss to stop.
        schedule: of the learning rate; its `step` is called after each pass.
        max_norm: the largest global norm of the gradients of a step; longer ones are scaled down to it.
    """

    passes: int
    batch_size: int
    patience: int
    schedule: Schedule | None = None
    max_norm: float | None = None


def train(
    model: Module,
    training: Dataset,
    validation: Dataset,
    loss: Loss,
    correct: Correct,
    optimiser: Optimiser,
    plan: Plan,
    rng: Rng,
) -> list[Pass]:
    """Train until the validation loss stops falling, as planned; leave the model at its best.

    Returns:
        The learning curve, one point a pass.
    """
    stopping, rng = EarlyStopping(model, plan.patience), generator(rng)
    steps = _Steps(model, loss, optimiser, DivergenceCheck(), correct, plan.max_norm)
    checked(validation)
    curve: list[Pass] = []
    for _ in range(plan.passes):
        sums = steps.through(training, plan.batch_size, rng)
        curve.append(Pass(sums, evaluate(model, validation, loss, correct)))
        if plan.schedule is not None:
            plan.schedule.step()
        if stopping.should_stop(curve[-1].validation.mean_loss):
            break
    stopping.restore()
    return curve


def _batches(data: Dataset, order: Rows | None, size: int) -> Iterator[tuple[int, Any, Array]]:
    """Yield the number of examples in a batch, their inputs and their targets: in an order, or as they are if None."""
    if isinstance(data, Arrangeable):
        arranged = data if order is None else data.in_order(order)
        for rows in _slices(range(len(data) if order is None else len(order)), size):
            yield len(rows), *arranged.part(rows.start, rows.stop)
    else:
        for chosen in _slices(np.arange(len(data)) if order is None else order, size):
            yield len(chosen), *data.batch(chosen)


def _slices(rows: AnyRows, size: int) -> Iterator[AnyRows]:
    if size < 1:
        raise ValueError(f"a batch must hold at least 1 example, not {size}")
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
