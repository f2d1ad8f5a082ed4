"""The experiments of chapters 11 to 14: words, sentences, the framework, and writing."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from book.chapters import chapter_11, chapter_12, get_chapter
from book.chapters.babi_lines import beginnings, ceiling, read_lines
from book.chapters.character_models import (
    NextCharacter,
    Recipe,
    bigram_perplexity,
    text_perplexity,
    train_passes,
    unigram_perplexity,
)
from book.chapters.sentence_models import EveryNextWord, LastWords, Sentences, sentence_perplexity
from book.chapters.word_vectors import FillBlank, Reviews, learn_by_blanks, make_blanks
from book.data.vocabulary import FrequentWords
from book.finding import Finding, Kind, Verdict
from book.generation import generate, greedy
from book.run import Run
from core.data.characters import CharacterVocabulary, read_characters
from core.nn import LSTM, RNN
from core.ops import Array
from core.parameters import to_vector
from core.tasks.babi import TRAIN_FILE
from core.tensor import no_grad

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def make_run(folder: Path, data: Path | None = None, quick: bool = True) -> Run:
    return Run(folder, data, quick, say=lambda _line: None)


@pytest.fixture(scope="module", params=[11, 12, 13, 14])
def chapter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, list[Finding], Path]:
    """A chapter's quick form on made-up data: its number, its findings, and where its pictures are."""
    folder = tmp_path_factory.mktemp(f"chapter-{request.param}")
    return request.param, list(get_chapter(request.param).run(make_run(folder))), folder


FINDINGS = {
    11: (
        "king - man + woman, dimension 0",
        "the last 100, never trained on",
        "of the book's nearest to 'terrible', among our ten",
    ),
    12: ("nine words, untrained: least chance of a word", "50 reviews nearest to boring and awful: positive"),
    13: (
        "(a + b) + (b + c): gradient of b",
        "accuracy after 300 updates",
        "embedding, tanh, linear, cross entropy (10 of 10)",
    ),
    14: ("16 streams of 25 steps: chunks", "perplexity of a table of pairs", "LSTM: held-out perplexity"),
}
PICTURES = {
    11: {"words-judging", "words-filling", "vectors"},
    12: {"babi-perplexity", "babi-words"},
    13: {"last-words-accuracy", "last-words-entropy"},
    14: {"gradient-norms", "learning"},
}


class TestQuickForms:
    def test_every_figure_that_holds_anywhere_is_reached(self, chapter: tuple[int, list[Finding], Path]):
        _, findings, _ = chapter
        held = [found for found in findings if found.kind is Kind.EQUAL or found.anywhere]
        assert held
        assert {found.what for found in held if found.verdict(False) is not Verdict.REACHED} == set()

    def test_it_finds_what_it_asked(self, chapter: tuple[int, list[Finding], Path]):
        number, findings, _ = chapter
        assert set(FINDINGS[number]) <= {found.what for found in findings}

    def test_it_draws_its_pictures(self, chapter: tuple[int, list[Finding], Path]):
        number, _, folder = chapter
        assert {path.stem for path in folder.glob("*.png")} == PICTURES[number]

    def test_numbers_are_finite(self, chapter: tuple[int, list[Finding], Path]):
        _, findings, _ = chapter
        assert all(np.isfinite(found.value) for found in findings if not isinstance(found.value, str))


def test_the_same_seed_finds_the_same(tmp_path: Path):
    first, second = (list(get_chapter(13).run(make_run(tmp_path))) for _ in range(2))
    assert first == second


class TestCeiling:
    def test_what_follows_equal_beginnings_looks_the_same(self):
        # After "to the": garden twice, office once. Best: 2 of 3 right, and log(3/2), log(3/2), log 3.
        known = ceiling([(("to", "the"), "garden"), (("to", "the"), "office"), (("to", "the"), "garden")])
        assert known.accuracy == pytest.approx(2 / 3)
        assert known.loss == pytest.approx((2 * np.log(1.5) + np.log(3)) / 3)

    def test_beginnings_start_with_the_empty_one(self):
        assert beginnings([("where", "is", "mary")]) == [((), "where"), (("where",), "is"), (("where", "is"), "mary")]

    def test_made_up_lines_look_like_the_published_ones(self, tmp_path: Path):
        lines = read_lines(make_run(tmp_path), 100)
        assert len(lines) == 100
        assert {len(line) for line in lines} <= {4, 5, 6}

    @pytest.mark.skipif(not (DATA / TRAIN_FILE).is_file(), reason="the public bAbI file is not here")
    def test_the_published_lines_have_the_ceilings_of_the_book(self, tmp_path: Path):
        lines = read_lines(make_run(tmp_path, DATA))
        padded = [("-",) * (6 - len(line)) + line for line in lines]
        assert ceiling((line[:5], line[5]) for line in padded[:100]).accuracy == pytest.approx(0.37)
        assert ceiling((line[:5], line[5]) for line in padded).accuracy == pytest.approx(0.191)
        assert np.exp(ceiling(beginnings([line[1:] for line in lines])).loss) == pytest.approx(3.3016, abs=5e-5)
        assert np.exp(ceiling(beginnings(lines)).loss) == pytest.approx(3.0967, abs=5e-5)


