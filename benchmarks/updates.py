"""Time one small client's update and the same loop in plain NumPy: `python -m benchmarks.updates`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from rich.console import Console

from benchmarks.measure import OURS, numbers_table, processor_seconds
from benchmarks.plain_update import (
    BATCH,
    MAILS,
    RATE,
    WORDS,
    WORDS_EACH,
    FloatArray,
    IntArray,
    PlainAdam,
    PlainSgd,
    draw_mails,
    plain_update,
)
from core.data.text import Bags
from core.federated import LocalTrainer
from core.optim import SGD, Optimiser
from core.tasks.spam import SPAM, SpamModel, cautious_adam
from core.tasks.task import LocalTraining, Task

PLAIN = "plain NumPy"
OPTIMISERS: dict[str, Callable[..., Optimiser]] = {"SGD": SGD, "the task's Adam": cautious_adam}


def as_bags(words: IntArray, labels: IntArray) -> Bags:
    """Return the same mails as a data set."""
    return Bags(words.reshape(-1), np.arange(len(words)) * words.shape[1], labels)


def task_with(optimiser: str) -> Task:
    """Return a logistic regression of 10,001 weights: one a word, and a bias."""
    local = LocalTraining(RATE, epochs=1, batch_size=BATCH, optimiser=OPTIMISERS[optimiser])
    return replace(SPAM, name="logistic", build=lambda rng: SpamModel(WORDS, rng), local=local)


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
