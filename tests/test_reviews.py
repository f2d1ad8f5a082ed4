"""Film reviews in both layouts, vocabularies counted from them, and made-up ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from word_list import WordList

from book.data.vocabulary import FrequentWords, bag_of_words, one_hot, pad
from core.data.made_up_text import generated_reviews
from core.data.reviews import read_reviews
from core.errors import DataError

pytestmark = pytest.mark.slow

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def test_lines_and_labels_are_read_in_step(tmp_path: Path) -> None:
    (tmp_path / "reviews.txt.gz").write_bytes(gzip.compress(b"good  film .  \nbad\n"))
    (tmp_path / "labels.txt").write_text("positive\nnegative\n")
    reviews = read_reviews(tmp_path)
    assert reviews.words() == [["good", "film", "."], ["bad"]]
    assert reviews.positive.tolist() == [True, False]


@pytest.mark.skipif(not (DATA / "reviews.txt.gz").is_file(), reason="the reviews of IMDB are not here")
def test_the_public_reviews_are_25000_and_alternate_positive_first() -> None:
    reviews = read_reviews(DATA)
    assert len(reviews) == len(reviews.texts) == 25_000
    assert reviews.positive[::2].all()
    assert not reviews.positive[1::2].any()
    assert all(text.strip() for text in reviews.texts)
    assert len(reviews.part(slice(-1000, None))) == 1000


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [("positive\n", "2 reviews and .* 1 labels"), ("positive\nmixed\n", "line 2 of .* is 'mixed'")],
)
def test_labels_that_do_not_fit_are_one_sentence(tmp_path: Path, labels: str, sentence: str) -> None:
    (tmp_path / "reviews.txt").write_text("good\nbad\n")
    (tmp_path / "labels.txt").write_text(labels)
    with pytest.raises(DataError, match=sentence):
        read_reviews(tmp_path)


def test_the_folders_of_stanford_are_read_by_half(tmp_path: Path) -> None:
    for part, kind in [("train", "pos"), ("train", "neg"), ("test", "pos"), ("test", "neg")]:
        folder = tmp_path / "aclImdb" / part / kind
        folder.mkdir(parents=True)
        (folder / "0_9.txt").write_text(f"{part} {kind}")
    assert read_reviews(tmp_path, "test").texts == ["test pos", "test neg"]
    assert read_reviews(tmp_path / "aclImdb").positive.tolist() == [True, False]


def test_an_empty_folder_and_a_missing_test_half_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected reviews.txt"):
        read_reviews(tmp_path)
    with pytest.raises(DataError, match="no test half"):
        read_reviews(tmp_path, "test")


def test_words_are_numbered_by_frequency_then_by_alphabet() -> None:
    known = FrequentWords([["b", "a", "c"], ["c", ""]])
    assert known.words == ("<padding>", "<unknown>", "c", "a", "b")
    assert known.encode(["a", "zebra", "c"]).tolist() == [3, 1, 2]
    assert known.decode([2, 1]) == ["c", "<unknown>"]
    assert FrequentWords([["b", "a", "c", "c"]], largest=1).size == 3
    with pytest.raises(DataError, match="at least 2 times"):
        FrequentWords([["a"]], least=2)


def test_the_cat_sat_marks_three_of_four_places() -> None:
    words = WordList(("cat", "the", "dog", "sat"))
    assert bag_of_words([words.index(word) for word in ("the", "cat", "sat")], 4).tolist() == [1, 1, 0, 1]


def test_a_bag_of_words_says_that_a_word_is_there_or_how_often() -> None:
    assert bag_of_words([3, 1, 3], 4).tolist() == [0, 1, 0, 1]
    assert bag_of_words([3, 1, 3], 4, counts=True).tolist() == [0, 1, 0, 2]
    assert bag_of_words([], 2).tolist() == [0, 0]


def test_counts_are_the_sum_of_the_one_hot_rows() -> None:
    assert one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(1, 2, np.float32).dtype == np.float32
    assert one_hot(np.zeros((2, 5), int), 3).shape == (2, 5, 3)
    numbers = [0, 2, 2, 3]
    assert bag_of_words(numbers, 4, counts=True).tolist() == one_hot(numbers, 4).sum(axis=0).tolist()


@pytest.mark.parametrize("encode", [one_hot, bag_of_words])
@pytest.mark.parametrize(("number", "error"), [(3, IndexError), (-1, IndexError), (0.5, TypeError)])
def test_a_number_that_is_no_word_s_is_refused(encode, number: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode([0, number], 3)


def test_rows_are_padded_at_the_end_and_cut_at_the_beginning() -> None:
    known = FrequentWords([["a", "b"]])
    assert pad([known.encode("a"), known.encode("aab")], 2).tolist() == [[2, 0], [2, 3]]


def test_made_up_reviews_repeat_with_their_seed_and_mix_praise_and_blame() -> None:
    reviews = generated_reviews(400, 1)
    assert reviews.texts == generated_reviews(400, 1).texts != generated_reviews(400, 2).texts
    assert 150 < reviews.positive.sum() < 250
    hinted = ["wonderful" in text for text in reviews.texts]
    agreement = sum(hint == positive for hint, positive in zip(hinted, reviews.positive, strict=True)) / 400
    assert 0.55 < agreement < 0.9


# --- Words, not letters and not spaces ---


def test_white_space_is_no_word() -> None:
    known = FrequentWords([["good", "\n", " ", "", "\t \u00a0", "film"], ["good", "\n"]])
    assert known.words == ("<padding>", "<unknown>", "good", "film")


@pytest.mark.parametrize("texts", ["good film", ["good film", "bad film"], [["good"], "film"], [b"good film"]])
def test_a_sentence_is_not_taken_for_a_list_of_letters(texts: object) -> None:
    with pytest.raises(
        TypeError, match=r"must be cut into a list of words, not b?'.*': core.data.text.words\(\) does it"
    ):
        FrequentWords(texts)


def test_a_sentence_is_not_encoded_letter_by_letter_unless_letters_are_known() -> None:
    assert FrequentWords([["a", "b"]]).encode("ab").tolist() == [2, 3]
    with pytest.raises(TypeError, match="must be cut into a list of words, not 'good film'"):
        FrequentWords([["good", "film"]]).encode("good film")