class TestSentences:
    def test_a_word_is_foretold_from_the_words_before_it_only(self):
        model = EveryNextWord(5, 3, rng=np.random.default_rng(1))
        one, other = model(np.array([[0, 1, 2]])).data, model(np.array([[0, 3, 4]])).data
        assert one[0, :2] == pytest.approx(other[0, :2])
        assert not np.allclose(one[0, 2], other[0, 2])

    def test_the_last_word_is_foretold_and_not_read(self):
        model = EveryNextWord(3, 2, rng=np.random.default_rng(1))
        model(np.array([[0, 1, 2]])).sum().backward()
        gradient = model.embedding.weight.grad
        assert gradient is not None
        assert gradient.any(axis=1).tolist() == [True, True, False]

    def test_perplexity_counts_words_not_sentences(self):
        model = EveryNextWord(4, 2, rng=np.random.default_rng(1))
        model.output.weight.data[...] = 0
        data = Sentences([np.array([0]), np.array([1, 2, 3]), np.array([0, 1, 2])])
        assert sentence_perplexity(model, data) == pytest.approx(4)

    def test_all_but_the_last_word_are_read(self):
        read, foretold = LastWords(np.array([[1, 2, 3], [4, 5, 6]])).batch(np.array([1]))
        assert read.tolist() == [[4, 5]]
        assert foretold.tolist() == [6]


class TestBlanks:
    TEXTS = (np.array([5, 6, 7]), np.array([8]), np.array([9, 10]))

    def test_neighbours_stay_within_their_text_and_lone_words_are_left_out(self):
        (contexts, choices), _ = make_blanks(self.TEXTS, np.random.default_rng(1)).batch(np.arange(5))
        assert contexts.tolist() == [[0, 0, 6, 7], [0, 5, 7, 0], [5, 6, 0, 0], [0, 0, 10, 0], [0, 9, 0, 0]]
        assert choices[:, 0].tolist() == [5, 6, 7, 9, 10]

    def test_a_draw_that_hits_the_true_word_does_not_count_as_wrong(self):
        blanks = make_blanks(self.TEXTS, np.random.default_rng(1))
        (_, choices), wrong = blanks.batch(np.arange(5).repeat(20))
        assert (wrong == (choices[:, 1:] != choices[:, :1])).all()
        assert not wrong.all()

    def test_wrong_answers_are_drawn_as_often_as_words_occur(self):
        blanks = make_blanks([np.array([2, 2, 2, 3])], np.random.default_rng(1))
        (_, choices), _ = blanks.batch(np.zeros(2_000, np.int64))
        assert (choices[:, 1:] == 2).mean() == pytest.approx(0.75, abs=0.02)

    def test_words_that_fill_the_same_blanks_come_to_lie_together(self, tmp_path: Path):
        # 2 and 3 stand between 4 and 5, 6 and 7 between 8 and 9.
        texts = [np.array([4, word, 5]) for word in (2, 3) * 200] + [np.array([8, word, 9]) for word in (6, 7) * 200]
        model = FillBlank(10, 8, rng=np.random.default_rng(1))
        list(learn_by_blanks(make_run(tmp_path), model, make_blanks(texts, np.random.default_rng(2)), 3))
        rows = model.words.weight.data
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)
        cosines = units @ units.T
        assert min(cosines[2, 3], cosines[6, 7]) > max(cosines[2, 6], cosines[2, 7], cosines[3, 6], cosines[3, 7])

    def test_a_word_leans_to_the_verdict_of_the_reviews_it_is_in(self):
        vocabulary = FrequentWords([["good", "film"], ["bad", "film"], ["good"]])
        numbers = [vocabulary.encode(words) for words in (["good", "good", "film"], ["bad", "film"], ["bad"])]
        reviews = Reviews(vocabulary, numbers, np.array([True, False, True]), test=1)
        shares = dict(zip(vocabulary.words, reviews.positive_shares(), strict=True))
        assert shares == {"<padding>": 0.5, "<unknown>": 0.5, "good": 1.0, "film": 0.5, "bad": 0.0}


