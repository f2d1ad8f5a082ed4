"""Scoring one message: the model's own formula, and the words that weighed most as the message spells them."""

from __future__ import annotations

import numpy as np
import pytest

from client.scoring import FILTERS, score_message
from core.data.text import stem
from core.errors import DataError
from core.federated import initial_model
from core.parameters import from_vector, to_vector
from core.tasks.spam import SPAM, VOCABULARY, SpamModel
from core.tasks.spam_pairs import SPAM_PAIRS


def model(weights: dict[str, float], bias: float = 0.0) -> np.ndarray:
    module = SpamModel(VOCABULARY.size, np.random.default_rng(0))
    from_vector(module, initial_model(SPAM, 0))
    for word, weight in weights.items():
        module.words.weight.data[VOCABULARY.index(stem(word)), 0] = weight
    module.bias.data[...] = bias
    return to_vector(module)


def test_the_score_is_the_models_formula() -> None:
    score = score_message(model({"prize": 4.0, "meeting": -1.0}, bias=0.5), b"a prize meeting now")
    assert score.probability == pytest.approx(1 / (1 + np.exp(-(0.5 + 3.0 / 2.0))))  # four words: divided by 2
    assert score.spam


def test_a_filter_of_pairs_names_the_pairs_that_weighed_most() -> None:
    """Three words, a comma and three pairs: seven weights, each divided by the root of seven."""
    kind = FILTERS["spam-pairs"]
    weights = initial_model(SPAM_PAIRS, 0)
    weights[kind.vocabulary.index("click here")] = 10.0
    weights[kind.vocabulary.index("congra")] = -5.0
    score = score_message(weights, b"Congratulations, Click here", kind)
    assert [word for word, _ in score.strongest[:2]] == ["click here", "congratulations"]
    assert score.strongest[0][1] == pytest.approx(10 / np.sqrt(7))
    assert score.probability == pytest.approx(1 / (1 + np.exp(-5 / np.sqrt(7))))


def test_the_strongest_words_come_first_as_they_are_spelt() -> None:
    score = score_message(model({"congratulations": 8.0, "meeting": -12.0}), b"congratulations meeting ok now")
    assert score.strongest[:2] == (("meeting", -6.0), ("congratulations", 4.0))


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"\x89PNG\0\1", "not text"), (2 * b"From - Sat Apr  6 20:13:31 2013\nSubject: a\n\nhello\n\n", "2 messages")],
)
def test_what_is_not_one_text_message_is_one_sentence(content: bytes, word: str) -> None:
    with pytest.raises(DataError, match=word):
        score_message(model({}), content)


def test_a_message_as_an_mbox_holds_it_is_one_message_whatever_its_lines_begin_with() -> None:
    content = b"From - Sat Apr  6 20:13:31 2013\nSubject: prize\n\nDear all\n\nFrom Monday on we are closed\n"
    assert score_message(model({"prize": 4.0}), content).strongest[0][0] == "prize"


def test_a_message_without_words_is_one_sentence() -> None:
    with pytest.raises(DataError, match="no words"):
        score_message(model({}), b" \n ")
