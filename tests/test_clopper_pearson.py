"""The exact interval of a share: against SciPy, and against a number worked out by hand."""

from __future__ import annotations

import pytest

from experiments.clopper_pearson import clopper_pearson

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (7, 5000), (2500, 5000), (1, 1)])
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(successes: int, trials: int) -> None:
    low, high = clopper_pearson(successes, trials)
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)


def test_nothing_out_of_ten_may_still_be_three_in_ten() -> None:
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(0.3085, abs=1e-4))


def test_impossible_counts_are_refused() -> None:
    for successes, trials in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="trials"):
            clopper_pearson(successes, trials)
