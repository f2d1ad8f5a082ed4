"""Solving analogies with word vectors, and scoring lists of them."""

from __future__ import annotations

import numpy as np
import pytest

from book.analogies import score, solve, unit_rows
from book.chapters.word_vectors import Reviews, nearest_words
from book.data.analogies import Section
from book.data.vocabulary import FrequentWords

pytestmark = pytest.mark.slow

# The book's example: the first number is for being royal, the second for being a woman.
VECTORS = {"king": [0.6, 0.1], "man": [0.5, 0.0], "woman": [0.0, 0.8], "queen": [0.1, 1.0], "boat": [0.4, -0.3]}
VOCABULARY = FrequentWords([list(VECTORS)])
TABLE = np.array([[0.0, 0.0], [0.0, 0.0], *(VECTORS[word] for word in VOCABULARY.words[2:])])


def number(word: str) -> int:
    return VOCABULARY.index(word)


def test_king_without_man_with_woman_is_queen():
    answers, cosines = solve(TABLE, number("man"), number("king"), number("woman"), 1)
    assert VOCABULARY.decode(answers) == ["queen"]
    assert cosines[0] == pytest.approx(0.91 / np.sqrt(0.82 * 1.01))  # (.1, .9) with (.1, 1.0)


def test_the_words_asked_about_padding_and_unknown_are_no_answers():
    answers, _ = solve(TABLE, number("man"), number("king"), number("woman"), 10, VOCABULARY.no_words)
    assert VOCABULARY.decode(answers) == ["queen", "boat"]


def test_unit_rows_have_length_one_and_zeros_stay():
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


def test_scores_count_questions_put_and_answered():
    sections = [
        Section("people", (("man", "king", "woman", "queen"), ("man", "king", "woman", "boat"), ("a", "b", "c", "d"))),
        Section("places", (("athens", "greece", "oslo", "norway"),)),
    ]
    people, places = score(sections, VOCABULARY, TABLE)
    assert (people.questions, people.covered, people.right, people.accuracy) == (3, 2, 1, 0.5)
    assert people.chance == pytest.approx(2 / 2)  # two questions, two words that may be answers: queen and boat
    assert (places.questions, places.covered, places.right, places.accuracy) == (1, 0, 0, 0.0)


def test_the_same_score_however_many_questions_are_put_together():
    one = ("man", "king", "woman", "queen")
    assert score([Section("many", (one,) * 600)], VOCABULARY, TABLE)[0].right == 600


def test_padding_and_unknown_answer_no_question_even_if_their_vectors_are_nearest():
    table = TABLE.copy()
    table[[VOCABULARY.padding, VOCABULARY.unknown]] = [0.0, 0.5]  # nearly where king - man + woman of length 1 points
    assert score([Section("one", (("man", "king", "woman", "queen"),))], VOCABULARY, table)[0].right == 1


def test_padding_and_unknown_are_never_the_nearest_word():
    table = TABLE.copy()
    table[[VOCABULARY.padding, VOCABULARY.unknown]] = VECTORS["queen"]
    reviews = Reviews(VOCABULARY, [VOCABULARY.encode(VECTORS)], np.array([True]), test=0)
    assert nearest_words(reviews, table, "queen") == ["woman", "king", "man", "boat"]


def test_words_beyond_the_end_of_a_short_table_count_as_not_known():
    last = VOCABULARY.words[-1]
    questions = (("man", "king", "boat", last), ("man", "king", "boat", "queen"))
    put = score([Section("short", questions)], VOCABULARY, TABLE[:-1])[0]
    assert last == "woman"
    assert put.covered == 1


def test_scoring_many_at_once_agrees_with_solving_one_by_one():
    rng = np.random.default_rng(1)
    vocabulary = FrequentWords([[f"word{place}" for place in range(40)]])
    # Lengths from about 1 to 20: without unit rows the long vectors would decide.
    table = rng.standard_normal((vocabulary.size, 6)) * np.exp(rng.uniform(0, 3, (vocabulary.size, 1)))
    asked = [rng.choice(np.arange(2, vocabulary.size), 3, replace=False) for _ in range(30)]
    questions = []
    for first, second, third in asked:
        best = solve(unit_rows(table), first, second, third, 1, vocabulary.no_words)[0][0]
        a, b, c, d = vocabulary.decode([first, second, third, best])
        questions.append((a, b, c, d))
    put = score([Section("all", tuple(questions))], vocabulary, table)[0]
    assert (put.covered, put.right) == (30, 30)
