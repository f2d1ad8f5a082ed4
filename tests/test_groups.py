"""Groups: the robust rules by hand, the division of a cohort, and whole runs that open several sums a round."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from recomputation import SPAM, spam_of

from core.errors import SettingsError
from core.federated import add_updates, client_rng, client_update, encoding_for, initial_model, mean_update
from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.robust import Grouping, Robust, geometric_median, median, seed_of, trimmed_mean
from core.server_rules import RuleName, ServerRule
from server.budget import with_epsilon
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.settings import SimulationSettings
from simulation.virtual.block import BlockRunner
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

# ------------------------------------------------------------------------------------------------ the rules


def test_the_median_takes_the_middle_of_each_weight() -> None:
    """Yin et al. 2018, Definition 1; of an even number of groups, the mean of the two in the middle."""
    assert median(np.array([[0.0, 5.0], [1.0, 9.0], [100.0, 1.0]])).tolist() == [1.0, 5.0]
    assert median(np.array([[0.0], [1.0], [3.0], [100.0]])).tolist() == [2.0]


def test_the_trimmed_mean_leaves_out_both_ends_of_each_weight() -> None:
    """Yin et al. 2018, Definition 2: of four groups one at each end, of eight two."""
    assert trimmed_mean(np.array([[0.0, 7.0], [1.0, 6.0], [3.0, 5.0], [100.0, -9.0]])).tolist() == [2.0, 5.5]
    assert trimmed_mean(np.array([[-50.0], [-40.0], [1.0], [2.0], [3.0], [4.0], [60.0], [70.0]])).tolist() == [2.5]


def test_the_geometric_median_of_points_on_a_line_is_the_one_in_the_middle() -> None:
    found = geometric_median(np.array([[0.0, 0.0], [3.0, 4.0], [300.0, 400.0]]))
    assert found == pytest.approx([3.0, 4.0], abs=0.1)


def test_one_step_of_the_geometric_median_weighs_by_the_inverse_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillutla et al. 2022, Algorithm 2: from the mean 2 of 0, 0 and 6 the weights are 1/2, 1/2 and 1/4: 1.5/1.25."""
    monkeypatch.setattr("core.robust.STEPS", 1)
    assert geometric_median(np.array([[0.0], [0.0], [6.0]])) == pytest.approx([1.2])


def test_the_geometric_median_has_the_same_bits_in_whatever_order_a_processor_adds() -> None:
    rng = np.random.default_rng(1)
    means, order = rng.normal(size=(5, 9000)), rng.permutation(9000)
    assert (geometric_median(means)[order] == geometric_median(means[:, order])).all()


# ------------------------------------------------------------------------------------------------ the division


def test_every_client_is_in_one_group_and_sizes_differ_by_one_at_most() -> None:
    groups = Grouping(4).divide(range(1, 23), seed_of(0, 1))
    assert sorted(client for group in groups for client in group) == list(range(1, 23))
    assert sorted(map(len, groups)) == [5, 5, 6, 6]


def test_groups_are_others_in_each_round_and_the_same_for_everyone() -> None:
    rounds = [Grouping(4).divide(range(1, 23), seed_of(0, number)) for number in (1, 2, 1)]
    assert rounds[0] == rounds[2] != rounds[1]


def test_groups_below_the_minimum_cohort_are_refused() -> None:
    Grouping(4).require_room(20, 5)
    with pytest.raises(
        SettingsError, match="19 clients in 4 groups are 4 in the smallest, and the minimum cohort is 5"
    ):
        Grouping(4).require_room(19, 5)


def test_two_groups_are_refused() -> None:
    with pytest.raises(SettingsError, match="--groups is 2; 3 to 10000 are possible"):
        RoundRules(groups=2)


def test_a_rule_without_groups_is_refused() -> None:
    assert RunSettings(rules=RoundRules(groups=4), robust=Robust.trimmed_mean).grouping == Grouping(
        4, Robust.trimmed_mean
    )
    with pytest.raises(SettingsError, match="--robust is median, which decides between groups; add --groups"):
        RunSettings(robust=Robust.median)


