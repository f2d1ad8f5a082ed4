"""Chapter 9: activations for the middle of a network and for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from book.chapters.digits import Build, Digits, Recipe, choose, draw_learning, follow, load_digits, squared_error
from book.data.vocabulary import one_hot
from book.finding import Finding, at_least, at_most, exact, shown
from book.run import Chapter, Run
from core.data.mnist import DIGITS, SIDE
from core.losses import cross_entropy, mse
from core.nn import Dropout, Flatten, Hardtanh, LeakyReLU, Linear, Module, ReLU, Sequential, Sigmoid, Softmax, Tanh
from core.nn.activations import Properties, examine
from core.tensor import Tensor

HIDDEN = 100
BATCH = 100
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": ReLU(),
    "leaky relu": LeakyReLU(0.1),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "hard tanh": Hardtanh(),
    "x times x": lambda inputs: inputs * inputs,
}
SCORES = (1.0, 2.0, 3.0, 4.0)
TEMPERATURES = (0.5, 1.0, 2.0, 10.0)
PIXELS_DROPPED = (0.0, 0.2, 0.4, 0.6)
RATES = (0.02, 0.05, 0.1, 0.2)


def run(run: Run) -> Iterator[Finding]:
    yield from properties()
    yield from one_large_logit()
    yield from temperatures()
    draw_activations(run)
    digits = load_digits(run)
    yield from hidden_tanh(run, digits)
    yield from sigmoid_or_softmax(run, digits)


def properties() -> Iterator[Finding]:
    """What makes a function a good activation? Defined everywhere, monotonic, nonlinear, and cheap."""
    for name, activation in ACTIVATIONS.items():
        found = examine(activation)
        yield shown(f"{name} is {in_words(found)}; exponentials for each number", str(found.exponentials))
    square, double = examine(ACTIVATIONS["x times x"]), examine(lambda inputs: inputs * 2.0)
    yield at_most("x times x is monotonic (1 yes, 0 no)", square.monotonic, 0, ".0f", "0", anywhere=True)
    yield at_most("2 x is nonlinear (1 yes, 0 no)", double.nonlinear, 0, ".0f", anywhere=True)


def in_words(found: Properties) -> str:
    """Say which of the properties a function has."""
    words = {
        "defined everywhere": found.defined_everywhere,
        "monotonic": found.monotonic,
        "nonlinear": found.nonlinear,
        "cheap": found.cheap,
    }
    return ", ".join(word if true else f"not {word}" for word, true in words.items())


def one_large_logit() -> Iterator[Finding]:
    """Nine numbers 0 and one 100, and the last is right: what is there to learn?"""
    logits, target = Tensor([0.0] * 9 + [100.0]), one_hot(9, DIGITS)
    yield exact("logits nine 0, one 100: squared error of sigmoids", mse(logits.sigmoid(), target, "sum").item(), 2.25)
    yield exact("  squared error of softmax", mse(logits.softmax(), target, "sum").item(), 0, ".2g")


def temperatures() -> Iterator[Finding]:
    """How sure of itself should softmax be? A temperature, or another base than e, decides."""
    for temperature in TEMPERATURES:
        probabilities = Softmax(temperature)(np.array(SCORES)).data
        base = np.exp(1 / temperature)
        what = f"softmax of 1, 2, 3, 4, temperature {temperature:g} (base {base:.3g}): share of the 4"
        yield shown(what, float(probabilities[-1]), ".4f")
    of_powers = Softmax(1 / np.log(2))(np.array(SCORES)).data[-1]
    yield shown("  at temperature 1/ln 2 the base is 2: 16 of 2 + 4 + 8 + 16", float(of_powers), ".4f")


def network(activation: Module, pixels_dropped: float = 0.0, last: Module | None = None) -> Build:
    """Return what makes a network 784 - 100 - 10 in which dropout switches half of the hidden units off.

    Args:
        pixels_dropped: share of the pixels that dropout sets to 0 while training.
        last: the activation of the outputs; none if they are logits.
    """

    def build(rng: np.random.Generator) -> Module:
        layers: list[Module] = [
            Flatten(),
            Dropout(pixels_dropped, rng=rng),
            Linear(SIDE * SIDE, HIDDEN, rng=rng, dtype=np.float32),
            activation,
            Dropout(0.5, rng=rng),
            Linear(HIDDEN, DIGITS, rng=rng, dtype=np.float32),
        ]
        return Sequential(*layers, *([] if last is None else [last]))

    return build


def hidden_tanh(run: Run, digits: Digits) -> Iterator[Finding]:
    """How far do tanh in the middle, softmax at the end and dropout get with 1,000 images?"""
    passes = run.pick(300, 6)
    rates = {f"{rate:g}": Recipe(network(Tanh()), cross_entropy, rate, BATCH) for rate in RATES}
    rate = yield from choose(run, digits, rates, passes, "tanh and softmax: rate", stream=1)
    shares = {
        f"{share:g}": Recipe(network(Tanh(), share), cross_entropy, float(rate), BATCH) for share in PIXELS_DROPPED
    }
    share = yield from choose(run, digits, shares, passes, "share of pixels dropped", stream=1)
    plain = follow(run, digits, rates[rate], passes, name="tanh, softmax, dropout of units", stream=1)
    curve = follow(run, digits, shares[share], passes, name="tanh, softmax, dropout of units and pixels", stream=1)
    yield shown(
        f"784-100-10, tanh, softmax, dropout of units, {passes} passes: best on test", plain.best, ".2%", "87.03%"
    )
    yield shown("  last pass on test", plain.last, ".2%", "87.01%")
    yield at_least("the same, with dropout of pixels too: best on test", curve.best, 0.8703, book="87.03%")
    yield at_least("  last pass on test", curve.last, 0.8701, book="87.01%")
    yield shown("  training accuracy, dropout off to measure", curve.training[-1].accuracy, ".2%")
    series = {
        "training, units dropped": plain.training_accuracies,
        "test, units dropped": plain.accuracies,
        "training, pixels dropped too": curve.training_accuracies,
        "test, pixels dropped too": curve.accuracies,
    }
    draw_learning(run, "learning-curves", series)


def sigmoid_or_softmax(run: Run, digits: Digits) -> Iterator[Finding]:
    """Which end suits one of ten answers? Each is trained at the rate that suits it, from the same start."""
    passes, series = run.pick(100, 4), {}
    ends: dict[str, tuple[Build, Callable[..., Tensor], tuple[float, ...]]] = {
        "sigmoid, squared error": (network(Tanh(), last=Sigmoid()), squared_error, (0.2, 0.5, 1.0, 2.0)),
        "softmax, cross entropy": (network(Tanh()), cross_entropy, (0.02, 0.05, 0.1, 0.2)),
    }
    for name, (build, loss, rates) in ends.items():
        recipes = {f"{rate:g}": Recipe(build, loss, rate, BATCH) for rate in rates}
        rate = yield from choose(run, digits, recipes, passes, f"{name}: rate", stream=2)
        curve = follow(run, digits, recipes[rate], passes, name=name, stream=2)
        when = run.pick("10 passes", "1 pass")
        yield shown(f"{name}: accuracy on test after {when}", curve.accuracies[run.pick(9, 0)], ".2%")
        yield shown(f"  after {passes}", curve.last, ".2%")
        series[name] = curve.accuracies
    draw_learning(run, "sigmoid-or-softmax", series, ylabel="accuracy on test (share right)")


def draw_activations(run: Run) -> None:
    from book.pictures.activations import activation_curves, softmax_bars  # only here: matplotlib takes long to import

    run.save("activations", activation_curves(ACTIVATIONS))
    run.save("softmax-temperature", softmax_bars(SCORES, TEMPERATURES))


CHAPTER = Chapter(9, "activations: what makes a good one, and what goes at the end", run)
