"""From what has happened to an epsilon: by hand, by dp-accounting, and never too small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, pi, sqrt

import numpy as np
import pytest

from core.privacy.composition import tau
from server import accountant
from server.accountant import NoisySum, Spent, affordable, epsilon_of, spent

DELTA = 1e-5
ONCE = NoisySum(round=1, contributors=5, max_colluders=0, sensitivity=1000, variance=200_000, values=8193)
"""5 * 200,000 is the square of 1000: a noise multiplier of exactly 1."""
dp_accounting = pytest.importorskip("dp_accounting")


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch):
    """As it is where dp-accounting is not installed."""
    accountant._spent.cache_clear()
    monkeypatch.setattr(accountant, "_tight", lambda: False)
    yield
    accountant._spent.cache_clear()


def test_the_noise_that_counts_is_that_of_the_contributors_who_do_not_collude() -> None:
    assert ONCE.noise_multiplier == pytest.approx(1.0)
    assert replace(ONCE, contributors=20).noise_multiplier == pytest.approx(2.0)
    assert replace(ONCE, contributors=20, max_colluders=15).noise_multiplier == pytest.approx(1.0)


def test_one_round_with_a_noise_multiplier_of_1_costs_half_a_rho() -> None:
    assert ONCE.rho == pytest.approx(0.5, abs=1e-9)
    assert ONCE.rho >= 0.5


@pytest.mark.parametrize(("rounds", "epsilon"), [(1, 5.2985), (10, 20.1743), (50, 58.9307)])
def test_by_hand_epsilon_is_rho_and_twice_the_root_of_rho_times_the_logarithm(
    by_hand: None, rounds: int, epsilon: float
) -> None:
    events = [replace(ONCE, round=number) for number in range(1, rounds + 1)]
    rho = rounds / 2
    assert spent(events, DELTA).epsilon == pytest.approx(rho + 2 * sqrt(rho * log(1 / DELTA)), rel=1e-9)
    assert spent(events, DELTA).epsilon == pytest.approx(epsilon, abs=1e-3)
    assert "sqrt" in accountant.method()


@pytest.mark.parametrize("rounds", [1, 5, 40])
@pytest.mark.parametrize("noise", [0.5, 1.0, 4.0])
def test_dp_accounting_is_tighter_and_never_below_the_exact_cost_of_a_gaussian(rounds: int, noise: float) -> None:
    rho = rounds / (2 * noise**2)
    epsilon = epsilon_of(rho, DELTA)
    assert epsilon < rho + 2 * sqrt(rho * log(1 / DELTA))
    exact = dp_accounting.get_epsilon_gaussian(noise / sqrt(rounds), DELTA)
    assert exact <= epsilon < 1.2 * exact + 0.1


def test_nothing_that_happened_costs_nothing() -> None:
    assert spent([], DELTA) == Spent(0.0, 0.0)


def test_costs_add_up_in_whatever_order() -> None:
    other = replace(ONCE, contributors=7)
    there, back = spent([ONCE, other, ONCE], DELTA), spent([other, ONCE, replace(ONCE, round=3)], DELTA)
    assert there == back
    assert there.epsilon > spent([ONCE, other], DELTA).epsilon


def test_more_noise_or_a_larger_delta_costs_less() -> None:
    assert spent([replace(ONCE, contributors=6)], DELTA).epsilon < spent([ONCE], DELTA).epsilon
    assert spent([ONCE], 1e-3).epsilon < spent([ONCE], DELTA).epsilon


# ------------------------------------------------------------------------------------------------ sums of noise


def test_a_sum_of_discrete_gaussians_is_as_good_as_one_from_two_steps_on() -> None:
    assert tau(1, 4) == 0
    assert tau(2, 4) == pytest.approx(10 * exp(-4 * pi**2), rel=1e-9)
    assert tau(1000, 4) * 2**26 / 4 < 1e-7
    assert tau(1000, 4) * 8193 / 4 < 1e-11


def test_tau_is_what_the_sum_says_and_never_less() -> None:
    exact = 10 * sum(exp(-2 * pi**2 * k / (k + 1)) for k in range(1, 1000))
    assert exact <= tau(1000, 1) < 1.4 * exact
    assert tau(60, 1) == pytest.approx(10 * sum(exp(-2 * pi**2 * k / (k + 1)) for k in range(1, 60)))


def test_tau_bounds_how_far_a_sum_of_two_really_is_from_one_discrete_gaussian() -> None:
    reach = np.arange(-40, 41)
    one = np.exp(-(reach**2) / 2.0)
    two = np.convolve(one / one.sum(), one / one.sum(), mode="same")
    single = np.exp(-(reach**2) / 4.0)
    single /= single.sum()
    near = np.abs(reach) <= 8
    assert np.abs(np.log(two[near] / single[near])).max() <= tau(2, 1)


# ------------------------------------------------------------------------------------------------ sampling


def test_clients_chosen_at_random_are_safer_from_those_who_see_models_only() -> None:
    sampled = replace(ONCE, variance=800_000, chosen=5, chosen_from=50)
    cost = spent([replace(sampled, round=number) for number in range(1, 21)], DELTA)
    assert cost.epsilon_models < 0.7 * cost.epsilon


def test_where_all_clients_take_part_both_figures_are_the_same() -> None:
    cost = spent([replace(ONCE, chosen=50, chosen_from=50)], DELTA)
    assert cost.epsilon == cost.epsilon_models


def test_sampling_is_counted_for_replacing_a_client_with_half_the_noise() -> None:
    from dp_accounting import rdp

    sampled = replace(ONCE, variance=3_200_000, chosen=5, chosen_from=500)
    accountant_ = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    accountant_.compose(dp_accounting.SampledWithoutReplacementDpEvent(500, 5, dp_accounting.GaussianDpEvent(2.0)), 30)
    events = [replace(sampled, round=number) for number in range(1, 31)]
    assert spent(events, DELTA).epsilon_models == pytest.approx(accountant_.get_epsilon(DELTA))


def test_without_dp_accounting_nothing_is_gained_by_sampling(by_hand: None) -> None:
    cost = spent([replace(ONCE, chosen=1, chosen_from=1000)], DELTA)
    assert cost.epsilon == cost.epsilon_models


# ------------------------------------------------------------------------------------------------ limits


def test_as_many_rounds_are_affordable_as_the_budget_has_room_for() -> None:
    for budget in (5.0, 10.0, 20.0):
        rounds = affordable(ONCE, 1000, DELTA, budget)
        assert spent([ONCE] * rounds, DELTA).epsilon <= budget < spent([ONCE] * (rounds + 1), DELTA).epsilon
    assert affordable(ONCE, 3, DELTA, 1e6) == 3
    assert affordable(ONCE, 1000, DELTA, 0.5) == 0


def test_by_hand_a_budget_of_21_is_enough_for_ten_rounds(by_hand: None) -> None:
    assert affordable(ONCE, 1000, DELTA, 21.0) == 10


def test_events_of_an_unknown_kind_are_refused() -> None:
    @dataclass(frozen=True)
    class Dance:
        round: int

    with pytest.raises(TypeError, match="no event of the kind Dance"):
        spent([ONCE, Dance(2)], DELTA)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "wrong", [{"max_colluders": 5}, {"sensitivity": 0}, {"variance": 0}, {"chosen": 3, "chosen_from": 2}]
)
def test_impossible_events_cannot_be_made(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="\\w"):
        replace(ONCE, **wrong)


def sampled(contributors: int) -> NoisySum:
    return replace(ONCE, contributors=contributors, chosen=contributors, chosen_from=100)


def test_rounds_of_several_kinds_cost_what_dp_accounting_says_of_them_together() -> None:
    events = [sampled(5), sampled(6), sampled(6)]
    whole = dp_accounting.rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    for event in events:
        whole.compose(accountant._replacing(dp_accounting, event))
    assert accountant._sampled_epsilon([(sampled(5), 1), (sampled(6), 2)], DELTA) == pytest.approx(
        whole.get_epsilon(DELTA), rel=1e-12
    )


def test_each_kind_of_round_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came before: the twentieth kind costs no more than the first."""
    computed: list[NoisySum] = []
    real = accountant._replacing
    monkeypatch.setattr(accountant, "_replacing", lambda module, event: computed.append(event) or real(module, event))
    accountant._computed_divergences.cache_clear()
    spent([sampled(3)], DELTA)
    spent([sampled(3), sampled(4)], DELTA)
    accountant.prepare(replace(sampled(2), round=7))
    spent([sampled(2), sampled(3), sampled(4), sampled(4)], DELTA)
    assert sorted(event.contributors for event in computed) == [2, 3, 4]
