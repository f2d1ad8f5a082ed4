"""Chapter 3: predictions as weighted sums, for one and several inputs and outputs, and stacked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.data.toys import baseball
from core.nn import Sequential
from core.tensor import Tensor
from experiments.chapters.small_networks import exact_all, linear
from experiments.finding import Finding, exact
from experiments.run import Chapter, Run

ROWS = [[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]


def run(_run: Run) -> Iterator[Finding]:
    yield from weighted_sums()
    yield from similarities()


def weighted_sums() -> Iterator[Finding]:
    """What does a network without any training predict for the first game?"""
    game = baseball().inputs[0]
    toes, wins = game[:2]
    yield exact("one input: weight 0.1 times the toes", linear([[0.1]])([[toes]]).item(), 0.85)
    yield exact("three inputs, one output", (Tensor(game) @ np.array([0.1, 0.2, 0])).item(), 0.98)
    yield from exact_all("one input, three outputs", (Tensor([0.3, 0.2, 0.9]) * wins).data, [0.195, 0.13, 0.585])
    yield from exact_all("three inputs, three outputs", (Tensor(ROWS) @ game).data, [0.555, 0.98, 0.965])
    hidden = linear(np.transpose([[0.1, 0.2, -0.1], [-0.1, 0.1, 0.9], [0.1, 0.4, 0.1]]))
    output = linear(np.transpose([[0.3, 1.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]))
    yield from exact_all("two layers", Sequential(hidden, output)(game).data, [0.2135, 0.145, 0.5065])


def similarities() -> Iterator[Finding]:
    """What does a dot product say of two vectors? It is large where both are."""
    a, b, c, d, e = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 1, 0], [0.5, 0, 0.5, 0], [0, 1, -1, 0]])
    pairs = {"a·b": (a @ b, 0), "b·c": (b @ c, 1), "b·d": (b @ d, 1), "c·c": (c @ c, 2), "d·d": (d @ d, 0.5)}
    for name, (value, book) in (pairs | {"c·e": (c @ e, 0)}).items():
        yield exact(f"how alike: {name}", float(value), book)


CHAPTER = Chapter(3, "predicting with weighted sums", run)
