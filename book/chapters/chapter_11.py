"""Chapter 11: words as vectors. What a network learns of words depends on what it is asked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np

from book.analogies import score, solve, unit_rows
from book.chapters.word_vectors import FillBlank, Reviews, learn_by_blanks, load_reviews, make_blanks, nearest_words
from book.data.analogies import read_analogies
from book.data.vocabulary import FrequentWords
from book.finding import Finding, at_least, exact, shown
from book.run import Chapter, Run
from core.data.characters import IntArray
from core.data.made_up_text import BLAME, PRAISE
from core.losses import binary_cross_entropy_with_logits
from core.metrics import correct_answers
from core.nn import EmbeddingBag, Linear, Module
from core.ops import Array
from core.optim import SGD, ExponentialDecay
from core.tensor import Tensor
from core.training import evaluate, train_epoch

PASSES = 2
WIDTH = 100
BATCH, RATE, DECAY = 4, 0.1, 0.3  # chosen on the last two thousand of the reviews to train on
FREQUENT = 10_000  # neighbours are looked for among these: a vector that hardly ever moved points anywhere
ASKED = 20_000  # analogies are asked and answered within these
BOOK_NEIGHBOURS = {"terrible": ("horrible", "brilliant", "pathetic")}
BOOK_ANALOGY = ("terrific", "perfect", "worth", "decent", "superb", "great")


def run(run: Run) -> Iterator[Finding]:
    yield from four_words_in_two_dimensions()
    reviews = load_reviews(run)
    shares = reviews.positive_shares()
    by_judging = yield from learn_to_judge(run, reviews)
    yield from neighbours(reviews, by_judging, shares, "judging reviews")
    by_filling = yield from learn_to_fill(run, reviews)
    yield from neighbours(reviews, by_filling, shares, "filling blanks")
    yield from neighbours_of_the_book(reviews, by_filling)
    yield from two_kinds_of_neighbours(reviews, by_judging, by_filling, shares)
    yield from opposites(reviews, by_filling)
    yield from public_analogies(run, reviews, by_filling)
    draw(run, reviews, by_judging, by_filling)


def four_words_in_two_dimensions() -> Iterator[Finding]:
    """Which word is king - man + woman?"""
    words = ("king", "man", "woman", "queen")
    table = np.array([[0.6, 0.1], [0.5, 0.0], [0.0, 0.8], [0.1, 1.0]])
    x, y = table[0] - table[1] + table[2]
    yield exact("king - man + woman, dimension 0", float(x), 0.1)
    yield exact("dimension 1", float(y), 0.9)
    yield shown("nearest word but the three", words[int(solve(table, 1, 0, 2)[0][0])], book="queen")


# --- Judging reviews ---


class ReviewWords(Module):
    """The sum of the vectors of a review's distinct words, squashed, and one linear layer to the logit of "good"."""

    def __init__(self, words: int, *, rng: np.random.Generator) -> None:
        self.words = EmbeddingBag(words, WIDTH, mode="sum", rng=rng, dtype=np.float32)
        self.output = Linear(WIDTH, 1, bias=False, rng=rng, dtype=np.float32)

    def forward(self, bags: tuple[IntArray, IntArray]) -> Tensor:
        """Return logits, shape (reviews,), for the flat word numbers and the offsets of the bags."""
        indices, offsets = bags
        return self.output(self.words(indices, offsets).sigmoid()).reshape(len(offsets))


class CountingLoss:
    """Binary cross entropy that counts the right answers on the way, each given before the step it leads to."""

    def __init__(self) -> None:
        self.right = 0

    def __call__(self, logits: Tensor, targets: Array) -> Tensor:
        self.right += correct_answers(logits.data, targets)
        return binary_cross_entropy_with_logits(logits, targets)


def learn_to_judge(run: Run, reviews: Reviews) -> Generator[Finding, None, Array]:
    """How well do words alone separate good and bad reviews? Return the word vectors."""
    model = ReviewWords(reviews.vocabulary.size, rng=run.rng(0))
    optimiser = SGD(model.parameters(), RATE)
    schedule = ExponentialDecay(optimiser, DECAY)
    training, test = reviews.bags(slice(None, -reviews.test)), reviews.bags(slice(-reviews.test, None))
    for number in range(1, PASSES + 1):
        run.progress(f"judging reviews: pass {number} of {PASSES}")
        counting = CountingLoss()
        train_epoch(model, training, counting, optimiser, BATCH, run.rng(1, number))
        schedule.step()
        share = counting.right / len(training)
        what = f"judging reviews, pass {number}: right in training, each before its step"
        yield at_least(what, share, 0.832, book="83.2%") if number == 1 else shown(what, share, ".2%")
    judged = evaluate(model, test, binary_cross_entropy_with_logits, correct_answers)
    yield at_least(f"the last {len(test):,}, never trained on", judged.accuracy, 0.849, book="84.9%")
    return model.words.weight.data


# --- Filling blanks ---


def learn_to_fill(run: Run, reviews: Reviews) -> Generator[Finding, None, Array]:
    """What can be learned of words without any label, from their neighbours only? Return the word vectors."""
    model = FillBlank(reviews.vocabulary.size, rng=run.rng(2))
    blanks = make_blanks(reviews.training, run.rng(3))
    for number, loss in enumerate(learn_by_blanks(run, model, blanks, PASSES), start=1):
        yield shown(
            f"filling {len(blanks):,} blanks, pass {number}: mean loss (knowing nothing: {np.log(64):.3f})", loss
        )
    return model.words.weight.data


