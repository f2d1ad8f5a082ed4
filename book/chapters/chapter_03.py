"""Chapter 3: predictions as weighted sums, for one and several inputs and outputs, and stacked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from book.chapters.small_networks import exact_all, linear
from book.data.toys import baseball
from book.finding import Finding, exact
from book.run import Chapter, Run
from core.nn import Sequential
from core.tensor import Tensor

ROWS = [[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]


VECTORS = {"a": [0, 1, 0, 1], "b": [1, 0, 1, 0], "c": [0, 1, 1, 0], "d": [0.5, 0, 0.5, 0], "e": [0, 1, -1, 0]}


def run(run: Run) -> Iterator[Finding]:
    yield from weighted_sums()
    yield from similarities()
    draw(run)


def weighted_sums() -> Iterator[Finding]:
    """What does a network without any training predict for the first game?"""
    game = baseball().inputs[0]
    toes, wins = game[:2]
    yield exact("one input: weight 0.1 times the toes", linear([[0.1]])([[toes]]).item(), 0.85)
    yield exact("three inputs, one output", (Tensor(game) @ np.array([0.1, 0.2, 0])).item(), 0.98)
    yield from exact_all("one input, three outputs", (Tensor([0.3, 0.2, 0.9]) * wins).data, [0.195, 0.13, 0.585])
    yield from exact_all("three inputs, three outputs", (Tensor(ROWS) @ game).data, [0.555, 0.98, 0.965])
    yield from exact_all("two layers", two_layers()(game).data, [0.2135, 0.145, 0.5065])


def two_layers() -> Sequential:
    hidden = linear(np.transpose([[0.1, 0.2, -0.1], [-0.1, 0.1, 0.9], [0.1, 0.4, 0.1]]))
    output = linear(np.transpose([[0.3, 1.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]))
    return Sequential(hidden, output)


def similarities() -> Iterator[Finding]:
    """What does a dot product say of two vectors? It is large where both are."""
    a, b, c, d, e = np.array(list(VECTORS.values()))
    pairs = {"a·b": (a @ b, 0), "b·c": (b @ c, 1), "b·d": (b @ d, 1), "c·c": (c @ c, 2), "d·d": (d @ d, 0.5)}
    for name, (value, book) in (pairs | {"c·e": (c @ e, 0)}).items():
        yield exact(f"how alike: {name}", float(value), book)


def draw(run: Run) -> None:
    """Draw the two layers at work on the first game, and the dot products of all pairs of vectors."""
    from book.pictures import draw_nodes
    from book.pictures.heat import show_signed, write_numbers
    from book.pictures.style import new_figure, style

    title = "Two layers: what each makes of the first game"
    run.save("two-layers", draw_nodes(two_layers(), baseball().inputs[0], title=title))
    vectors = np.array(list(VECTORS.values()))
    with style():
        figure = new_figure(6.4, 3.7, "How alike: dot products")
        axes = figure.subplots()
        table = vectors @ vectors.T
        image = show_signed(axes, table)
        write_numbers(axes, table, np.abs(table).max(), "{:g}")
        names = [
            f"{name} = ({', '.join(f'{entry:g}' for entry in vector)})"
            for name, vector in zip(VECTORS, vectors, strict=True)
        ]
        axes.set_xticks(range(len(names)), list(VECTORS))
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        figure.colorbar(image, ax=axes, label="dot product", fraction=0.04)
    run.save("similarities", figure)


CHAPTER = Chapter(3, "predicting with weighted sums", run)
