"""What chapters 8 to 10 share: digits in three parts, recipes for training on them, and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from book.data.vocabulary import one_hot
from book.finding import Finding, shown
from book.run import Run
from core.data.drawn import drawn_digits
from core.data.mnist import DIGITS, Images, read_mnist
from core.losses import Loss, delta_rule
from core.metrics import correct_classes
from core.nn import Module
from core.ops import Array
from core.optim import SGD, DivergedError, DivergenceCheck
from core.tensor import Tensor
from core.training import Sums, evaluate, train_epoch

SIZES = (1_000, 3_000, 10_000)  # the book too trains on the first 1,000 and tests on all 10,000
QUICK_SIZES = (200, 200, 400)

Build = Callable[[np.random.Generator], Module]


@dataclass(frozen=True)
class Digits:
    """The parts of the data.

    Attributes:
        training: what networks learn from.
        validation: images after those; whatever is chosen is chosen by these.
        test: looked at only to report.
    """

    training: Images
    validation: Images
    test: Images


def load_digits(run: Run) -> Digits:
    """Read MNIST, or draw digits if there is no data."""
    training, validation, test = run.pick(SIZES, QUICK_SIZES)
    if run.data is None:
        run.say("digits drawn by the project, not MNIST")
        drawn = drawn_digits(training + validation, [run.seed, 0])
        tested = drawn_digits(test, [run.seed, 1])
    else:
        drawn, tested = read_mnist(run.data, "train"), read_mnist(run.data, "test").first(test)
    end = training + validation
    kept = Images(drawn.images[training:end], drawn.labels[training:end])
    return Digits(drawn.first(training), kept, tested)


def squared_error(outputs: Tensor, labels: Array) -> Tensor:
    """Return half the squared error to the one-hot targets, as a mean over the batch.

    Row by row this is the delta rule of the book; for a batch the mean gives the book's update.
    """
    return delta_rule(outputs, one_hot(labels, DIGITS, np.float32)) / len(labels)


@dataclass(frozen=True)
class Recipe:
    """How a network is made and trained.

    Attributes:
        build: makes the untrained network.
        loss: the mean loss of a batch.
        rate: of gradient descent.
        weight_decay: share of each weight that is added to its gradient.
    """

    build: Build
    loss: Loss
    rate: float
    batch_size: int
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Curve:
    """How a network did on the way: one entry for each time it was measured.

    Attributes:
        model: the network as it was after the last pass.
        passes: after how many passes each measurement was made.
        training: with dropout off.
    """

    model: Module
    passes: tuple[int, ...]
    training: tuple[Sums, ...]
    test: tuple[Sums, ...]

    @property
    def training_accuracies(self) -> list[float]:
        return [sums.accuracy for sums in self.training]

    @property
    def accuracies(self) -> list[float]:
        """Accuracies on the test part."""
        return [sums.accuracy for sums in self.test]

    @property
    def best(self) -> float:
        """The best accuracy on the test part: only reported, as the book does, and never chosen by."""
        return max(self.accuracies)

    @property
    def last(self) -> float:
        """The accuracy on the test part after the last pass."""
        return self.accuracies[-1]

    @property
    def fall(self) -> float:
        """How much of the best accuracy was lost by training on."""
        return self.best - self.last

    def lowest_after(self, passes: int) -> float:
        """Return the lowest accuracy on the test part of those measured after more than `passes` passes."""
        return min(
            a for a, at in zip(self.accuracies, self.passes, strict=True) if at > passes or at == self.passes[-1]
        )


def follow(
    run: Run, digits: Digits, recipe: Recipe, passes: int, *, name: str, stream: int = 0, every: int = 1
) -> Curve:
    """Train by a recipe, and measure on the training and the test part.

    Args:
        name: what the progress line calls it.
        stream: number of the random numbers to use; equal numbers give equal starts.
        every: after how many passes to measure; always after the last.
    """
    measured: list[tuple[int, Sums, Sums]] = []
    for number, model in train_by(run, digits, recipe, passes, stream):
        if number % every == 0 or number == passes:
            scores = [evaluate(model, part, recipe.loss, correct_classes) for part in (digits.training, digits.test)]
            measured.append((number, scores[0], scores[1]))
            run.progress(f"{name}: pass {number} of {passes}, {scores[1].accuracy:.2%} of the test part right")
    at, training, test = zip(*measured, strict=True)
    return Curve(model, at, training, test)


def train_by(run: Run, digits: Digits, recipe: Recipe, passes: int, stream: int) -> Iterator[tuple[int, Module]]:
    """Train on the training part; yield the number of each pass, from 1, and the network as it is then."""
    rng = run.rng(stream)
    model = recipe.build(rng)
    optimiser = SGD(model.parameters(), recipe.rate, weight_decay=recipe.weight_decay)
    check = DivergenceCheck()
    for number in range(1, passes + 1):
        train_epoch(model, digits.training, recipe.loss, optimiser, recipe.batch_size, rng, check)
        yield number, model


def validation_accuracy(run: Run, digits: Digits, recipe: Recipe, passes: int, stream: int) -> float:
    """Train by a recipe and return the accuracy on the validation part; 0 if the training diverges."""
    try:
        *_, (_, model) = train_by(run, digits, recipe, passes, stream)
    except DivergedError:
        return 0.0
    return evaluate(model, digits.validation, recipe.loss, correct_classes).accuracy


def draw_learning(run: Run, name: str, series: Mapping[str, Sequence[float]], **options: Any) -> None:
    """Save learning curves; the options are those of `learning_curves`."""
    from book.pictures.curves import learning_curves  # only here: matplotlib takes longer than the quick form

    run.save(name, learning_curves(series, **options))


def choose(
    run: Run, digits: Digits, recipes: Mapping[str, Recipe], passes: int, what: str, stream: int = 0
) -> Generator[Finding, None, str]:
    """Train by each recipe for a few passes; yield what was chosen, and return its name.

    Args:
        what: what the recipes differ in.
    """
    accuracies = {}
    for name, recipe in recipes.items():
        run.progress(f"{what} {name}, {passes} passes, to choose by the validation part")
        accuracies[name] = validation_accuracy(run, digits, recipe, passes, stream)
    best = max(accuracies, key=lambda name: accuracies[name])
    tried = ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in accuracies.items())
    yield shown(f"{what}, chosen by the validation part ({passes} passes: {tried})", best)
    return best
