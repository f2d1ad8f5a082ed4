"""Tell positive film reviews from negative ones by their words: an embedding bag and one linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.files import read_lines
from core.data.made_up_text import generated_reviews
from core.data.partition import split_held_out
from core.data.reviews import LABELS, Reviews, read_reviews
from core.data.text import Bags, HashingVocabulary, IntArray, make_bags
from core.errors import DataError, StorageError
from core.losses import binary_cross_entropy_with_logits
from core.metrics import confusion
from core.nn import EmbeddingBag, Linear, Module
from core.randomness import Rng, generator
from core.tasks.task import Corpus, LocalTraining, Reading, Task
from core.tensor import Tensor

VOCABULARY = HashingVocabulary(8192)  # public and fixed: never made from what clients write
WIDTH = 4
GENERATED_REVIEWS, GENERATED_TEST_REVIEWS = 300, 1000


@dataclass(frozen=True)
class Review:
    """A text and whether it is positive."""

    text: str
    positive: bool


class ReviewModel(Module):
    """The mean of the vectors of a review's distinct words, and one linear layer to the logit of "positive"."""

    def __init__(self, words: int, width: int, *, rng: Rng) -> None:
        rng = generator(rng)
        self.words = EmbeddingBag(words, width, rng=rng, dtype=np.float32)
        self.output = Linear(width, 1, rng=rng, dtype=np.float32)

    def forward(self, bags: tuple[IntArray, IntArray]) -> Tensor:
        """Return logits, shape (reviews,), for the flat word numbers and the offsets of the bags."""
        indices, offsets = bags
        return self.output(self.words(indices, offsets)).reshape(len(offsets))


def examples_of(reviews: Reviews) -> list[Review]:
    """Return the reviews one by one, each with its label."""
    return [Review(text, bool(positive)) for text, positive in zip(reviews.texts, reviews.positive, strict=True)]


def prepare(reviews: Sequence[Review]) -> Bags:
    """Make a data set of reviews."""
    if not reviews:
        raise DataError("there are no reviews")
    return make_bags([review.text for review in reviews], [review.positive for review in reviews], VOCABULARY)


def read(path: Path) -> Reading:
    """Read what there is to train on in a published folder, or lines `label<TAB>text` that `write` wrote."""
    if path.is_dir():
        return Reading(read_both(path)[0])
    return Reading([_parse(line, f"line {n} of {path}") for n, line in enumerate(read_lines(path), start=1)])


def read_both(folder: Path) -> tuple[list[Review], list[Review]]:
    """Return what to train on and what to judge by: the halves of aclImdb, or four fifths and one of reviews.txt.

    Digests of the texts decide in the second case, so that repeats of a review fall on one side.
    """
    if any((root / "test" / "pos").is_dir() for root in (folder, folder / "aclImdb")):
        return examples_of(read_reviews(folder, "train")), examples_of(read_reviews(folder, "test"))
    return split_held_out(examples_of(read_reviews(folder)))


def write(path: Path, reviews: Sequence[Review]) -> None:
    """Write lines `label<TAB>text`. Raises StorageError if that fails."""
    names = {positive: name for name, positive in LABELS.items()}
    lines = (f"{names[review.positive]}\t{' '.join(review.text.split())}\n" for review in reviews)
    try:
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _parse(line: str, where: str) -> Review:
    label, tab, text = line.partition("\t")
    if label not in LABELS or not tab:
        raise DataError(f"{where} is {line[:40]!r}; expected positive or negative, a tab and a text")
    return Review(text, LABELS[label])


REVIEWS = Task(
    name="reviews",
    build=lambda rng: ReviewModel(VOCABULARY.size, WIDTH, rng=rng),
    loss=binary_cross_entropy_with_logits,
    correct=confusion,
    read=read,
    generate=lambda seed, number: examples_of(generated_reviews(GENERATED_REVIEWS, [seed, number, 1])),
    generate_test=lambda seed, _clients: examples_of(generated_reviews(GENERATED_TEST_REVIEWS, [seed, 0, 2])),
    prepare=prepare,
    local=LocalTraining(0.01, epochs=1, batch_size=32),
    clip=2.0,
    corpus=Corpus(read_both, write, label=lambda review: review.positive),
    text=lambda review: review.text,
)