# --- Neighbours ---


def neighbours(reviews: Reviews, table: Array, shares: Array, task: str) -> Iterator[Finding]:
    """Which words point most nearly the same way, and does the same verdict go with them?"""
    for word, good in (("beautiful", True), ("terrible", False)):
        near = nearest_words(reviews, table[:FREQUENT], word)
        alike = share_of_verdict(reviews, shares, near, good)
        verdict = "positive" if good else "negative"
        what = f"{task}: nearest to {word!r}, mostly in {verdict} reviews"
        yield at_least(what, alike, 1.0, ".0%") if task == "judging reviews" else shown(what, alike, ".0%")
        yield shown("they are", ", ".join(near))


def share_of_verdict(reviews: Reviews, shares: Array, words: Sequence[str], good: bool) -> float:
    """Return how many of some words are in more positive than negative training reviews, or the other way round."""
    leaning = np.array([shares[reviews.vocabulary.index(word)] for word in words]) - 0.5
    return float(((leaning > 0) if good else (leaning < 0)).mean())


def neighbours_of_the_book(reviews: Reviews, table: Array) -> Iterator[Finding]:
    """Are the book's words among ours?"""
    for word, expected in BOOK_NEIGHBOURS.items():
        near = nearest_words(reviews, table[:FREQUENT], word)
        found = [other for other in expected if other in near]
        yield shown(
            f"of the book's nearest to {word!r}, among our ten", ", ".join(found) or "none", book=", ".join(expected)
        )


def two_kinds_of_neighbours(reviews: Reviews, by_judging: Array, by_filling: Array, shares: Array) -> Iterator[Finding]:
    """Do words near each other mean the same verdict, or do they stand in the same places?

    Asked of forty words of praise and blame, as far as they are frequent. "good" and "bad" fill the same blanks.
    """
    asked = [(word, True) for word in PRAISE] + [(word, False) for word in BLAME]
    known = [(word, good) for word, good in asked if is_frequent(reviews, word)]
    for task, table in (("judging", by_judging), ("filling blanks", by_filling)):
        alike = [
            share_of_verdict(reviews, shares, nearest_words(reviews, table[:FREQUENT], word), good)
            for word, good in known
        ]
        yield shown(
            f"{task}: neighbours of {len(known)} words of praise and blame with the same verdict",
            float(np.mean(alike)),
            ".1%",
        )


def is_frequent(reviews: Reviews, word: str) -> bool:
    return FrequentWords.unknown != reviews.vocabulary.index(word) < FREQUENT


# --- Analogies ---


def opposites(reviews: Reviews, table: Array) -> Iterator[Finding]:
    """What is terrible - bad + good? Made-up reviews know neither good nor bad."""
    if not all(is_frequent(reviews, word) for word in ("bad", "terrible", "good")):
        return
    vocabulary = reviews.vocabulary
    bad, terrible, good = (vocabulary.index(word) for word in ("bad", "terrible", "good"))
    nearest, _ = solve(unit_rows(table[:FREQUENT]), bad, terrible, good, without=vocabulary.no_words)
    answers = vocabulary.decode(nearest)
    yield shown("terrible - bad + good", ", ".join(answers), book=", ".join(BOOK_ANALOGY))
    found = [word for word in BOOK_ANALOGY if word in answers]
    yield shown("of the book's six, among our ten", f"{len(found)}: {', '.join(found)}")


def public_analogies(run: Run, reviews: Reviews, table: Array) -> Iterator[Finding]:
    """How many of the public questions (Athens is to Greece as Oslo is to ...) do the vectors answer?

    Film reviews say little about capitals and currencies; what there is to learn is family and grammar.
    """
    if run.data is None:
        return
    run.progress("asking analogies")
    run.say("analogies: film reviews say little of capitals and currencies; family and grammar are what to look at")
    scores = score(read_analogies(run.data / "questions-words.txt"), reviews.vocabulary, table[:ASKED])
    for part in scores:
        what = f"analogies, {part.name}: right of the {part.covered:,} covered, of {part.questions:,}"
        yield shown(what, part.accuracy, ".1%")
    covered, right = sum(part.covered for part in scores), sum(part.right for part in scores)
    yield shown(f"analogies, all: right of the {covered:,} covered", right / max(covered, 1), ".1%")
    yield shown("by chance", sum(part.chance for part in scores) / max(covered, 1), ".3%")


# --- Pictures ---


def draw(run: Run, reviews: Reviews, by_judging: Array, by_filling: Array) -> None:
    """Draw where words of praise and blame lie for both tasks, and what a vector looks like."""
    from book.pictures.embeddings import vector_strips, word_map

    groups = dict.fromkeys(PRAISE[:12], "praise") | dict.fromkeys(BLAME[:12], "blame")
    words = [word for word in groups if is_frequent(reviews, word)]
    rows = [reviews.vocabulary.index(word) for word in words]
    kinds = [groups[word] for word in words]
    for name, title, table in (
        ("words-judging", "Vectors that judge reviews", by_judging),
        ("words-filling", "Vectors that fill blanks", by_filling),
    ):
        run.save(name, word_map(words, unit_rows(table[rows]), kinds, title))
    some = words[:6] + words[-6:]
    run.save("vectors", vector_strips(some, by_filling[[reviews.vocabulary.index(word) for word in some]]))


CHAPTER = Chapter(11, "words as vectors: judging reviews and filling blanks", run)
