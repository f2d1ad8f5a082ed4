"""Costs of noisy sums: they add up exactly, and the epsilon they come to is that of the accountants of others."""

from __future__ import annotations

import random
from math import erf, exp, inf, sqrt

import pytest

from core.privacy.composition import cost_of_sum, delta_of, epsilon_of_cost


def phi(x: float) -> float:
    return 0.5 * (1 + erf(x / sqrt(2)))


@pytest.mark.parametrize(("mu", "epsilon"), [(1.0, 1.0), (0.5, 0.3), (3.0, 5.0)])
def test_delta_is_the_analytic_formula_of_balle_and_wang(mu: float, epsilon: float) -> None:
    expected = phi(mu / 2 - epsilon / mu) - exp(epsilon) * phi(-mu / 2 - epsilon / mu)
    assert delta_of(mu**2, epsilon) == pytest.approx(expected, rel=1e-9)


def test_epsilon_and_delta_are_inverse_to_each_other_for_small_and_large_costs() -> None:
    for cost in (1e-4, 0.1, 1.0, 50.0, 1e4, 1e6):
        for delta in (1e-12, 1e-5, 0.1):
            epsilon = epsilon_of_cost(cost, delta)
            assert epsilon == 0 or delta_of(cost, epsilon) == pytest.approx(delta, rel=1e-6)


def test_one_sum_with_a_noise_multiplier_of_one_has_the_epsilon_of_tables() -> None:
    assert epsilon_of_cost(1.0, 1e-5) == pytest.approx(4.377, abs=0.001)


def test_what_costs_nothing_and_what_cannot_be_bounded_keep_their_epsilon() -> None:
    assert epsilon_of_cost(0.0, 1e-5) == 0.0
    assert epsilon_of_cost(inf, 1e-5) == inf
    for cost, delta in [(-1.0, 1e-5), (float("nan"), 1e-5), (1.0, 0.0), (1.0, 1.0)]:
        with pytest.raises(ValueError, match="expected 0 or more"):
            epsilon_of_cost(cost, delta)


def test_the_noise_of_colluders_is_not_counted_on() -> None:
    assert cost_of_sum(100, 2500, 4, 10) == pytest.approx(1.0)
    assert cost_of_sum(100, 2500, 2, 10) == pytest.approx(2.0)
    assert cost_of_sum(100, 2500, 0, 10) == inf


def test_random_sequences_of_runs_cost_what_dp_accounting_says_within_one_per_cent() -> None:
    dp_accounting = pytest.importorskip("dp_accounting")
    from dp_accounting.pld import PLDAccountant

    rng = random.Random(7)
    for _ in range(6):
        runs = [(rng.uniform(0.6, 6.0), rng.randint(1, 12)) for _ in range(rng.randint(1, 5))]
        accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
        for noise, rounds in runs:
            accountant.compose(dp_accounting.GaussianDpEvent(noise), rounds)
        cost = sum(rounds * cost_of_sum(1000, round((noise * 1000) ** 2), 1, 1) for noise, rounds in runs)
        for delta in (1e-5, 1e-7):
            assert epsilon_of_cost(cost, delta) == pytest.approx(accountant.get_epsilon(delta), rel=0.01)
