"""Chapter 12: sentences as vectors. What a sum of words forgets, and a network that reads them in their order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from book.analogies import unit_rows
from book.chapters.babi_lines import beginnings, ceiling, numbered, read_lines
from book.chapters.sentence_models import EveryNextWord, Sentences, sentence_perplexity
from book.chapters.small_networks import exact_all
from book.chapters.word_vectors import FillBlank, Reviews, bags_of, learn_by_blanks, load_reviews, make_blanks
from book.finding import Finding, at_least, at_most, exact, shown
from book.run import Chapter, Run
from core.data.characters import IntArray
from core.losses import cross_entropy
from core.metrics import correct_classes, perplexity
from core.nn import EmbeddingBag, Linear, LinearRecurrentCell, Module, nearest_rows
from core.ops import Array
from core.optim import SGD
from core.rows import sum_bags
from core.tensor import Tensor
from core.training import evaluate, train_epoch

WORDS = ("yankees", "defeat", "red", "sox")
ONE_WAY, OTHER_WAY = [0, 1, 2, 3], [2, 3, 1, 0]  # Yankees defeat Red Sox; Red Sox defeat Yankees
ASKED = (("boring", "awful"), ("beautiful", "wonderful"))
NEAREST = 50
UPDATES = 30_000
GOALS = {0.01: 3.50, 0.05: 3.42}


def run(run: Run) -> Iterator[Finding]:
    yield from sums_of_words()
    yield from knowing_nothing(run)
    yield from order_is_lost_in_bags(run)
    yield from reviews_like_words(run)
    yield from reading_word_by_word(run)


# --- Small and exact ---


def sums_of_words() -> Iterator[Finding]:
    """What does the recurrent cell make of three words before it learns? Their sum, as its transition is 1."""
    cell = LinearRecurrentCell(3)
    state = cell.initial_state(1)
    for vector in ([[2, 4, 6]], [[10, 10, 10]], [[1, 1, 1]]):
        state = cell(np.array(vector, float), state)
    yield from exact_all("[2, 4, 6], [10, 10, 10] and [1, 1, 1] read one after the other", state.data, [13, 15, 17])


def knowing_nothing(run: Run) -> Iterator[Finding]:
    """What does a model of nine words foretell with all word vectors 0?"""
    model = EveryNextWord(9, 3, rng=run.rng(0))
    model.embedding.weight.data[...] = 0
    chances = model(np.array([[0, 1, 2, 3]])).softmax().data
    yield exact("nine words, untrained: least chance of a word", float(chances.min()), 1 / 9)
    yield exact("greatest", float(chances.max()), 1 / 9)


# --- Order ---


class BagReader(Module):
    """The sum of the vectors of a sentence's words, and one linear layer: who won?"""

    def __init__(self, words: int, width: int, *, rng: np.random.Generator) -> None:
        self.words = EmbeddingBag(words, width, mode="sum", rng=rng)
        self.output = Linear(width, 2, rng=rng)

    def read(self, numbers: IntArray) -> Tensor:
        """Return sentence vectors, shape (sentences, width)."""
        return self.words(numbers.reshape(-1), np.arange(len(numbers)) * numbers.shape[1])

    def forward(self, numbers: IntArray) -> Tensor:
        return self.output(self.read(numbers))


class OrderReader(BagReader):
    """The same words, read one after the other by a linear recurrent cell."""

    def __init__(self, words: int, width: int, *, rng: np.random.Generator) -> None:
        super().__init__(words, width, rng=rng)
        self.cell = LinearRecurrentCell(width)

    def read(self, numbers: IntArray) -> Tensor:
        state = self.cell.initial_state(len(numbers))
        for column in numbers.T:
            state = self.cell(self.words.weight.index_select(column), state)
        return state


class TwoSentences:
    """The two sentences as a dataset, and who won in each."""

    def __len__(self) -> int:
        return 2

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        return np.array([ONE_WAY, OTHER_WAY])[rows], np.array([0, 1])[rows]


def order_is_lost_in_bags(run: Run) -> Iterator[Finding]:
    """Can a model distinguish "Yankees defeat Red Sox" from "Red Sox defeat Yankees"?"""
    data = TwoSentences()
    for name, reader in (("bag of words", BagReader), ("recurrent cell", OrderReader)):
        model = reader(len(WORDS), 4, rng=run.rng(1))
        model.words.weight.data *= 10
        optimiser = SGD(model.parameters(), 0.1)
        for _ in range(300):
            train_epoch(model, data, cross_entropy, optimiser, 2, run.rng(2))
        first, second = model.read(data.batch(np.arange(2))[0]).data
        apart = float(np.linalg.norm(first - second))
        measured = evaluate(model, data, cross_entropy, correct_classes)
        if name == "bag of words":
            yield at_most("Yankees defeat Red Sox, and the other way: bags apart", apart, 1e-9, ".1g", anywhere=True)
            yield at_least(
                "cross entropy of who won (log 2 is guessing)",
                measured.mean_loss,
                np.log(2) - 1e-9,
                ".4f",
                anywhere=True,
            )
        else:
            yield at_least("recurrent cell, trained: states apart", apart, 0.1, ".2f", anywhere=True)
            yield at_most("cross entropy of who won", measured.mean_loss, 0.1, ".4f", anywhere=True)


