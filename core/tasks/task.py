"""What a task is: something to learn, as model, loss, metric, data and the settings of local training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import frexp
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import DataError, SettingsError
from core.losses import Loss
from core.nn import Module
from core.optim import Adam, Optimiser
from core.randomness import Rng, generator
from core.tasks.held_out import HeldOut, divide_texts
from core.tensor import Tensor
from core.training import Correct, Dataset, Sums, evaluate, train_epoch

GENERATED = "generated"
A_FEW_CLIENTS = 5


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains in one round. Raises SettingsError for settings that cannot work.

    Attributes:
        learning_rate: of the optimiser.
        epochs: passes over the client's own data, in one round.
        batch_size: examples in a batch.
        optimiser: makes an optimiser from parameters and learning rate. It is made anew in every round: what it
            remembers of a round never leaves the client and is not carried to the next.
    """

    learning_rate: float
    epochs: int = 1
    batch_size: int = 32
    optimiser: Callable[[Iterable[Tensor], float], Optimiser] = Adam

    def __post_init__(self) -> None:
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingsError(f"learning_rate is {self.learning_rate}; it must be a positive number")
        for name, number in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if number < 1:
                raise SettingsError(f"{name} is {number}; it must be at least 1")


@dataclass(frozen=True)
class Reading:
    """What was read from a file or folder.

    Attributes:
        examples: in their order there.
        skipped: how many more there are that could not be read.
        first_skipped: which the first of those is and what is wrong with it; empty if there is none.
        deleted: how many more there are that their owner has deleted, and that are left out.
    """

    examples: Sequence[Any]
    skipped: int = 0
    first_skipped: str = ""
    deleted: int = 0


@dataclass(frozen=True)
class Corpus:
    """Published data that a simulation deals out among its clients.

    Attributes:
        read: reads a folder or file as published: examples to train on, and examples kept to judge a model by.
        write: writes examples to a file that the task's `read` reads again.
        label: what an example is dealt out by: its class, or whose it is.
        partition: how it is dealt out unless told otherwise: iid, dirichlet:ALPHA, or grouped.
    """

    read: Callable[[Path], tuple[Sequence[Any], Sequence[Any]]]
    write: Callable[[Path, Sequence[Any]], None]
    label: Callable[[Any], Any]
    partition: str = "iid"


def usable(_examples: Sequence[Any], _where: str) -> None:
    """Accept any examples: what a task does that can learn from all of them."""


def one_by_one(data: Dataset) -> Dataset:
    """Shuffle examples one by one: what a task does unless some belong together."""
    return data


@dataclass(frozen=True)
class Task:
    """Something to learn. Every party of a federation uses the same one.

    Attributes:
        name: how parties call it.
        build: makes the untrained model.
        loss: the mean loss of a batch, from outputs and targets.
        correct: counts a batch's right outputs; where they answer yes or no, all four counts.
        read: reads examples from a file or folder; what an example is, the task decides. Where it is mail (there is
            no corpus), it takes the owner's own name for spam besides.
        generate: makes up the examples of one client, from a seed and the client's number.
        generate_test: makes up examples to judge a model by, from a seed and the number of clients.
        prepare: makes a data set of examples.
        local: how a client trains.
        clip: the largest absolute change of one weight in one update, a power of two. Raises SettingsError otherwise.
        require: raises DataError, naming the place, if nothing can be learned from examples (one class only, say).
        corpus: how published data is dealt out; None for mail, which comes in mailboxes.
        shuffled: the same data as training shuffles it, where examples belong together: characters in sequences.
        text: the text of an example, of which each distinct one is judged once; None where examples are no texts.
        read_texts: reads examples with their texts, to judge a model by; None if `read` keeps them.
    """

    name: str
    build: Callable[[np.random.Generator], Module]
    loss: Loss
    correct: Correct
    read: Callable[..., Reading]
    generate: Callable[[int, int], Sequence[Any]]
    generate_test: Callable[[int, int], Sequence[Any]]
    prepare: Callable[[Sequence[Any]], Dataset]
    local: LocalTraining
    clip: float
    require: Callable[[Sequence[Any], str], None] = usable
    corpus: Corpus | None = None
    shuffled: Callable[[Dataset], Dataset] = one_by_one
    text: Callable[[Any], str] | None = None
    read_texts: Callable[..., Reading] | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.clip) and self.clip > 0 and frexp(self.clip)[0] == 0.5):
            raise SettingsError(f"clip of task {self.name} is {self.clip}; it must be a power of two")

    def read_labelled(self, source: str, spam_label: str | None = None) -> Reading:
        """Read examples from the path `source`, where spam may have a name of its owner's own.

        Raises:
            DataError: they cannot be read.
            SettingsError: a name for spam is given, and the task is not about mail.
        """
        return self._read_by(self.read, source, spam_label)

    def _read_by(self, read: Callable[..., Reading], source: str, spam_label: str | None) -> Reading:
        if spam_label is None:
            return read(Path(source))
        if self.corpus is not None:
            raise SettingsError(f"--spam-label is {spam_label!r}, and the task {self.name} has no spam; leave it out")
        return read(Path(source), spam_label)

    def load_test(self, source: str, seed: int, clients: int | None, spam_label: str | None = None) -> HeldOut:
        """Prepare examples to judge a model by: read from the path `source`, or made up where it is `generated`.

        Each distinct text is judged once.

        Args:
            clients: for how many clients to make up examples; None is a few.

        Raises:
            DataError: they cannot be read.
        """
        if source == GENERATED:
            return self.held_out(self.generate_test(seed, clients or A_FEW_CLIENTS))
        if self.corpus is not None and Path(source).is_dir():
            return self.held_out(self.corpus.read(Path(source))[1])
        return self.held_out(self._read_by(self.read_texts or self.read, source, spam_label).examples)

    def held_out(self, examples: Sequence[Any]) -> HeldOut:
        """Prepare examples to judge a model by, each distinct text once. Raises DataError if none is left."""
        if self.text is None:
            return HeldOut(self.prepare(examples))
        texts = divide_texts(examples, self.text)
        if not texts.distinct:
            raise DataError(f"there is nothing to judge a model by: {texts.sentence}")
        apart = self._prepared_apart(texts.repeats), self._prepared_apart(texts.wordless)
        return HeldOut(self.prepare(texts.distinct), *apart, texts.sentence)

    def _prepared_apart(self, examples: Sequence[Any]) -> Dataset | None:
        try:
            return self.prepare(examples) if examples else None
        except DataError:  # too short for this task: there is nothing in them that could be judged right or wrong
            return None


def local_training(task: Task, model: Module, data: Dataset, rng: Rng) -> Sums:
    """Train a model in place for one round of one client.

    Returns:
        The sums over the client's data of the model as it came, before training: all clients of a round
        judge the same model, so that their sums add up to its training loss and accuracy.

    Raises:
        DivergedError: the loss is not finite or grows without bound.
    """
    sums = evaluate(model, data, task.loss, task.correct)
    optimiser = task.local.optimiser(model.parameters(), task.local.learning_rate)
    shuffled, rng = task.shuffled(data), generator(rng)
    for _ in range(task.local.epochs):
        train_epoch(model, shuffled, task.loss, optimiser, task.local.batch_size, rng)
    return sums
