"""Writing with a model: greedy and sampled choices, temperature, seeds."""

from __future__ import annotations

import numpy as np
import pytest

from book.generation import generate, greedy, sampler
from core.ops import Array

LOGITS = np.log([0.1, 0.2, 0.7])


def shares(temperature: float, draws: int = 20_000) -> Array:
    choose = sampler(np.random.default_rng(1), temperature)
    return np.bincount([choose(LOGITS) for _ in range(draws)], minlength=3) / draws


def count_up(number: int, state: int | None) -> tuple[Array, int]:
    """Foretell the sum of all numbers read so far, modulo 5."""
    total = (state or 0) + number
    return np.eye(5)[total % 5], total


def test_greedy_takes_the_likeliest():
    assert greedy(LOGITS) == 2


def test_samples_come_from_the_whole_distribution():
    assert shares(1.0) == pytest.approx([0.1, 0.2, 0.7], abs=0.015)


def test_temperature_divides_the_logits():
    # At 1/2 probabilities are squared: .01, .04, .49 of .54; at 2 their roots count: .316, .447, .837 of 1.6.
    assert shares(0.5) == pytest.approx([0.0185, 0.0741, 0.9074], abs=0.015)
    assert shares(2.0) == pytest.approx([0.1976, 0.2795, 0.5229], abs=0.015)


def test_a_temperature_near_zero_is_greedy_and_does_not_overflow():
    choose = sampler(np.random.default_rng(1), 1e-6)
    assert {choose(np.array([-1000.0, 1000.0, 999.0])) for _ in range(50)} == {1}


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature: float):
    with pytest.raises(ValueError, match="temperature must be a positive number"):
        sampler(np.random.default_rng(1), temperature)


def test_the_prompt_is_read_and_every_choice_is_fed_back():
    # After 1 and 1 the sum is 2; 2 makes it 4, 4 makes it 8, which is 3, and 3 makes it 11, which is 1.
    assert generate(count_up, [1, 1], 4, greedy) == [2, 4, 3, 1]


def test_equal_seeds_write_the_same_and_others_do_not():
    def written(seed: int) -> list[int]:
        return generate(lambda _number, state: (LOGITS, state), [0], 50, sampler(np.random.default_rng(seed)))

    assert written(1) == written(1)
    assert written(1) != written(2)


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(count_up, [], 3, greedy)