# --- Mean vectors of reviews ---


def reviews_like_words(run: Run) -> Iterator[Finding]:
    """Which reviews lie nearest to a few words, when a review is the mean of its words' vectors?

    The vectors come from filling blanks, without labels (chapter 11). Half of all reviews are positive.
    """
    reviews = load_reviews(run)
    model = FillBlank(reviews.vocabulary.size, rng=run.rng(3))
    blanks = make_blanks(reviews.training[: run.pick(None, 150)], run.rng(4))
    for loss in learn_by_blanks(run, model, blanks, 1):
        yield shown(f"vectors from one pass over {len(blanks):,} blanks: mean loss", loss)
    table = unit_rows(model.words.weight.data)
    means = mean_vectors(reviews, table)
    for words in ASKED:
        asked = table[[reviews.vocabulary.index(word) for word in words]].mean(axis=0)
        nearest, cosines = nearest_rows(means, asked, NEAREST)
        good = float(reviews.positive[nearest].mean())
        yield shown(f"{NEAREST} reviews nearest to {' and '.join(words)}: positive", good, ".0%")
        yield shown("cosine of the nearest", float(cosines[0]), ".2f")


def mean_vectors(reviews: Reviews, table: Array) -> Array:
    """Return the mean vector of each review's words, shape (reviews, dim)."""
    bags = bags_of(reviews.numbers, reviews.positive)
    sizes = np.array([len(numbers) for numbers in reviews.numbers])
    means: Array = sum_bags(table, bags.indices, bags.offsets, sizes) / np.maximum(sizes, 1)[:, None]
    return means


# --- Reading ---


def reading_word_by_word(run: Run) -> Iterator[Finding]:
    """How well is each word of a bAbI line foretold from those before it, the lines' first words dropped?

    One step for each line. The book's program prints the perplexity of a single line; here it is that of all words
    of all lines. No model can do better than who knows how often each word follows each beginning.
    """
    lines = [line[1:] for line in read_lines(run, run.pick(1_000, 200))]
    numbers = numbered(lines)
    data = Sentences([np.array([numbers[word] for word in line]) for line in lines])
    least = perplexity(ceiling(beginnings(lines)).loss)
    yield shown("bAbI: least possible perplexity", least, ".4f")
    passes = run.pick(UPDATES // len(data), 3)
    curves = {}
    for rate, goal in GOALS.items():
        model = EveryNextWord(len(numbers), rng=run.rng(5))
        curves[f"rate {rate}"] = list(_learn(run, model, data, rate, passes))
        found = curves[f"rate {rate}"][-1]
        what = f"rate {rate}: perplexity after {passes * len(data):,} lines"
        yield at_most(what, found, goal, book="4.017 (one line)")
        yield at_least("and not below the least possible", found, least, ".4f", anywhere=True)
    draw(run, curves, least, model, list(numbers))


def _learn(run: Run, model: EveryNextWord, data: Sentences, rate: float, passes: int) -> Iterator[float]:
    optimiser = SGD(model.parameters(), rate)
    for number in range(1, passes + 1):
        train_epoch(model, data, cross_entropy, optimiser, 1, run.rng(6, number))
        run.progress(f"rate {rate}: pass {number} of {passes}")
        yield sentence_perplexity(model, data)


def draw(
    run: Run, perplexities: dict[str, list[float]], least: float, model: EveryNextWord, words: Sequence[str]
) -> None:
    """Draw how the perplexity falls, and where the words of moves and places end up."""
    from book.pictures.curves import curves
    from book.pictures.embeddings import word_map

    passes = len(next(iter(perplexities.values())))
    first = passes // 5  # the steep beginning would leave no room for the rest
    series = {name: values[first:] for name, values in perplexities.items()}
    series["least possible"] = [least] * (passes - first)
    places = range(first + 1, passes + 1)
    run.save("babi-perplexity", curves(series, "pass over the lines", "perplexity (choices)", x=places))
    shown_words = [word for word in words if "\t" not in word]
    rows = [place for place, word in enumerate(words) if "\t" not in word]
    title = "Vectors of words; those that end lines are never read and stay near 0"
    run.save("babi-words", word_map(shown_words, model.embedding.weight.data[rows], title=title))


CHAPTER = Chapter(12, "sentences as vectors: sums, and reading in order", run)
