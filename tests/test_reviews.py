"""Film reviews in both layouts, vocabularies counted from them, and made-up ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from core.data.made_up_text import generated_reviews
from core.data.reviews import read_reviews
from core.data.vocabulary import FrequentWords, pad
from core.errors import DataError


def test_lines_and_labels_are_read_in_step(tmp_path: Path) -> None:
    (tmp_path / "reviews.txt.gz").write_bytes(gzip.compress(b"good  film .  \nbad\n"))
    (tmp_path / "labels.txt").write_text("positive\nnegative\n")
    reviews = read_reviews(tmp_path)
    assert reviews.words() == [["good", "film", "."], ["bad"]]
    assert reviews.positive.tolist() == [True, False]


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
