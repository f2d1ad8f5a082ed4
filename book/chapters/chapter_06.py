"""Chapter 6: streetlights. One layer learns what correlates; two layers with a gate make correlation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from book.chapters.small_networks import errors, errors_row_by_row, exact_all, linear
from book.data.toys import FloatArray, streetlights, streetlights_deep
from book.finding import Finding, at_least, at_most, exact, shown
from book.run import Chapter, Run
from core.nn import LeakyReLU, Linear, Module, ReLU, Sequential

START = [[0.5], [0.48], [-0.7]]
LEARNED = 0.01
"""A summed error below this means that all rows are answered right."""


def run(run: Run) -> Iterator[Finding]:
    yield from one_layer()
    yield from steps_or_batches(run)
    yield from deceived_by_one_row()
    yield from two_layers()
    yield from which_starts_learn(run)
    draw(run)


def one_layer() -> Iterator[Finding]:
    """Can three weights learn when people walk?"""
    lamps, walk = streetlights()
    first = errors(linear(START), lamps[:1], walk[:1], lr=0.1, steps=20)
    yield exact("first row alone: error of step 20", first[-1], 8.307675e-06, ".7g")
    model = linear(START)
    passes = errors_row_by_row(model, lamps, walk, lr=0.1, passes=40)
    for number, book in ((1, 2.6561231104), (2, 0.9628701777)):
        yield exact(f"six rows, one at a time: summed error of pass {number}", passes[number - 1], book)
    yield exact("summed error of pass 40", passes[-1], 0.0005337368, ".7g")
    yield shown("weights then", ", ".join(f"{weight:.3f}" for weight in model.weight.data[:, 0]), book="near 0, 1, 0")


def steps_or_batches(run: Run) -> Iterator[Finding]:
    """One row at a time, some, or all rows a step: what is learned per pass?"""
    lamps, walk = streetlights()
    one, some, full = linear(START), linear(START), linear(START)
    errors_row_by_row(one, lamps, walk, lr=0.1, passes=40)
    for _ in range(40):
        for rows in np.array_split(run.rng(0).permutation(6), 2):
            errors(some, lamps[rows], walk[rows], lr=0.1 / len(rows), steps=1)
    errors(full, lamps, walk, lr=0.1 / len(lamps), steps=40)
    for name, model in (("one row", one), ("three rows", some), ("all six", full)):
        left = errors(model, lamps, walk, lr=0.1, steps=1)[0]
        yield shown(f"summed error after 40 passes, {name} a step, mean update", left, ".2g")


def deceived_by_one_row() -> Iterator[Finding]:
    """Can the error be 0 with nothing understood? Yes: with weights 0.5, anything, -0.5 the first row sums to 0."""
    lamps, walk = streetlights()
    model = linear([[0.5], [0.9], [-0.5]])
    yield exact("weights 0.5, 0.9, -0.5: error of the first row", errors(model, lamps[:1], walk[:1], 0.1, 1)[0], 0.0)
    yield shown("error of all six", errors(model, lamps, walk, 0.1, 1)[0], ".4g")


def two_layers() -> Iterator[Finding]:
    """What can two layers learn that one cannot, and what does the gate between them do?"""
    lamps, walk = streetlights_deep()
    seen = errors_row_by_row(deep(ReLU()), lamps, walk, lr=0.2, passes=60)
    book = [0.6342311598, 0.3583840768, 0.0830183113, 0.0064670550, 0.0003292669]
    yield from exact_all("relu, four rows: summed error after 10, 20 ... 50 passes", seen[9:-10:10], book)
    yield exact("after 60", seen[-1], 1.50556e-05, digits=6)
    least = min(errors(deep(), lamps, walk, lr=0.05, steps=1_000))
    yield at_least("without the gate: least summed error of 1,000 steps", least, 1 - 1e-9, ".6g", anywhere=True)
    first, second = (layer.weight.data for layer in deep().layers if isinstance(layer, Linear))
    gap = np.abs(deep()(lamps).data - lamps @ (first @ second)).max()
    yield at_most(
        "two layers without it against one with the product of their weights: largest gap",
        gap,
        1e-12,
        ".1g",
        anywhere=True,
    )


def deep(*activation: Module) -> Sequential:
    """Return 3 - 4 - 1 with the book's start, which comes from NumPy's legacy generator."""
    legacy = np.random.RandomState(1)
    first, second = 2 * legacy.random_sample((3, 4)) - 1, 2 * legacy.random_sample((4, 1)) - 1
    return Sequential(linear(first), *activation, linear(second))


def which_starts_learn(run: Run) -> Iterator[Finding]:
    """How often does a random start end with units that are off for good?"""
    starts = run.pick(100, 3)
    shares = {
        "relu, 4 units, uniform start (the book's)": _share_learned(run, starts, 4, ReLU, _uniform),
        "relu, 16 units, uniform start": _share_learned(run, starts, 16, ReLU, _uniform),
        "relu, 4 units, N(0, 2/n) start": _share_learned(run, starts, 4, ReLU, _normal),
        "leaky relu, 16 units, N(0, 2/n) start": _share_learned(run, starts, 16, lambda: LeakyReLU(0.1), _normal),
    }
    *others, best = shares.items()
    for name, share in others:
        yield shown(f"{name}: starts that learn all four rows", share, ".0%")
    yield at_least(f"{best[0]}: starts that learn all four rows", best[1], 1.0, ".0%", anywhere=True)


Start = Callable[[np.random.Generator, tuple[int, int]], FloatArray]


def _uniform(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    return 2 * rng.random(shape) - 1


def _normal(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    start: FloatArray = rng.standard_normal(shape) * np.sqrt(2 / shape[0])
    return start


def _share_learned(run: Run, starts: int, hidden: int, activation: Callable[[], Module], start: Start) -> float:
    lamps, walk = streetlights_deep()
    learned = 0
    for number in range(starts):
        rng = run.rng(1, number)
        model = Sequential(linear(start(rng, (3, hidden))), activation(), linear(start(rng, (hidden, 1))))
        learned += any(errors_row_by_row(model, lamps, walk, lr=0.1, passes=20)[-1] < LEARNED for _ in range(15))
    return learned / starts


def draw(run: Run) -> None:
    """Draw which way each row pushes each weight, with correlation in the rows and without."""
    from book.pictures import pressure_table

    for name, (lamps, walk) in (("pressure", streetlights()), ("pressure-none", streetlights_deep())):
        run.save(name, pressure_table(lamps, walk[:, 0], ("left", "middle", "right")))


CHAPTER = Chapter(6, "correlation, and making it: streetlights", run)
