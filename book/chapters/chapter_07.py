"""Chapter 7: one network, seen as nodes, as boxes with shapes, as a formula and as code."""

from __future__ import annotations

from collections.abc import Iterator

from book.chapters.chapter_06 import deep
from book.chapters.small_networks import errors_row_by_row
from book.data.toys import streetlights_deep
from book.finding import Finding, shown
from book.run import Chapter, Run
from core.data.drawn import drawn_digits
from core.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, Tanh
from core.ops import Array


def run(run: Run) -> Iterator[Finding]:
    """What is there to see of a network, and what can be left out?"""
    from book.pictures import code, draw_nodes, draw_strips, formula, infer_shape

    lamps, walk = streetlights_deep()
    model = deep(ReLU())
    errors_row_by_row(model, lamps, walk, lr=0.2, passes=60)
    yield shown("streetlights, as a formula", formula(model))
    yield shown("as code", " ".join(code(model).split()))
    rows, columns = infer_shape(3, 4)
    yield shown("between 3 and 4 nodes the matrix has the shape", f"{rows} x {columns}")
    run.save("nodes", draw_nodes(model, lamps[0]))
    run.save("strips", draw_strips(model, lamps[0]))
    for name, bigger, example in larger(run):
        yield shown(f"{name}, as a formula", formula(bigger))
        run.save(f"strips-{name}", draw_strips(bigger, example))
    run.save("nodes-perceptron", draw_nodes(perceptron(run)))


def perceptron(run: Run) -> Sequential:
    rng = run.rng(0)
    return Sequential(Flatten(), Linear(784, 40, rng=rng), ReLU(), Linear(40, 10, rng=rng))


def larger(run: Run) -> Iterator[tuple[str, Module, Array]]:
    """Yield names, models that are too large to draw node by node, and something to show them."""
    digit = drawn_digits(1, [run.seed, 1]).images[0]
    yield "perceptron", perceptron(run), digit
    rng = run.rng(1)
    kernels = Conv2d(1, 16, 3, rng=rng)
    layers = (kernels, Tanh(), MaxPool2d(2), Flatten(), Linear(16 * 13 * 13, 10, rng=rng))
    yield "convolutional", Sequential(*layers), digit[None]


CHAPTER = Chapter(7, "one network, seen in four ways", run)
