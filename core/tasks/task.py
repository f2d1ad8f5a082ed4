"""What a task is: something to learn, as model, loss, metric, data and the settings of local training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from math import frexp
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import DataError, SettingsError
from core.local_settings import LocalSettings
from core.losses import Loss
from core.nn import Module
from core.ops import Array
from core.parameters import FlatParameters, Layout, from_vector, layout, to_vector
from core.randomness import Rng
from core.tasks.held_out import HeldOut, divide_texts
from core.tasks.local import LocalTraining as LocalTraining
from core.tasks.local import train_in_place
from core.training import Correct, Dataset, Sums, evaluate
from core.update import Update

FloatArray = npt.NDArray[np.float64]
GENERATED = "generated"
A_FEW_CLIENTS = 5
LARGEST_CLIP = 2.0**1023


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
        partition: how it is dealt out by default: iid, dirichlet:ALPHA, or grouped.
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


def no_reading(path: Path) -> NoReturn:
    """Refuse to read: what a task does that has no data but what it makes up."""
    raise DataError(f"{path} cannot be read: the task reads no files, because it has no `read`; leave the data out")


def no_generating(_seed: int, _number: int) -> NoReturn:
    """Refuse to make up examples: what a task does that has only real data."""
    raise DataError("this task makes up no data, because it has no `generate`; give it data to train on")


def as_they_are(examples: Sequence[Any]) -> Any:
    """Make a data set of examples that are one already: what a task does that prepares nothing."""
    return examples


@dataclass(frozen=True)
class Source:
    """The file that a task of a user's own comes from.

    Attributes:
        file: where it lies here.
        digest: SHA-256 of what is in it, which all parties of a federation have in common.
    """

    file: str
    digest: bytes


class Trainer(Protocol):
    """Trains copies of the global model on clients' data; one serves any number of clients, one at a time."""

    def __call__(self, model: FloatArray, data: Dataset, rng: Rng, local: LocalTraining) -> Update:
        """Train a copy of `model`, shape (values,), on one client's data and return the change."""