class TestKnownReviews:
    @pytest.fixture
    def reviews(self) -> Reviews:
        """Praise and blame in turn."""
        texts = [["beautiful", "wonderful"], ["boring", "awful"]] * 10
        vocabulary = FrequentWords(texts)
        return Reviews(vocabulary, [vocabulary.encode(words) for words in texts], np.array([True, False] * 10), test=2)

    def test_reviews_nearest_to_words_are_those_with_them(
        self, reviews: Reviews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def learn(_run: Run, model: FillBlank, *_: object) -> list[float]:
            for word, direction in (("beautiful", 1), ("wonderful", 1), ("boring", -1), ("awful", -1)):
                model.words.weight.data[reviews.vocabulary.index(word)] = direction
            return []

        monkeypatch.setattr(chapter_12, "load_reviews", lambda _run: reviews)
        monkeypatch.setattr(chapter_12, "learn_by_blanks", learn)
        monkeypatch.setattr(chapter_12, "NEAREST", 5)
        found = {finding.what: finding.value for finding in chapter_12.reviews_like_words(make_run(tmp_path))}
        assert found["5 reviews nearest to boring and awful: positive"] == 0
        assert found["5 reviews nearest to beautiful and wonderful: positive"] == 1

    def test_the_rate_of_judging_falls_after_each_pass(
        self, reviews: Reviews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def vectors(passes: int, decay: float) -> Array:
            monkeypatch.setattr(chapter_11, "PASSES", passes)
            monkeypatch.setattr(chapter_11, "DECAY", decay)
            return returned(chapter_11.learn_to_judge(make_run(tmp_path), reviews))

        once = vectors(1, 1.0)
        assert vectors(2, 1e-9) == pytest.approx(once, abs=1e-6)  # the second pass stands still
        assert abs(vectors(2, 1.0) - once).max() > 1e-4


def returned(steps: Generator[Finding, None, Array]) -> Array:
    """Return what a generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def small_model() -> NextCharacter:
    return NextCharacter(4, LSTM, embedding=8, width=16, rng=np.random.default_rng(1))


class TestCharacters:
    TEXT = np.array([0, 1, 2, 3] * 100)

    @pytest.mark.parametrize("layer", [LSTM, RNN])
    def test_a_model_learns_a_text_that_repeats(self, layer: type[LSTM] | type[RNN]):
        model = NextCharacter(4, layer, embedding=8, width=16, rng=np.random.default_rng(1))
        losses = list(train_passes(model, self.TEXT, Recipe(1.0, streams=4, steps=5), 10))
        assert losses[-1] < losses[0]
        assert text_perplexity(model, self.TEXT) < 1.5
        assert generate(model.step, [0, 1], 6, greedy) == [2, 3, 0, 1, 2, 3]

    def test_step_by_step_is_the_same_as_at_once(self):
        model = NextCharacter(4, LSTM, embedding=8, width=16, rng=np.random.default_rng(1))
        state = None
        for number in (0, 1, 2):
            logits, state = model.step(number, state)
        with no_grad():
            at_once, _ = model([[0], [1], [2]])
        assert logits == pytest.approx(at_once.data[-1, 0], abs=1e-6)

    def test_the_state_is_carried_on_over_chunks_when_measuring(self):
        model = NextCharacter(4, LSTM, embedding=8, width=16, rng=np.random.default_rng(1))
        text = np.random.default_rng(2).integers(0, 4, 2 * 99 + 1)
        with no_grad():
            logits, _ = model(text[:-1, None])
        chances = np.take_along_axis(logits.log_softmax().data[:, 0], text[1:, None], axis=1)
        assert text_perplexity(model, text) == pytest.approx(np.exp(-chances.mean()), rel=1e-5)

    @pytest.mark.parametrize("carry", [True, False])
    def test_a_chunk_starts_in_the_state_in_which_the_one_before_it_ended(self, carry: bool):
        model = small_model()
        text = np.random.default_rng(2).integers(0, 4, 2 * 5 + 1)
        with no_grad():
            logits, _ = model(text[:-1, None])
        whole = -np.take_along_axis(logits.log_softmax().data[:, 0], text[1:, None], axis=1).sum()
        (loss,) = train_passes(model, text, Recipe(1e-12, streams=1, steps=5, carry=carry), 1)
        assert bool(loss * 10 == pytest.approx(whole, rel=1e-5)) is carry

    def test_each_step_is_as_long_as_rate_and_clip_and_the_rate_decays(self):
        model = small_model()
        recipe = Recipe(2.0, decay=0.5, clip=1e-3, streams=1, steps=10)
        places = [to_vector(model)]
        for _ in train_passes(model, self.TEXT[:11], recipe, 3):
            places.append(to_vector(model))
        moves = [float(np.linalg.norm(after - before)) for before, after in pairwise(places)]
        assert moves == pytest.approx([2e-3, 1e-3, 5e-4], rel=1e-3)

    def test_tables_of_counts(self):
        # Half a, half b: as good as a coin. After a comes b or a; after b always a.
        assert unigram_perplexity(np.array([0, 1, 0, 1])) == pytest.approx(2)
        assert bigram_perplexity(np.array([0, 1, 0, 1, 0])) == pytest.approx(1)
        assert bigram_perplexity(np.array([0, 0, 1, 0])) == pytest.approx(2 ** (2 / 3))  # a coin for two of three

    @pytest.mark.skipif(not (DATA / "shakespear.txt").is_file(), reason="the book's text is not here")
    def test_tables_of_counts_of_the_book_s_text(self):
        text = read_characters(DATA / "shakespear.txt")
        vocabulary = CharacterVocabulary(text)
        assert (len(text), vocabulary.size) == (99_993, 62)
        assert unigram_perplexity(vocabulary.encode(text)) == pytest.approx(26.27, abs=0.005)
        assert bigram_perplexity(vocabulary.encode(text)) == pytest.approx(11.37, abs=0.005)
