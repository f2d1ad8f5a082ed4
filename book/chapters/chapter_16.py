"""Chapter 16: your own question. Copy this file, change the question, and `python -m book` finds it.

The question here: does a wider layer need fewer passes? A good experiment says what it compares, holds everything else
still, repeats itself from several starts, and chooses by examples that it does not report on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from book.finding import Finding, shown
from book.run import Chapter, Run
from core.data.drawn import drawn_digits
from core.data.mnist import Images
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Flatten, Linear, ReLU, Sequential
from core.ops import Array
from core.optim import SGD
from core.training import evaluate, train_epoch

WIDTHS = (5, 20, 80)


def run(run: Run) -> Iterator[Finding]:
    """Does a wider layer need fewer passes?"""
    data, test = drawn_digits(500, [run.seed, 1]), drawn_digits(500, [run.seed, 2])
    passes, starts = run.pick(20, 4), run.pick(5, 2)
    curves = {}
    for width in WIDTHS:
        run.progress(f"width {width}")
        accuracies = np.array([learn(run, width, start, passes, data, test) for start in range(starts)])
        curves[f"{width} wide"] = accuracies.mean(axis=0)
        low, high = accuracies[:, -1].min(), accuracies[:, -1].max()
        yield shown(
            f"{width} wide: accuracy after {passes} passes, mean of {starts} starts", accuracies[:, -1].mean(), ".1%"
        )
        yield shown("from the worst start to the best", f"{low:.1%} to {high:.1%}")
    draw(run, curves)


def learn(run: Run, width: int, start: int, passes: int, data: Images, test: Images) -> list[float]:
    """Return the test accuracy after each pass."""
    rng = run.rng(width, start)
    layers = (Linear(784, width, rng=rng, dtype=np.float32), Linear(width, 10, rng=rng, dtype=np.float32))
    model = Sequential(Flatten(), layers[0], ReLU(), layers[1])
    optimiser = SGD(model.parameters(), lr=0.05)
    accuracies = []
    for _ in range(passes):
        train_epoch(model, data, cross_entropy, optimiser, 20, rng)
        accuracies.append(evaluate(model, test, cross_entropy, correct_classes).accuracy)
    return accuracies


def draw(run: Run, series: dict[str, Array]) -> None:
    from book.pictures import curves

    percent = {name: (100 * accuracies).tolist() for name, accuracies in series.items()}
    run.save("widths", curves(percent, xlabel="pass", ylabel="test accuracy, %"))


CHAPTER = Chapter(16, "a question of your own (copy this one)", run)
