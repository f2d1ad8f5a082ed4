"""Noise of whole numbers: the fast sampler and the one that reads like the paper, against the exact distribution."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from math import exp, sqrt

import numpy as np
import pytest

from core.privacy import discrete_gaussian
from core.privacy.discrete_gaussian import LARGEST_VARIANCE, draw, draw_one

pytestmark = pytest.mark.slow

DRAWS = 40_000


def fast(variance: int, count: int, seed: int = 1) -> np.ndarray:
    return draw(variance, count, np.random.default_rng(seed).bytes)


def one_by_one(variance: int, count: int, seed: int = 1) -> np.ndarray:
    random_bytes = np.random.default_rng(seed).bytes
    return np.array([draw_one(variance, random_bytes) for _ in range(count)])


def probabilities(variance: int, largest: int) -> dict[int, float]:
    """The exact distribution, cut off where nothing is left of it."""
    weights = {x: exp(-x * x / (2 * variance)) for x in range(-largest, largest + 1)}
    total = sum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


def surprise(drawn: np.ndarray, variance: int, bins: int = 40) -> float:
    """Chi-square of the draws over some `bins` intervals, in standard deviations from its mean: about -2 to 3 by chance."""
    exact = probabilities(variance, int(12 * sqrt(variance)) + 12)
    first, mass = min(exact), np.array(list(exact.values()))
    interval = np.minimum((np.cumsum(mass) * bins).astype(int), bins - 1)
    expected = np.bincount(interval, mass, minlength=bins) * len(drawn)
    observed = np.bincount(interval[drawn - first], minlength=bins)
    used = expected > 0
    statistic = ((observed[used] - expected[used]) ** 2 / expected[used]).sum()
    freedom = used.sum() - 1
    return float((statistic - freedom) / sqrt(2 * freedom))


@pytest.mark.parametrize("sampler", [fast, one_by_one])
@pytest.mark.parametrize("variance", [1, 2, 4, 50, 1000])
def test_draws_come_as_often_as_the_formula_says(sampler: Callable[[int, int], np.ndarray], variance: int) -> None:
    count = DRAWS if sampler is fast else 8000
    assert surprise(sampler(variance, count), variance) < 4


@pytest.mark.parametrize("variance", [10**6, LARGEST_VARIANCE])
def test_a_large_variance_is_met_too(variance: int) -> None:
    assert surprise(fast(variance, 200_000, seed=2), variance) < 4


def test_the_check_itself_notices_another_variance() -> None:
    assert surprise(fast(50, DRAWS), 55) > 10
    assert surprise(fast(1, DRAWS), 2) > 10


def test_the_commonest_numbers_of_variance_1_are_0_and_then_plus_and_minus_1() -> None:
    drawn = fast(1, DRAWS)
    exact = probabilities(1, 12)
    for x in (-2, -1, 0, 1, 2):
        spread = sqrt(exact[x] * (1 - exact[x]) / DRAWS)
        assert abs((drawn == x).mean() - exact[x]) < 4 * spread
    assert exact[0] == pytest.approx(0.3989, abs=1e-4)


def test_every_whole_number_around_0_can_come_and_both_signs_alike() -> None:
    drawn = fast(100, DRAWS)
    assert set(range(-25, 26)) <= set(drawn.tolist())
    positive = int((drawn > 0).sum())
    assert abs(positive - int((drawn < 0).sum())) < 4 * sqrt(DRAWS)


def test_draws_do_not_hang_together() -> None:
    drawn = fast(100, DRAWS).astype(float)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / sqrt(DRAWS)
    assert abs(np.corrcoef(drawn[:-1] ** 2, drawn[1:] ** 2)[0, 1]) < 4 / sqrt(DRAWS)


def test_randomness_comes_from_the_operating_system_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw.__defaults__ == (os.urandom,)
    assert draw_one.__defaults__ == (os.urandom,)
    assert not np.array_equal(draw(10**6, 100), draw(10**6, 100))


def test_the_same_bytes_give_the_same_draws() -> None:
    assert np.array_equal(fast(50, 100, seed=3), fast(50, 100, seed=3))
    assert not np.array_equal(fast(50, 100, seed=3), fast(50, 100, seed=4))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_there_are_as_many_draws_as_asked_for(count: int) -> None:
    assert draw(4, count).shape == (count,)
    assert draw(4, count).dtype == np.int64


@pytest.mark.parametrize("variance", [-1, 0, LARGEST_VARIANCE + 1])
def test_a_variance_that_could_overflow_is_refused(variance: int) -> None:
    with pytest.raises(ValueError, match="variance"):
        draw(variance, 1)
    with pytest.raises(ValueError, match="variance"):
        draw_one(variance)


def test_no_product_leaves_64_bits() -> None:
    t = 4097
    assert t == int(sqrt(LARGEST_VARIANCE)) + 1
    largest = (discrete_gaussian.MOST_STEPS * t - 1) * t - LARGEST_VARIANCE
    assert largest**2 < 1 << 64
    assert (256 * 4096 * 4096 - 1) ** 2 < 1 << 64  # any smaller t
    assert 2 * LARGEST_VARIANCE * t * t * (1 << 14) < 1 << 64


@pytest.mark.parametrize("limit", [1, 2, 3, 1 << 32, (1 << 63) + 1, (1 << 64) - 1])
def test_numbers_below_a_limit_are_all_alike(limit: int) -> None:
    drawn = discrete_gaussian._below(limit, 3000, np.random.default_rng(1).bytes)
    assert int(drawn.max()) < limit
    halves = (drawn >= np.uint64(limit // 2)).mean()
    assert limit == 1 or abs(halves - (limit - limit // 2) / limit) < 0.04


def test_words_at_the_end_that_would_favour_small_numbers_are_drawn_again() -> None:
    words = [(1 << 64) - 1, (1 << 64) - 2, 5]  # 2^64 = 1 modulo 3: the last word must go
    stream = b"".join(word.to_bytes(8, "little") for word in [*words, 7])
    taken = iter(range(0, len(stream), 8))

    def random_bytes(size: int) -> bytes:
        return b"".join(stream[at : at + 8] for at in [next(taken) for _ in range(size // 8)])

    assert discrete_gaussian._below(3, 3, random_bytes).tolist() == [7 % 3, ((1 << 64) - 2) % 3, 5 % 3]


def test_ten_thousand_draws_take_well_below_a_tenth_of_a_second() -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        draw(10**6, 10_000)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1
