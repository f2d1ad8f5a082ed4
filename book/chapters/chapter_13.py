"""Chapter 13: building a framework. Automatic gradients, layers, losses, and a network that reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from book.chapters.babi_lines import Words, ceiling, numbered, read_lines
from book.chapters.sentence_models import LastWord, LastWords
from book.chapters.small_networks import exact_all, linear
from book.data.toys import FloatArray
from book.data.vocabulary import PADDING
from book.finding import Finding, at_least, at_most, exact, shown
from book.gradient_check import gradient_gap
from book.run import Chapter, Run
from core.losses import cross_entropy, mse
from core.metrics import correct_classes
from core.nn import Embedding, Module, Sequential, Sigmoid, Tanh
from core.optim import SGD
from core.tensor import Tensor
from core.training import evaluate, train_epoch

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
TARGETS = np.array([[0], [1], [0], [1]], float)
FIRST = [[0.74159174, 1.55291372, -2.2683282], [1.33354538, -0.84272405, 1.96992445]]
SECOND = [[-0.08427784], [0.33525233], [0.11761108]]
LENGTH = 6
UPDATES = 1_000
RATE = 0.5


def run(run: Run) -> Iterator[Finding]:
    yield from gradients_add_up()
    yield from derivative_of_a_formula()
    yield from gradients_agree_with_differences(run)
    yield from four_small_networks()
    yield from foretell_last_words(run)


# --- Gradients by themselves ---


def gradients_add_up() -> Iterator[Finding]:
    """Does a number that is used twice get both gradients?"""
    for sign, book in ((1.0, 2.0), (-1.0, -2.0)):
        a, b, c = (Tensor(np.arange(1.0, 6.0), requires_grad=True) for _ in range(3))
        ((a + b * sign) + (b * sign + c)).backward(np.ones(5))
        assert b.grad is not None
        yield exact(f"(a {'+-'[sign < 0]} b) + ({'-' * (sign < 0)}b + c): gradient of b", float(b.grad[0]), book)
    table = Tensor(np.eye(5), requires_grad=True)
    table.index_select([[1, 2, 3], [2, 3, 4]]).sum().backward()
    assert table.grad is not None
    yield from exact_all("rows 1, 2, 3 and 2, 3, 4 looked up: gradient of row", table.grad[:, 0], [0, 1, 2, 2, 1])
    grid = Tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    yield from exact_all("[[1, 2, 3], [4, 5, 6]] summed over rows", grid.sum(axis=0).data, [5, 7, 9])
    yield from exact_all("over columns", grid.sum(axis=1).data, [6, 15])
    copies = float(np.abs(grid.stack_copies(2, 4).data - grid.data[:, :, None]).max())
    yield exact("each entry copied four times along a new axis: largest difference", copies, 0)


def derivative_of_a_formula() -> Iterator[Finding]:
    """What is the derivative of sqrt((beta * gamma)² + (eps + 22 - x)) by each variable?

    With beta 2, gamma 3, eps 1 and x 10 the root is of 36 + 13, which is 7. The derivative by beta is
    beta * gamma² / 7, by gamma beta² * gamma / 7, by eps 1 / 14, and by x the opposite.
    """
    beta, gamma, eps, x = (Tensor(value, requires_grad=True) for value in (2.0, 3.0, 1.0, 10.0))
    root = ((beta * gamma) ** 2 + (eps + 22 - x)).sqrt()
    root.backward()
    yield shown("sqrt((beta gamma)² + (eps + 22 - x)) at 2, 3, 1, 10", root.item())
    by_hand = {"beta": (beta, 18 / 7), "gamma": (gamma, 12 / 7), "eps": (eps, 1 / 14), "x": (x, -1 / 14)}
    for name, (variable, value) in by_hand.items():
        assert variable.grad is not None
        gap = abs(float(variable.grad) - value)
        yield at_most(
            f"derivative by {name} is {float(variable.grad):.6f}; by hand, apart", gap, 1e-12, ".1g", anywhere=True
        )


def gradients_agree_with_differences(run: Run) -> Iterator[Finding]:
    """Do gradients agree with what happens when a weight is moved a little up and down?"""
    model = LastWord(7, 4, rng=run.rng(0))
    numbers, targets = LastWords(run.rng(1).integers(0, 7, (5, LENGTH))).batch(np.arange(5))

    def compute() -> Tensor:
        return cross_entropy(model(numbers), targets)

    named = "embedding, recurrent layer, linear layer, cross entropy: largest gap between gradient and difference"
    yield at_most(named, gradient_gap(compute, model.parameters()), 1e-8, ".1g", anywhere=True)


# --- The same networks from layers ---


def four_small_networks() -> Iterator[Finding]:
    """Do the framework's layers, losses and optimiser learn just as the book's do?"""
    model = Sequential(
        linear([[0.71518937, 0.60276338, 0.54488318], [0.4236548, 0.64589411, 0.43758721]]),
        linear([[0.05671298], [0.27265629], [0.47766512]]),
    )
    book = [0.58128304, 0.48988149, 0.41375111, 0.34489412, 0.28210124]
    book += [0.2254484, 0.17538853, 0.1324231, 0.09682769, 0.06849361]
    yield from exact_all("2-3-1 linear, rate 0.1: summed error before step", summed_errors(model, 0.1), book, ".7g")

    model = Sequential(linear(FIRST, bias=True), linear(SECOND, bias=True))
    book = [2.33428272, 0.06743796, 0.0521849, 0.04079507, 0.03184365]
    book += [0.02479336, 0.01925443, 0.01491699, 0.01153118, 0.00889602]
    yield from exact_all("with biases, rate 0.05", summed_errors(model, 0.05), book, ".7g")

    model = Sequential(linear(FIRST, bias=True), Tanh(), linear(SECOND, bias=True), Sigmoid())
    book = [1.06372865, 0.75148144, 0.57384259, 0.39574294, 0.2482279]
    book += [0.15515294, 0.10423398, 0.07571169, 0.05837623, 0.04700013]
    yield from exact_all("tanh and sigmoid between, rate 1", summed_errors(model, 1), book, ".7g")

    book = [1.3885032, 0.9558182, 0.6823084, 0.509526, 0.3957449]
    book += [0.3175253, 0.2617223, 0.2206128, 0.1894643, 0.1652739]
    yield from exact_all("embedding, tanh, linear, cross entropy", word_errors(), book, ".7g")


def summed_errors(model: Module, lr: float) -> list[float]:
    """Return the summed squared error before each of ten steps on its gradient."""
    return losses(model, lambda: mse(model(INPUTS), TARGETS, "sum"), lr)


def word_errors() -> list[float]:
    """Return the mean cross entropy before each of ten steps. The book sums gradients over four rows: rate 4 x 0.1."""
    table = Embedding(3, 3, rng=np.random.default_rng(0))
    table.weight.data[...] = [
        [0.07172979, 0.03425445, 0.01496106],
        [-0.0254484, 0.04863137, -0.02080426],
        [0.130591, 0.15455425, -0.03885283],
    ]
    start: FloatArray = np.array(
        [
            [-0.07158476, 1.11605233, 0.91881512, -0.29311864],
            [0.99662234, -1.09369354, 0.34976539, -0.10080724],
            [1.15483414, -0.10128694, 1.6396534, 0.18770157],
        ]
    )
    model = Sequential(table, Tanh(), linear(start, bias=True))
    return losses(model, lambda: cross_entropy(model([1, 2, 1, 2]), [0, 1, 0, 1]), 0.4)


def losses(model: Module, compute: Callable[[], Tensor], lr: float) -> list[float]:
    """Take ten steps; return the loss before each."""
    optimiser = SGD(model.parameters(), lr)
    seen = []
    for _ in range(10):
        loss = compute()
        seen.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return seen


# --- A network that reads ---


def foretell_last_words(run: Run) -> Iterator[Finding]:
    """Can a recurrent network foretell the sixth word of a line from the five before it, as far as anyone can?"""
    lines = [padded(line) for line in read_lines(run)]
    numbers = numbered([*lines, (PADDING,)])
    data = LastWords(np.array([[numbers[word] for word in line] for line in lines]))
    first = data.numbers[:100]
    if run.data is not None:
        yield exact("words, padding among them", len(numbers), 83)
    best = ceiling((line[:-1], line[-1]) for line in lines[:100])
    yield shown("first 100 lines: best possible accuracy", best.accuracy, ".3f", "0.37")
    yield from _learn(run, LastWords(first), len(numbers), best.accuracy, best.loss)
    best = ceiling((line[:-1], line[-1]) for line in lines)
    yield shown(f"all {len(lines):,} lines: best possible accuracy", best.accuracy, ".3f")
    yield shown("least possible cross entropy", best.loss, ".4f")


def padded(line: Words) -> Words:
    """Fill a line up at its beginning, so that its last word is the sixth."""
    return (PADDING,) * (LENGTH - len(line)) + line


def _learn(run: Run, data: LastWords, words: int, best: float, least: float) -> Iterator[Finding]:
    model = LastWord(words, rng=run.rng(2))
    optimiser = SGD(model.parameters(), RATE)
    accuracies, entropies = [], []
    for update in range(1, run.pick(UPDATES, 300) + 1):
        train_epoch(model, data, cross_entropy, optimiser, len(data), run.rng(3))
        measured = evaluate(model, data, cross_entropy, correct_classes)
        accuracies.append(measured.accuracy)
        entropies.append(measured.mean_loss)
        if update % 100 == 0:
            run.progress(f"update {update}: accuracy {measured.accuracy:.2f}")
    reached = int(np.argmax(np.array(accuracies) >= best)) + 1 if max(accuracies) >= best else None
    yield at_least(f"accuracy after {len(accuracies):,} updates", accuracies[-1], 0.37, ".3f", "0.37")
    yield shown("update after which it is the best possible", str(reached or "not reached"))
    yield at_least("cross entropy, never below the least possible", min(entropies), least, ".4f", anywhere=True)
    draw(run, accuracies, entropies, best, least)


def draw(run: Run, accuracies: list[float], entropies: list[float], best: float, least: float) -> None:
    """Draw how close learning comes to what is possible."""
    from book.pictures.curves import curves

    for name, series, ylabel in (
        ("accuracy", {"network": accuracies, "best possible": [best] * len(accuracies)}, "accuracy (share right)"),
        ("entropy", {"network": entropies, "least possible": [least] * len(entropies)}, "cross entropy (nats)"),
    ):
        run.save(f"last-words-{name}", curves(series, "update (all 100 lines)", ylabel))


CHAPTER = Chapter(13, "building a framework: gradients, layers, and a network that reads", run)
