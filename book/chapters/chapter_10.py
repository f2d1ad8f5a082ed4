"""Chapter 10: small kernels that look everywhere, against units that each look at one fixed picture."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from book.chapters import chapter_09
from book.chapters.digits import Build, Curve, Digits, Recipe, choose, draw_learning, follow, load_digits
from book.finding import Finding, at_least, exact, shown
from book.run import Chapter, Run
from core.data.mnist import DIGITS, SIDE
from core.losses import cross_entropy
from core.nn import Conv2d, Dropout, Flatten, KernelPool, Linear, MaxPool2d, Module, Sequential, Tanh
from core.tasks.mnist import as_channel
from core.tensor import Tensor, as_tensor

KERNELS, SIZE = 16, 3
WIDTHS = (1.0, 3.0, 10.0)
RATES = (0.005, 0.01, 0.02)
BATCHES = (20, 100)
DENSE_RATES = (0.02, 0.05, 0.1)
PIXELS_DROPPED = 0.2
EVERY = 5, 1  # passes from one look at the test part to the next, in full and in the quick form
SETTLED = 10  # passes after which the accuracy should not collapse any more


def run(run: Run) -> Iterator[Finding]:
    yield from shapes()
    digits = load_digits(run)
    width = yield from choose_width(run, digits)
    setting = yield from choose_setting(run, digits, width)
    recipe = convolutional(width, *setting)
    passes = run.pick(300, 4)
    convolution = follow(run, digits, recipe, passes, name="convolution", stream=2, every=run.pick(*EVERY))
    yield from how_well(convolution, run.pick(*EVERY))
    yield from against_dense(run, digits, convolution, setting[1])
    yield from variants(run, digits, recipe, width)
    draw_kernels(run, digits, convolution.model)


def shapes() -> Iterator[Finding]:
    """How many windows has an image? One more than its side minus the kernel's, each way."""
    rng = np.random.default_rng(0)
    one, sixteen = Conv2d(1, 1, SIZE, rng=rng), Conv2d(1, KERNELS, SIZE, rng=rng)
    small, full = one(np.zeros((1, 1, 8, 8))), sixteen(np.zeros((1, 1, SIDE, SIDE)))
    yield exact("side of what a 3x3 kernel makes of 8x8", small.shape[-1], 6)
    yield exact("  of 28x28", full.shape[-1], 26)
    yield exact("  positions", full.shape[-1] * full.shape[-2], 676)
    yield exact("16 kernels, flattened", Flatten()(full).shape[-1], 10_816)


def with_channel(images: Any) -> Tensor:
    """Give images the axis of channels that convolutions expect."""
    return as_tensor(as_channel(images))


def front(width: float, rng: np.random.Generator) -> list[Module]:
    """Return the layers of a convolution: some pixels dropped, 16 kernels, tanh.

    Args:
        width: how many times as wide as usual the kernels' start is spread. At 1, about two in three answers over
            the ink of MNIST's digits stay below 0.5, where tanh is nearly straight and adds little.
    """
    kernels = Conv2d(1, KERNELS, SIZE, rng=rng, dtype=np.float32)
    kernels.weight.data *= np.float32(width)
    return [Dropout(PIXELS_DROPPED, rng=rng), kernels, Tanh()]


def last_layer(inputs: int, rng: np.random.Generator) -> Linear:
    """Return the layer to ten logits, started a tenth as wide as usual, so that the network begins undecided."""
    layer = Linear(inputs, DIGITS, rng=rng, dtype=np.float32)
    layer.weight.data *= np.float32(0.1)
    return layer


def convolutional(width: float, rate: float, batch: int) -> Recipe:
    """Return the recipe: 16 kernels 3x3, tanh, dropout of half the answers, softmax."""

    def build(rng: np.random.Generator) -> Module:
        positions = (SIDE - SIZE + 1) ** 2
        flat = (Flatten(), Dropout(0.5, rng=rng), last_layer(KERNELS * positions, rng))
        return Sequential(with_channel, *front(width, rng), *flat)

    return Recipe(build, cross_entropy, rate, batch)


def choose_width(run: Run, digits: Digits) -> Generator[Finding, None, float]:
    """Choose how far apart the kernels start."""
    recipes = {f"{width:g}": convolutional(width, 0.02, 100) for width in run.pick(WIDTHS, WIDTHS[-1:])}
    chosen = yield from choose(run, digits, recipes, run.pick(40, 1), "width of the kernels' start", stream=1)
    return float(chosen)


def choose_setting(run: Run, digits: Digits, width: float) -> Generator[Finding, None, tuple[float, int]]:
    """Choose rate and batch size."""
    rates, sizes = run.pick((RATES, BATCHES), (RATES[-1:], BATCHES[:1]))
    settings = {f"{rate:g} and {size}": (rate, size) for size in sizes for rate in rates}
    recipes = {name: convolutional(width, *setting) for name, setting in settings.items()}
    chosen = yield from choose(run, digits, recipes, run.pick(60, 1), "rate and batch size", stream=1)
    return settings[chosen]


