"""Time one small client's update and the same loop in plain NumPy: `python -m benchmarks.updates`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.measure import OURS, numbers_table, processor_seconds
from benchmarks.words import draw_words
from core.data.text import Bags
from core.federated import LocalTrainer
from core.optim import SGD, Optimiser
from core.tasks.spam import SPAM, SpamModel, cautious_adam
from core.tasks.task import LocalTraining, Task

WORDS = 10_000
MAILS = 200
WORDS_EACH = 60
BATCH = 10
RATE = 0.1
PLAIN = "plain NumPy"
OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"SGD": SGD, "the task's Adam": cautious_adam}

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def draw_mails(seed: int) -> tuple[IntArray, IntArray]:
    """Return word numbers, shape (mails, words each), that occur as words do, and labels, shape (mails,)."""
    rng = np.random.default_rng(seed)
    return draw_words(MAILS * WORDS_EACH, WORDS, rng).reshape(MAILS, WORDS_EACH), rng.integers(0, 2, MAILS)


def as_bags(words: IntArray, labels: IntArray) -> Bags:
    """Return the same mails as a data set."""
    return Bags(words.reshape(-1), np.arange(len(words)) * words.shape[1], labels)


def task_with(optimiser: str) -> Task:
    """Return a logistic regression of 10,001 weights: one a word, and a bias."""
    local = LocalTraining(RATE, epochs=1, batch_size=BATCH, optimiser=OPTIMISERS[optimiser])
    return replace(SPAM, name="logistic", build=lambda rng: SpamModel(WORDS, rng), local=local)


# ------------------------------------------------------------------------------------------------ the floor


class PlainSgd:
    """Gradient descent on a table and a bias; only the rows that were looked up move."""

    def step(self, table: FloatArray, bias: FloatArray, words: IntArray, slopes: FloatArray, root: float) -> None:
        np.add.at(table, words.reshape(-1), np.repeat(slopes * (-RATE / root), words.shape[1]))
        bias -= RATE * slopes.sum()


class PlainAdam:
    """Adam on a table and a bias, with every array used again."""

    def __init__(self, size: int) -> None:
        self.steps = 0
        self.gradient, self.mean, self.square, self.scratch = np.zeros((4, size))

    def step(self, table: FloatArray, bias: FloatArray, words: IntArray, slopes: FloatArray, root: float) -> None:
        self.steps += 1
        gradient, mean, square, scratch = self.gradient, self.mean, self.square, self.scratch
        gradient[:] = 0
        np.add.at(gradient[:-1], words.reshape(-1), np.repeat(slopes / root, words.shape[1]))
        gradient[-1] = slopes.sum()
        mean *= 0.9
        mean += np.multiply(gradient, 0.1, out=scratch)
        square *= 0.999
        gradient *= gradient
        gradient *= 0.001
        square += gradient
        np.divide(square, 1 - 0.999**self.steps, out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += 1e-4
        np.divide(mean, scratch, out=scratch)
        scratch *= RATE / (1 - 0.9**self.steps)
        table -= scratch[:-1]
        bias -= scratch[-1:]


def plain_update(
    model: FloatArray, words: IntArray, labels: IntArray, rng: np.random.Generator, optimiser: PlainSgd | PlainAdam
) -> tuple[FloatArray, float]:
    """Train on the mails as a client does; return the change, shape (values,), and the loss before training."""
    table, bias, root = model[:-1].copy(), model[-1:].copy(), np.sqrt(words.shape[1])
    logits = table[words].sum(axis=1) / root + bias
    loss = float((np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).sum())
    called, spam = logits > 0, labels == 1
    _ = (called == spam).sum(), spam.sum(), (called & spam).sum()  # what a client reports besides
    order = rng.permutation(len(words))
    for start in range(0, len(words), BATCH):
        rows = order[start : start + BATCH]
        batch = words[rows]
        logits = table[batch].sum(axis=1) / root + bias
        slopes = (1 / (1 + np.exp(-logits)) - labels[rows]) / len(rows)
        optimiser.step(table, bias, batch, slopes, root)
    return np.concatenate([table, bias]) - model, loss


# ------------------------------------------------------------------------------------------------ both


def ways(optimiser: str) -> dict[str, Callable[[], tuple[FloatArray, float]]]:
    """Return the ways to make the same update, by name; each returns the change and the loss before training."""
    words, labels = draw_mails(1)
    data, model = as_bags(words, labels), np.random.default_rng(2).normal(0, 0.1, WORDS + 1)
    trainer = LocalTrainer(task_with(optimiser))
    plain = PlainSgd if optimiser == "SGD" else partial(PlainAdam, len(model))

    def ours() -> tuple[FloatArray, float]:
        update = trainer.update(model, data, np.random.default_rng(3))
        return update.delta, update.loss

    return {PLAIN: lambda: plain_update(model, words, labels, np.random.default_rng(3), plain()), OURS: ours}


def time_updates(optimiser: str, repeats: int) -> dict[str, float]:
    """Return the least processor seconds of one update, by way, timed turn about.

    Raises AssertionError if the ways do not compute the same.
    """
    made = ways(optimiser)
    (change, loss), (other, other_loss) = made[PLAIN](), made[OURS]()
    assert np.allclose(change, other, rtol=1e-9, atol=1e-12), optimiser
    assert np.isclose(loss, other_loss, rtol=1e-9), optimiser
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(repeats):
        for name, work in made.items():
            seconds[name].append(processor_seconds(work))
    return {name: min(times) for name, times in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.updates", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--repeats", type=int, default=200, help="to take the least of (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; it must be at least 1")
    console = Console(width=120, highlight=False)
    table = numbers_table(["one update, with"], (f"{PLAIN} µs", f"{OURS} µs", "ratio"))
    for optimiser in OPTIMISERS:
        seconds = time_updates(optimiser, options.repeats)
        micro = [f"{seconds[way] * 1e6:,.0f}" for way in (PLAIN, OURS)]
        table.add_row(optimiser, *micro, f"{seconds[OURS] / seconds[PLAIN]:.2f}")
    console.print(
        f"logistic regression of {WORDS + 1:,} weights, {MAILS} mails of {WORDS_EACH} words, batches of {BATCH}"
    )
    console.print(table)


if __name__ == "__main__":
    main()