def test_a_run_whose_groups_would_be_too_small_is_refused_before_it_begins() -> None:
    assert RoundRules(groups=4, target=20).least == 20
    with pytest.raises(
        SettingsError, match="19 clients in 4 groups are 4 in the smallest, and the minimum cohort is 5"
    ):
        RoundRules(groups=4, target=19)
    with pytest.raises(
        SettingsError, match="12 clients in 4 groups are 3 in the smallest, and the minimum cohort is 5"
    ):
        RoundRules(groups=4, target=40, cohort=12)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (ServerRule(RuleName.scaffold, population=20), "--rule scaffold needs the mean of one sum"),
        (ServerRule(clip_quantile=0.5), "--clip-quantile counts in one sum"),
    ],
)
def test_rules_that_need_one_sum_are_refused_with_groups(rule: ServerRule, why: str) -> None:
    Grouping(4).require_rule(ServerRule(RuleName.fedadam))
    with pytest.raises(SettingsError, match=why):
        RunSettings(rules=RoundRules(groups=4), server_rule=rule)


def test_the_usual_minimum_cohort_is_that_of_a_group() -> None:
    assert SimulationSettings(virtual=True).decide(24, None, groups=4)["min_cohort"] == 5
    # Groups of two are not opened unless that is asked for: require_room then says what to do.
    assert SimulationSettings().decide(10, None, groups=4)["min_cohort"] == 5
    assert SimulationSettings(min_cohort=2).decide(10, None, groups=4)["min_cohort"] == 2
    assert SimulationSettings().decide(3, None)["min_cohort"] == 3
    assert SimulationSettings(virtual=True).decide(100, None, groups=4)["min_cohort"] == 13


def test_epsilon_counts_the_noise_of_a_group_alone() -> None:
    """A sum of 20 of 80 clients in four groups costs what one of 20 clients does, and more than one of 80."""
    result = RoundResult(1, 80, *[0.0] * 9)

    def epsilon(groups: int, contributors: int) -> float:
        rules = RoundRules(groups=groups, min_cohort=10, max_cohort=80)
        settings = RunSettings(rules=rules, privacy=Privacy(1.0, 1.0, 1e-5))
        found = with_epsilon(replace(result, contributors=contributors), settings, 10, (), (contributors, contributors))
        return found.epsilon

    assert epsilon(4, 80) == epsilon(1, 20) > epsilon(1, 80)


# ------------------------------------------------------------------------------------------------ whole runs


def model_of(scheme: str, robust: Robust) -> np.ndarray:
    """The model after one round of nine virtual clients in three groups."""
    rules = RoundRules(rounds=1, min_cohort=3, max_cohort=9, groups=3, threshold=1, holders=1)
    settings = RunSettings("spam", scheme, 256, 0, rules, insecure_demo_keys=True, robust=robust)
    population = Generated(SPAM, 0, 9)
    run = VirtualRun(settings, SPAM, population)
    with WorkerPool(BlockRunner(SPAM, population, 0), 1, len(run.model), run.slots, 9) as pool:
        (result,) = run.rounds(pool, lambda _clients: None)
    assert result.contributors == 9
    return run.model


@pytest.mark.parametrize("robust", Robust)
def test_the_model_follows_from_the_sums_of_the_groups_alone(robust: Robust) -> None:
    start = initial_model(SPAM, 0)
    encoding = encoding_for(SPAM, len(start), plaintext_bits=224, max_cohort=9)
    train = partial(client_update, SPAM, start)
    means = [
        mean_update(add_updates(encoding, [train(spam_of(0, each), client_rng(0, 1, each)) for each in group]))
        for group in Grouping(3).divide(range(1, 10), seed_of(0, 1))
    ]
    rules = {"median": median, "trimmed-mean": trimmed_mean, "geometric-median": geometric_median}
    assert np.array_equal(model_of("plain", robust), start + rules[robust.value](np.stack(means)))


def test_encrypted_groups_give_the_same_bytes_as_plain_ones() -> None:
    assert np.array_equal(model_of("paillier", Robust.median), model_of("plain", Robust.median))