def how_well(curve: Curve, every: int) -> Iterator[Finding]:
    """How far do 16 small kernels get? The book's collapse on the way: each kernel moved along its gradient there."""
    passes = curve.passes[-1]
    yield at_least(
        f"16 kernels 3x3, tanh, dropout, softmax, {passes} passes: best on test", curve.best, 0.8818, book="88.18%"
    )
    yield at_least("  last pass on test", curve.last, 0.8774, book="87.74%")
    lowest = curve.lowest_after(SETTLED)
    yield at_least(f"  lowest on test after pass {SETTLED}, looking every {every}", lowest, 0.8, book="1% to 5%")
    yield shown("  training accuracy, dropout off to measure", curve.training[-1].accuracy, ".2%")


def against_dense(run: Run, digits: Digits, convolution: Curve, batch: int) -> Iterator[Finding]:
    """Is it the kernels? A dense network with tanh, dropout and softmax is trained alike, as many passes."""
    build: Build = chapter_09.network(Tanh(), PIXELS_DROPPED)
    recipes = {f"{rate:g}": Recipe(build, cross_entropy, rate, batch) for rate in DENSE_RATES}
    rate = yield from choose(run, digits, recipes, run.pick(60, 1), "784-100-10: rate", stream=1)
    passes = convolution.passes[-1]
    dense = follow(run, digits, recipes[rate], passes, name="784-100-10", stream=2, every=run.pick(*EVERY))
    yield shown(f"784-100-10 with the same dropout and batches, {passes} passes: best on test", dense.best, ".2%")
    yield shown("  last pass on test", dense.last, ".2%")
    yield at_least("last pass: convolution minus dense", convolution.last - dense.last, 0.0)
    for name, curve in (("convolution", convolution), ("dense", dense)):
        count = sum(parameter.size for parameter in curve.model.parameters())
        yield shown(f"numbers to learn: {name}", count, ",d")
    series = {"convolution": convolution.accuracies, "dense": dense.accuracies}
    ylabel = "accuracy on test (share right)"
    draw_learning(run, "convolution-or-dense", series, passes=convolution.passes, ylabel=ylabel)


def variants(run: Run, digits: Digits, recipe: Recipe, width: float) -> Iterator[Finding]:
    """What do pooling and a second convolution add? Same rate, batch size and start; fewer passes."""

    def pooled(rng: np.random.Generator) -> Module:
        flat = (Flatten(), Dropout(0.5, rng=rng), last_layer(KERNELS * 13 * 13, rng))
        return Sequential(with_channel, *front(width, rng), MaxPool2d(2), *flat)

    def across(rng: np.random.Generator) -> Module:
        flat = (Flatten(), Dropout(0.5, rng=rng), last_layer(26 * 26, rng))
        return Sequential(with_channel, *front(width, rng), KernelPool("max"), *flat)

    def deeper(rng: np.random.Generator) -> Module:
        second = (Conv2d(KERNELS, 2 * KERNELS, SIZE, rng=rng, dtype=np.float32), Tanh(), MaxPool2d(2))
        flat = (Flatten(), Dropout(0.5, rng=rng), last_layer(2 * KERNELS * 5 * 5, rng))
        return Sequential(with_channel, *front(width, rng), MaxPool2d(2), *second, *flat)

    builds: dict[str, Build] = {
        "no pooling": recipe.build,
        "largest of the kernels at each position": across,
        "largest of each 2x2": pooled,
        "the same, and a second convolution": deeper,
    }
    passes = run.pick(60, 1)
    for name, build in builds.items():
        tried = Recipe(build, recipe.loss, recipe.rate, recipe.batch_size)
        curve = follow(run, digits, tried, passes, name=name, stream=3, every=run.pick(20, 1))
        when = run.pick(f"{passes} passes", "1 pass")
        yield shown(f"{name}: test accuracy after {when}", curve.last, ".2%")


def draw_kernels(run: Run, digits: Digits, model: Module) -> None:
    """Draw the kernels, what each makes of one image, and where one answers most."""
    from book.pictures.kernels import kernel_maps, kernel_pictures, strongest_picture

    kernels = next(layer for layer in model.modules() if isinstance(layer, Conv2d))
    run.save("kernels", kernel_pictures(kernels))
    run.save("kernel-maps", kernel_maps(kernels, digits.test.images[0]))
    run.save("strongest-answers", strongest_picture(kernels, digits.test.images[:100], kernel=0))


CHAPTER = Chapter(10, "convolution: the same few weights at every place", run)
