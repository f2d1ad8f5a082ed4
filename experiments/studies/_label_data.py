"""Two tasks for attacks on labels: what clients hold, what the attacker holds, and what a model predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from book.run import Run
from core.data.drawn import drawn_digits
from core.data.mnist import DIGITS, Images, read_mnist
from core.data.text import Bags
from core.parameters import from_vector
from core.tasks.mnist import MNIST_MLP
from core.tasks.spam import SPAM
from core.tasks.task import LocalTraining, Task
from core.tensor import no_grad
from core.training import Dataset
from experiments.arrays import FloatArray, IntArray
from experiments.studies._mailroom import STEP, Mailroom, open_mailroom, some_of

UNEVEN = 0.5  # of the Dirichlet distribution of each client's labels: the smaller, the more unlike clients are


@dataclass(frozen=True)
class Pool:
    """Labelled examples from which clients are dealt. Its repr shows nothing of them.

    Attributes:
        data: all of them.
        labels: shape (examples,).
        some: returns the examples of these rows as a dataset.
    """

    data: Dataset
    labels: IntArray
    some: Callable[[IntArray], Dataset]

    def __repr__(self) -> str:
        return f"Pool({len(self.labels)} examples)"

    def shares(self, classes: int) -> FloatArray:
        """Return the share of each label, shape (classes,)."""
        return np.bincount(self.labels, minlength=classes) / len(self.labels)

    def rows_of(self, shares: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
        """Draw rows of examples whose labels follow the shares, shape (count,)."""
        wanted = rng.choice(len(shares), count, p=shares)
        having = [np.flatnonzero(self.labels == label) for label in range(len(shares))]
        return np.array([having[label][rng.integers(len(having[label]))] for label in wanted], np.int64)

    def draw(self, classes: int, count: int, rng: np.random.Generator) -> IntArray:
        """Draw a client's rows, with uneven shares of the labels."""
        return self.rows_of(rng.dirichlet(np.full(classes, UNEVEN)), count, rng)


@dataclass(frozen=True)
class Subject:
    """A task, what clients and attacker hold of it, and how its last bias is read.

    Attributes:
        classes: how many labels there are.
        rate: of plain gradient descent.
    """

    name: str
    task: Task
    classes: int
    rate: float
    private: Pool
    public: Pool

    def bias_of(self, change: FloatArray) -> FloatArray:
        """Return the change of the last bias, one number a class, shape (classes,); a single logit serves both."""
        return np.array([-change[-1], change[-1]]) if self.classes == 2 else change[-self.classes :]

    def predictions(self, model: FloatArray) -> FloatArray:
        """Return a model's mean predictions for public examples of each label, shape (labels, classes)."""
        module = self.task.build(np.random.default_rng(0))
        from_vector(module, model)
        with no_grad():
            logits = module(self.public.data.batch(np.arange(len(self.public.labels)))[0]).numpy().astype(np.float64)
        if self.classes == 2:
            logits = np.column_stack([np.zeros(len(logits)), logits])
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = odds / odds.sum(axis=1, keepdims=True)
        return np.stack([shares[self.public.labels == label].mean(axis=0) for label in range(self.classes)])


def spam(run: Run) -> Subject:
    """Return spam and ham. Raises DataError if the files are not there."""
    room: Mailroom = open_mailroom(run, *run.pick((40, 100), (12, 80)))
    task = replace(SPAM, local=LocalTraining(STEP))
    return Subject("spam", task, 2, task.local.learning_rate, _bags(room.bags), _bags(room.public_bags))


def _bags(bags: Bags) -> Pool:
    return Pool(bags, bags.labels, lambda rows: some_of(bags, rows))


def digits(run: Run) -> Subject:
    """Return ten digits: MNIST, or drawn ones. Raises DataError if the files are not there."""
    count = run.pick(4_000, 600)
    if run.data is None:
        run.say("digits are drawn by the project, not MNIST")
        found = drawn_digits(count, [run.seed, 0])
    else:
        run.say("digits are MNIST")
        whole = read_mnist(run.data, "train")
        rows = run.rng(6).permutation(len(whole))[:count]
        found = Images(whole.images[rows], whole.labels[rows])
    half = count // 2
    parts = (found.first(half), Images(found.images[half:], found.labels[half:]))
    return Subject("digits", MNIST_MLP, DIGITS, 0.1, *map(_images, parts))


def _images(images: Images) -> Pool:
    return Pool(images, images.labels, lambda rows: Images(images.images[rows], images.labels[rows]))
