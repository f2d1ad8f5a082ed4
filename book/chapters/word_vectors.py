"""What chapters 11 and 12 share: film reviews as word numbers, and vectors learned by filling blanks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from book.data.vocabulary import FrequentWords
from book.run import Run
from core.data.characters import IntArray
from core.data.made_up_text import generated_reviews
from core.data.reviews import read_reviews
from core.data.text import Bags
from core.losses import negative_sampling
from core.nn import nearest_rows
from core.ops import Array
from core.optim import SGD
from core.sequences import neighbours
from core.tasks.analogies import BlankModel
from core.tensor import Tensor
from core.training import train_epoch

WINDOW, NEGATIVES = 2, 5
RATE = 0.05
LARGEST_BATCH = 512


@dataclass(frozen=True)
class Reviews:
    """Reviews as word numbers; the words of the training part make the vocabulary, the frequent ones first.

    Attributes:
        numbers: of the words of each review in reading order.
        positive: shape (reviews,).
        test: how many at the end are kept for the test.
    """

    vocabulary: FrequentWords
    numbers: Sequence[IntArray]
    positive: npt.NDArray[np.bool_]
    test: int

    @property
    def training(self) -> Sequence[IntArray]:
        return self.numbers[: -self.test]

    def bags(self, rows: slice) -> Bags:
        """Return the distinct words of the reviews of a slice, with labels 1 for positive and 0 for negative."""
        return bags_of([np.unique(numbers) for numbers in self.numbers[rows]], self.positive[rows])

    def positive_shares(self) -> Array:
        """Return, for every word, how many of the training reviews with it are positive; 0.5 for words in none."""
        data = self.bags(slice(None, -self.test))
        labels = np.repeat(data.labels, np.diff(np.append(data.offsets, len(data.indices))))
        there = np.bincount(data.indices, minlength=self.vocabulary.size)
        praised = np.bincount(data.indices, labels, self.vocabulary.size)
        shares: Array = np.where(there > 0, praised / np.maximum(there, 1), 0.5)
        return shares


def load_reviews(run: Run) -> Reviews:
    """Read the reviews, the last thousand of them for the test; or make some up."""
    if run.data is None:
        run.say("reviews made up by the project, not those of IMDB")
        reviews = generated_reviews(run.pick(5_000, 500), run.seed)
    else:
        reviews = read_reviews(run.data)
        reviews = reviews.part(slice(-run.pick(len(reviews), 500), None))
    test = min(1_000, len(reviews) // 5)
    texts = reviews.words()
    vocabulary = FrequentWords(texts[:-test])
    return Reviews(vocabulary, [vocabulary.encode(words) for words in texts], reviews.positive, test)


def bags_of(rows: Sequence[IntArray], labels: npt.ArrayLike) -> Bags:
    """Lay rows of word numbers end to end."""
    sizes = np.array([len(row) for row in rows])
    return Bags(np.concatenate(rows), np.cumsum(sizes) - sizes, np.asarray(labels, np.int64))


def nearest_words(reviews: Reviews, table: Array, word: str, count: int = 10) -> list[str]:
    """Return the words whose vectors point most nearly the same way, best first."""
    vocabulary = reviews.vocabulary
    number = vocabulary.index(word)
    return vocabulary.decode(nearest_rows(table, table[number], count, [number, *vocabulary.no_words])[0])


# --- Vectors by filling blanks ---


@dataclass(frozen=True)
class Blanks:
    """Words of texts, each a blank between its neighbours: a dataset that draws wrong answers anew each time.

    Attributes:
        stream: the numbers of all texts, with two of padding before, between and after them.
        places: where in the stream the words are that have a neighbour.
        rng: draws the wrong answers, each word as often as it occurs.
    """

    stream: IntArray
    places: IntArray
    rng: np.random.Generator

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], npt.NDArray[np.bool_]]:
        """Return the neighbours, (n, 4), and the choices, (n, 6), the true one first; and which others are wrong."""
        places = self.places[rows, None]
        true = self.stream[places]
        drawn = self.stream[self.places[self.rng.integers(0, len(self), (len(rows), NEGATIVES))]]
        around = neighbours(self.stream, self.places[rows], WINDOW)
        return (around, np.hstack([true, drawn])), drawn != true


def make_blanks(texts: Sequence[IntArray], rng: np.random.Generator) -> Blanks:
    """Make a blank of every word of every text, texts of a single word left out: nothing is around it."""
    gap = np.full(WINDOW, FrequentWords.padding)
    parts = [gap]
    for text in texts:
        if len(text) > 1:
            parts += [text, gap]
    stream = np.concatenate(parts)
    return Blanks(stream, np.flatnonzero(stream != FrequentWords.padding), rng)


class FillBlank(BlankModel):
    """The model of the task "analogies" with the book's start: words near 0, answers at 0."""

    def __init__(self, words: int, width: int = 50, *, rng: np.random.Generator) -> None:
        super().__init__(words, words, width, padding=FrequentWords.padding, rng=rng)
        self.words.weight.data *= width / 5  # uniform in ± 0.1
        self.answers.weight.data[...] = 0


def learn_by_blanks(run: Run, model: FillBlank, blanks: Blanks, passes: int) -> Iterator[float]:
    """Train on blanks; yield each pass's mean loss.

    The gradients of many blanks are added up before each step, at the rate of single blanks: few enough that a word
    is among them a few times only, or their sum would be too large.
    """
    batch = max(1, min(LARGEST_BATCH, len(model.words.weight) // 4))

    def loss(logits: Tensor, wrong: npt.NDArray[np.bool_]) -> Tensor:
        """Divide the sum by the full batch size, so that a short last batch moves vectors no more than its share."""
        return negative_sampling(logits[:, 0], logits[:, 1:], wrong, "sum") * (1 / batch)

    optimiser = SGD(model.parameters(), RATE * batch)
    for number in range(1, passes + 1):
        run.progress(f"filling blanks: pass {number} of {passes} over {len(blanks):,} words")
        yield train_epoch(model, blanks, loss, optimiser, batch, run.rng(90, number))
