"""From text to bags of word numbers."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from word_list import WordList

from core.data.text import (
    Bags,
    HashingVocabulary,
    bag,
    distinct_words,
    make_bags,
    stem,
    words,
    words_and_pairs,
)
from core.errors import SettingsError


def test_words_are_lower_case_and_money_signs_and_numbers_count() -> None:
    assert words("WIN $1000 now!! 50% off") == ["win", "$", "1000", "now", "!", "!", "50", "%", "off"]


def test_text_set_apart_by_spaces_reads_like_text_as_it_was_written() -> None:
    assert words("don ' t pay £ 5 _ really _ , ok ?") == words("Don't pay £5 _really_, OK?")


def test_words_of_other_alphabets_stay_whole() -> None:
    assert words("Größe ПРИВЕТ") == ["größe", "привет"]


@pytest.mark.parametrize(
    "text",
    [
        "f\u200bree mo\u00adney",
        "fr\u200c\u200dee m\u2060on\ufeffey",
        "fr\x00ee mon\x08ey",
        "\u202efree\u202c mone\ufe0fy",
        "\uff46\uff52\uff45\uff45 \uff4d\uff4f\uff4e\uff45\uff59",
        "\U0001d41f\U0001d42b\U0001d41e\U0001d41e money",
        "\u24d5\u24e1\u24d4\u24d4 money",
        "f\u0336r\u0336e\u0336e\u0336 m\u0489oney".replace("\u0489", "\u0335"),
        "FREE\u00a0MONEY",
        "free\u2003money",
        "f\U000e0067ree money",
    ],
)
def test_invisible_characters_and_letter_forms_make_no_other_word(text: str) -> None:
    assert words(text) == distinct_words(text) == ["free", "money"]


@pytest.mark.parametrize("word", ["café", "größe", "việt", "한국어", "й", "ﬁnden", "İstanbul", "हिन्दी", "ไทยนี้", "ガ"])
def test_a_word_is_one_word_however_it_is_composed(word: str) -> None:
    forms = {form: words(unicodedata.normalize(form, word)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len({tuple(found) for found in forms.values()}) == 1
    assert len(forms["NFC"]) == 1


@given(st.text())
def test_words_of_words_are_the_same_words(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)


def test_a_text_of_many_pieces_has_the_same_words_as_one() -> None:
    text = "one, two; three\n" * 20_000
    assert words(text) == words("one, two; three\n") * 20_000


def test_a_text_of_spaces_and_line_ends_has_no_words() -> None:
    assert words(" \t\n\r\u00a0") == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [("account", "accoun"), ("accounts", "accoun"), ("pay", "pay"), ("1000", "1000"), ("08712460324", "00000000000")],
)
def test_long_words_share_a_stem_and_long_numbers_only_tell_their_length(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_hashed_numbers_are_the_same_in_every_process_and_release() -> None:
    """The numbers are CRC-32 modulo the size: crc32(b"win") is 0xb0ca3b76."""
    assert HashingVocabulary(8192).index("win") == 0xB0CA3B76 % 8192
    program = "from core.data.text import HashingVocabulary; print(HashingVocabulary(8192).index('größe'))"
    environment = {"PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert int(other.stdout) == HashingVocabulary(8192).index("größe")


@given(st.text(), st.integers(1, 10_000))
def test_every_word_has_a_number_below_the_size(word: str, size: int) -> None:
    assert 0 <= HashingVocabulary(size).index(word) < size


def test_a_vocabulary_without_numbers_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least 1 number, not 0"):
        HashingVocabulary(0)


def test_the_cat_sat_is_the_bag_of_its_three_places_in_the_list() -> None:
    assert bag("the cat sat, the CAT", WordList(("cat", "the", "dog", "sat", ","))) == [0, 1, 3, 4]


def test_a_mail_is_the_set_of_its_words_and_a_long_one_is_cut_not_dropped() -> None:
    assert distinct_words("no no yes NO maybe", longest=2) == ["no", "yes"]
    many = " ".join(f"w{number}" for number in range(600))
    assert distinct_words(many) == [f"w{number}" for number in range(500)]


def test_words_that_share_a_number_count_once() -> None:
    assert bag("one two three", HashingVocabulary(1)) == [0]


def example() -> Bags:
    """Three texts over the list a b c: {a, b}, nothing, {c}; the last is spam."""
    return make_bags(["b a b", "", "c"], [False, False, True], WordList(("a", "b", "c")))


def test_bags_lie_end_to_end_without_padding() -> None:
    bags = example()
    assert len(bags) == 3
    assert bags.indices.tolist() == [0, 1, 2]
    assert bags.offsets.tolist() == [0, 2, 2]
    assert bags.labels.tolist() == [0, 0, 1]
    assert bags.indices.dtype == bags.offsets.dtype == np.int64


@pytest.mark.parametrize(
    ("rows", "indices", "offsets", "labels"),
    [
        ([2, 0], [2, 0, 1], [0, 1], [1, 0]),
        ([1, 2], [2], [0, 0], [0, 1]),
        ([0, 1, 0], [0, 1, 0, 1], [0, 2, 2], [0, 0, 0]),
        ([1], [], [0], [0]),
    ],
)
def test_a_batch_holds_the_bags_of_its_rows_in_that_order(
    rows: list[int], indices: list[int], offsets: list[int], labels: list[int]
) -> None:
    (got_indices, got_offsets), got_labels = example().batch(np.array(rows))
    assert got_indices.tolist() == indices
    assert got_offsets.tolist() == offsets
    assert got_labels.tolist() == labels


@given(st.lists(st.text("abc ", max_size=9), min_size=1, max_size=8), st.randoms())
def test_batches_agree_with_taking_bags_one_by_one(texts: list[str], random: object) -> None:
    vocabulary = HashingVocabulary(50)
    bags = make_bags(texts, [False] * len(texts), vocabulary)
    rows = np.random.default_rng(random.randrange(99)).integers(len(texts), size=5)  # type: ignore[attr-defined]
    (indices, offsets), _ = bags.batch(rows)
    taken = [part.tolist() for part in np.split(indices, offsets[1:])]
    assert taken == [bag(texts[row], vocabulary) for row in rows]


def test_no_texts_make_an_empty_data_set() -> None:
    bags = make_bags([], [], HashingVocabulary(8))
    assert len(bags) == 0
    assert bags.indices.shape == bags.offsets.shape == bags.labels.shape == (0,)


def test_a_label_missing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="2 texts and 1 labels"):
        make_bags(["a", "b"], [True], HashingVocabulary(8))


def test_one_string_is_not_taken_for_several_texts_or_words() -> None:
    with pytest.raises(TypeError, match="not the one string 'win': put it into a list"):
        make_bags("win", [True] * 3, HashingVocabulary(8))


def test_bags_may_be_asked_for_in_any_integer_type() -> None:
    bags = make_bags(["win"] * 256, [True] * 256, HashingVocabulary(8))
    (indices, offsets), labels = bags.batch(np.array([255, 0], np.uint8))
    assert (len(indices), offsets.tolist(), labels.tolist()) == (2, [0, 1], [1, 1])


def test_words_and_pairs_are_distinct_stems_and_neighbours() -> None:
    assert words_and_pairs("Click here, click HERE now") == [
        *("click", "here", ",", "now"),
        *("click here", "here ,", ", click", "here now"),
    ]
    assert words_and_pairs("congratulations 123456") == ["congra", "000000", "congra 000000"]
    assert words_and_pairs("") == []


def test_parts_of_bags_in_an_order_are_the_batches_of_those_rows() -> None:
    bags = make_bags(["a b", "", "c d e", "b"], [True, False, False, True], HashingVocabulary(50))
    order = np.array([2, 1, 3, 0])
    for start, stop in ((0, 2), (2, 4), (1, 3)):
        (indices, offsets), labels = bags.in_order(order).part(start, stop)
        (expected, starts), answers = bags.batch(order[start:stop])
        assert indices.tolist() == expected.tolist()
        assert offsets.tolist() == starts.tolist()
        assert labels.tolist() == answers.tolist()
