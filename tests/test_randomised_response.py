"""Randomised response: what one answer tells, and how well a crowd is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.privacy.randomised_response import EPSILON, estimate, respond, standard_error, true_share

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("said", "true"), [(0.25, 0), (0.6, 0.7), (0.75, 1)])
def test_the_truth_is_got_back_from_the_share_of_yes(said: float, true: float) -> None:
    assert true_share(said) == pytest.approx(true)


def test_a_yes_is_three_times_as_likely_where_it_is_true() -> None:
    answers = respond(np.repeat([True, False], 100_000), 0)
    assert answers[:100_000].mean() == pytest.approx(3 / 4, abs=0.01)
    assert answers[100_000:].mean() == pytest.approx(1 / 4, abs=0.01)
    assert pytest.approx(math.log(3)) == EPSILON


def test_the_estimate_is_off_by_about_its_standard_error() -> None:
    truth = np.arange(1000) < 700
    found = [estimate(respond(truth, seed)) for seed in range(300)]
    spread = np.std([each.share for each in found])
    assert np.mean([each.share for each in found]) == pytest.approx(0.7, abs=0.01)
    assert found[0].standard_error == pytest.approx(2 * math.sqrt(0.6 * 0.4 / 1000), rel=0.05)
    assert spread == pytest.approx(standard_error(0.6, 1000), rel=0.15)


@pytest.mark.parametrize(("answers", "share"), [([0, 0, 0, 0], 0.0), ([1, 1, 1], 1.0), ([1, 0], 0.5)])
def test_the_estimate_is_cut_to_what_a_share_can_be(answers: list[int], share: float) -> None:
    assert estimate(answers).share == share


def test_answers_repeat_with_their_seed() -> None:
    truth = np.ones(100, bool)
    assert (respond(truth, 1) == respond(truth, np.random.default_rng(1))).all()
    assert (respond(truth, 1) != respond(truth, 2)).any()


def test_no_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="no answers"):
        estimate([])
