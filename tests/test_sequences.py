"""Neighbours of words, and how well texts are foretold: by models that know nothing or everything, and by counts."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import core.sequences
from core.ops import Array
from core.sequences import bigram_perplexity, neighbours, sliding_window, text_perplexity, unigram_perplexity
from core.tensor import Tensor


def test_the_example_in_the_module_is_true():
    assert doctest.testmod(core.sequences).failed == 0


def test_a_window_shows_the_neighbours_of_each_place_and_padding_beyond_the_ends():
    assert sliding_window([1, 2, 3], 2, padding=9).tolist() == [[9, 9, 2, 3], [9, 1, 3, 9], [1, 2, 9, 9]]
    assert sliding_window([], 1, padding=0).shape == (0, 2)
    assert sliding_window(np.array([250, 251], np.uint8), 1, padding=4095).tolist() == [[4095, 251], [250, 4095]]


def test_neighbours_of_some_places():
    assert neighbours(np.array([5, 6, 7, 8]), np.array([1, 2]), 1).tolist() == [[5, 7], [6, 8]]


@pytest.mark.parametrize(("numbers", "width"), [([1, 2], 0), ([[1, 2]], 1), ([0.5], 1)])
def test_a_window_over_nothing_that_is_a_row_is_refused(numbers, width):
    with pytest.raises(ValueError, match="window"):
        sliding_window(numbers, width, padding=0)


def test_a_model_that_knows_nothing_finds_every_character_equally_likely():
    def model(read: Array, _state: object) -> tuple[Tensor, None]:
        return Tensor(np.zeros((*read.shape, 5))), None

    assert text_perplexity(model, np.arange(200) % 5) == pytest.approx(5)


def test_counts_of_the_text_itself():
    assert unigram_perplexity([0, 1, 0, 1]) == pytest.approx(2)
    assert bigram_perplexity([0, 1, 0, 1, 0]) == pytest.approx(1)


def test_what_was_never_counted_is_impossible_without_smoothing_and_possible_with_it():
    assert unigram_perplexity([0, 0, 0], [0, 1]) == np.inf
    # add-one: 4/5 for character 0 and 1/5 for character 1, so that both come to 1 / sqrt(4/25)
    assert unigram_perplexity([0, 0, 0], [0, 1], smoothing=1) == pytest.approx(2.5)
    assert bigram_perplexity([0, 0, 0], [0, 1, 0]) == np.inf
    # of 0 is known 0 0 twice, so 3/4 and 1/4; of 1 nothing, so one half each
    assert bigram_perplexity([0, 0, 0], [0, 1, 0], smoothing=1) == pytest.approx((1 / 4 * 1 / 2) ** -0.5)


def test_with_more_characters_than_occur_smoothing_leaves_room_for_them():
    assert unigram_perplexity([0], [0], size=3, smoothing=1) == pytest.approx(2)  # 2/4


@pytest.mark.parametrize(
    "call",
    [
        lambda: unigram_perplexity([0, 1], smoothing=-1),
        lambda: unigram_perplexity([]),
        lambda: bigram_perplexity([0]),
        lambda: unigram_perplexity([0, 5], size=3),
    ],
)
def test_counts_that_cannot_be_made_are_refused(call):
    with pytest.raises((ValueError, IndexError), match="smoothing|too short|not all in"):
        call()
