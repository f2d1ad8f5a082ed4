"""Chapter 5: many weights learn at once; frozen weights; what a digit's weights look like."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from book.chapters.small_networks import errors, exact_all, linear
from book.data.toys import baseball
from book.data.vocabulary import one_hot
from book.finding import Finding, at_most, shown
from book.grouping import IntArray
from book.run import Chapter, Run
from core.data.drawn import drawn_digits
from core.data.mnist import DIGITS, Images, read_mnist
from core.losses import delta_rule, mse
from core.metrics import correct_classes
from core.nn import Flatten, Linear, Sequential
from core.optim import SGD
from core.tensor import Tensor
from core.training import evaluate, train_epoch

START = [[0.1], [0.2], [-0.1]]
ROWS = [[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]


def run(run: Run) -> Iterator[Finding]:
    yield from three_weights()
    yield from unfreeze()
    yield from several_outputs()
    yield from stability()
    yield from digits(run)


def predictions(layer: Linear, lr: float, steps: int, frozen: bool = False) -> list[float]:
    """Learn to predict 1 for the first game; return the prediction before each step.

    Args:
        frozen: whether the first weight stays where it is.
    """
    optimiser = SGD(layer.parameters(), lr)
    if frozen:
        optimiser.freeze(layer.weight, 0)
    seen = []
    for _ in range(steps):
        output = layer(baseball().inputs[0])
        seen.append(output.item())
        optimiser.zero_grad()
        delta_rule(output, [1.0]).backward()
        optimiser.step()
    return seen


def three_weights() -> Iterator[Finding]:
    """How do three weights share one error? Each moves as far as its input is large."""
    free = predictions(linear(START), 0.01, 3)
    yield from exact_all("prediction of three weights, rate 0.01", free, [0.86, 0.9637575, 0.9906177228])
    frozen = predictions(linear(START), 0.3, 3, frozen=True)
    yield from exact_all("with the first weight frozen, rate 0.3", frozen, [0.86, 0.938225, 0.97274178])


def unfreeze() -> Iterator[Finding]:
    """Does a frozen weight catch up when it is let go? No: once the error is 0 nothing pulls on it."""
    layer = linear(START)
    predictions(layer, 0.3, 300, frozen=True)
    before = layer.weight.data.copy()
    predictions(layer, 0.01, 100)
    moved = float(np.abs(layer.weight.data - before).max())
    yield at_most("unfrozen after it converged: how far any weight still moves", moved, 1e-9, ".1g", anywhere=True)


def several_outputs() -> Iterator[Finding]:
    """What changes with several outputs? Every output has weights and an error of its own."""
    game, goals = baseball().inputs[:1], np.array([[0.1, 1, 0.1]])
    layer = linear([[0.3, 0.2, 0.9]])
    errors(layer, game[:, 1:2], goals, lr=0.1, steps=1)
    yield from exact_all(
        "one input, three outputs: weight after a step", layer.weight.data, [0.293825, 0.25655, 0.868475]
    )
    layer = linear(np.transpose(ROWS))
    errors(layer, game, goals, lr=0.01, steps=1)
    book = [0.061325, 0.0970425, -0.30546, 0.1017, 0.20013, 0.00024, -0.073525, 1.2943775, 0.08962]
    yield from exact_all("three inputs, three outputs: weight after a step", layer.weight.data.T, book)


def stability() -> Iterator[Finding]:
    """How large may the rate be? Below 2 / |input|², whatever the number of weights."""
    game = baseball().inputs[0]
    limit = 2 / float(game @ game)
    yield shown("largest stable rate for the first game, 2 / |input|²", limit, ".5f")
    for factor in (0.99, 1.01):
        last = predictions(linear(START), factor * limit, 500)[-1]
        yield shown(f"at {factor} of it: prediction of 1 after 500 steps", last, ".4g")


def digits(run: Run) -> Iterator[Finding]:
    """What does a layer 784 -> 10 look for in a digit? Its weights are pictures."""
    if run.data is None:
        run.say("digits are drawn by the project, not MNIST")
        data, test = drawn_digits(1000, [run.seed, 1]), drawn_digits(1000, [run.seed, 2])
    else:
        data, test = read_mnist(run.data, "train").first(1000), read_mnist(run.data, "test")
    layer = Linear(784, 10, bias=False, rng=run.rng(0), dtype=np.float32)
    layer.weight.data[...] = 0
    model = Sequential(Flatten(), layer)
    optimiser = SGD(model.parameters(), 0.1)
    for _ in range(run.pick(100, 20)):
        train_epoch(model, data, _one_hot_error, optimiser, 50, run.rng(1))
    for name, part in (("1,000 images it was trained on", data), ("test images", test)):
        sums = evaluate(model, part, _one_hot_error, correct_classes)
        yield shown(f"a linear layer tells digits apart: {name}", sums.accuracy, ".2%", "none given")
    draw(run, layer, test)


def _one_hot_error(outputs: Tensor, labels: IntArray) -> Tensor:
    return mse(outputs, one_hot(labels, DIGITS))


def draw(run: Run, layer: Linear, test: Images) -> None:
    """Draw the bowls of three weights, and the digits' weights as pictures."""
    from book.pictures import error_bowls, score_picture, weight_pictures

    run.save("weights", weight_pictures(layer))
    run.save("score", score_picture(layer, test.images[0], int(test.labels[0])))
    game = baseball().inputs[0]
    free, frozen = linear(START), linear(START)
    for name, start, rate, is_frozen in (("bowls", free, 0.005, False), ("bowls-frozen", frozen, 0.1, True)):
        path = [start.weight.data[:, 0].copy()]
        for _ in range(6):
            predictions(start, rate, 1, is_frozen)
            path.append(start.weight.data[:, 0].copy())
        figure = error_bowls(
            lambda w: float((game @ w - 1) ** 2), path, ("toes", "wins", "fans"), {0} if is_frozen else ()
        )
        run.save(name, figure)


CHAPTER = Chapter(5, "many weights learn at once", run)