@dataclass(frozen=True)
class Task:
    """Something to learn. Every party of a federation uses the same one.

    Parties know a model as one vector, and use a task by the methods `initial_model`, `trainer`, `evaluate_model`,
    `named_weights` and `layout`. Here they follow from a model of the core; `core.tasks.vector` has the second form,
    whose training is any code.

    Attributes:
        name: how parties call it.
        build: makes the untrained model.
        loss: the mean loss of a batch, from outputs and targets.
        correct: counts a batch's right outputs; where they answer yes or no, all four counts.
        read: reads examples from a file or folder; what an example is, the task decides. Where it is mail (there is
            no corpus), it takes the owner's own name for spam besides.
        generate: makes up the examples of one client, from a seed and the client's number.
        generate_test: makes up examples to judge a model by, from a seed and the number of clients; by default those of
            a client with number 0, which no client has.
        prepare: makes a data set of examples.
        local: how a client trains.
        clip: the largest absolute change of one weight in one update, a power of two. Raises SettingsError otherwise.
        require: raises DataError, naming the place, if nothing can be learned from examples (one class only, say).
        corpus: how published data is dealt out; None for mail, which comes in mailboxes.
        shuffled: the same data as training shuffles it, where examples belong together: characters in sequences.
        text: the text of an example, of which each distinct one is judged once; None where examples are no texts.
        read_texts: reads examples with their texts, to judge a model by; None if `read` keeps them.
        mail: whether its data are mailboxes, if it has no corpus.
        source: where it comes from, if it is a user's own; None for those of the project.
    """

    name: str
    build: Callable[[np.random.Generator], Module]
    loss: Loss
    correct: Correct
    _: KW_ONLY
    local: LocalTraining
    clip: float
    read: Callable[..., Reading] = no_reading
    generate: Callable[[int, int], Sequence[Any]] = no_generating
    generate_test: Callable[[int, int], Sequence[Any]] | None = None
    prepare: Callable[[Sequence[Any]], Dataset] = as_they_are
    require: Callable[[Sequence[Any], str], None] = usable
    corpus: Corpus | None = None
    shuffled: Callable[[Dataset], Dataset] = one_by_one
    text: Callable[[Any], str] | None = None
    read_texts: Callable[..., Reading] | None = None
    mail: bool = False
    source: Source | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.clip, Real) and 0 < self.clip <= LARGEST_CLIP and frexp(self.clip)[0] == 0.5):
            raise SettingsError(f"clip of task {self.name} is {self.clip!r}; it must be a power of two, such as 1.0")

    # -------------------------------------------------------------------------------- its model as one vector

    def initial_model(self, seed: int) -> FloatArray:
        """Return the model before round 1, shape (values,). Same seed, same bytes, on every machine."""
        return to_vector(self.build(np.random.default_rng([seed, 0])))

    def trainer(self) -> Trainer:
        """Return what trains clients, one after the other; what it needs for that is made once."""
        module = self.build(np.random.default_rng(0))
        parameters = FlatParameters(module)

        def train(model: FloatArray, data: Dataset, rng: Rng, local: LocalTraining) -> Update:
            parameters.write(model)
            sums = local_training(self, module, data, rng, local)
            counts = (sums.correct, sums.positives, sums.true_positives)
            return Update(parameters.read() - model, sums.examples, sums.loss, *counts)

        return train

    def evaluate_model(self, model: FloatArray, data: Dataset) -> Sums:
        """Judge a model, shape (values,), on data it was not trained on."""
        module = self.build(np.random.default_rng(0))
        from_vector(module, model)
        return evaluate(module, data, self.loss, self.correct)

    def layout(self) -> Layout:
        """Return name and shape of each of its arrays, in the order of the vector."""
        return layout(self.build(np.random.default_rng(0)))

    def vector_of(self, arrays: Mapping[str, Array]) -> FloatArray:
        """Return the model with these named arrays as a vector. Raises ValueError if one does not fit."""
        module = self.build(np.random.default_rng(0))
        module.load_state_dict(arrays)
        return to_vector(module)

    def named_weights(self, model: FloatArray) -> dict[str, Array]:
        """Return the flat model, shape (values,), as named arrays in the shapes of the task's layers."""
        module = self.build(np.random.default_rng(0))
        from_vector(module, model)
        return {name: parameter.numpy() for name, parameter in module.named_parameters()}

    @property
    def trains_by_steps(self) -> bool:
        """Whether each step of its training can be corrected, because an optimiser of the core takes it."""
        return True

    @property
    def takes_settings(self) -> bool:
        """Whether a run can change how its clients train."""
        return True

    def local_in(self, asked: LocalSettings | None, round_number: int) -> LocalTraining:
        """Return how clients train in one round of a run. Raises SettingsError if that cannot work."""
        return self.local if asked is None else self.local.changed_by(asked, round_number)

    # -------------------------------------------------------------------------------- its data

    def read_labelled(self, source: str, spam_label: str | None = None) -> Reading:
        """Read examples from the path `source`, where the owner may have named a label for spam.

        Raises:
            DataError: they cannot be read.
            SettingsError: a name for spam is given, and the task is not about mail.
        """
        return self._read_by(self.read, source, spam_label)

    def _read_by(self, read: Callable[..., Reading], source: str, spam_label: str | None) -> Reading:
        if spam_label is None:
            found = read(Path(source))
            return found if isinstance(found, Reading) else Reading(found)
        if not self.mail:
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
            return self.held_out(self.made_up_test(seed, clients or A_FEW_CLIENTS))
        if self.corpus is not None and Path(source).is_dir():
            return self.held_out(self.corpus.read(Path(source))[1])
        return self.held_out(self._read_by(self.read_texts or self.read, source, spam_label).examples)

    def check_makes_up(self) -> None:
        """Raise DataError if there is nothing to train on without data, because the task makes up none."""
        if self.generate is no_generating:
            raise DataError(f"the task {self.name} makes up no data, because it has no `generate`; give --data")

    def made_up(self, seed: int, number: int) -> Dataset:
        """Make up the data of one client."""
        return self.prepare(self.generate(seed, number))

    def made_up_test(self, seed: int, clients: int) -> Sequence[Any]:
        """Make up examples to judge a model by, for this many clients."""
        return self.generate(seed, 0) if self.generate_test is None else self.generate_test(seed, clients)

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


def local_training(task: Task, model: Module, data: Dataset, rng: Rng, local: LocalTraining | None = None) -> Sums:
    """Train a model in place for one round of one client.

    Args:
        local: how; by default as the task says.

    Returns:
        The sums over the client's data of the model as it came, before training: all clients of a round
        judge the same model, so that their sums add up to its training loss and accuracy.

    Raises:
        DivergedError: the loss is not finite or grows without bound.
    """
    sums = evaluate(model, data, task.loss, task.correct)
    train_in_place(model, task.shuffled(data), task.loss, local or task.local, rng)
    return sums
