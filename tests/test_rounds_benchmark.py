"""The benchmark of whole rounds runs a real federation and finds every party in it."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from benchmarks import checks, rounds, stopwatch
from benchmarks.rounds import Setting, Watch, Whole, bar_settings
from benchmarks.ten_thousand import NAME, TEN_THOUSAND, WEIGHTS
from core.federated import initial_model
from core.tasks import TASKS

pytestmark = pytest.mark.slow

SMALL = Setting("paillier", clients=2, bits=512, threshold=1, holders=1)


def cells(whole: Whole) -> list[str]:
    """The row of one run."""
    return [str(cell) for column in rounds.table([whole]).columns for cell in column.cells]


def test_it_times_every_round_and_finds_every_party():
    whole = rounds.run(SMALL, rounds=3)
    assert len(whole.rounds) == 2  # from one completed round to the next
    assert 0 < min(whole.rounds) < whole.total
    assert set(whole.watch.by_party()) >= {"simulation", "server", "keyholder", "client"}
    assert sorted(whole.watch.names.values()).count("client") == 2
    assert all(seconds > 0 for seconds in whole.watch.by_party().values())
    assert 50e6 < whole.watch.memory < 1e9


def test_ten_thousand_weights_are_federated_like_any_task():
    setting = Setting("paillier", 2, bits=512, weights=WEIGHTS, plaintext=True)
    whole = rounds.run(setting, rounds=2)
    assert len(initial_model(TEN_THOUSAND, 0)) == 10_000
    assert sorted(whole.watch.names.values()).count("client") == 2
    assert NAME not in TASKS, "only the benchmark knows it"
    assert cells(whole)[:6] == ["paillier", "512", "2 of 3", "no", "10,000", "2"]


@pytest.mark.parametrize(("seconds", "verdict"), [([2.4, 2.5, 9.0], "2.5 met"), ([2.4, 2.6, 2.7], "2.5 MISSED")])
def test_the_median_round_is_held_against_the_bar(seconds, verdict):
    assert verdict in cells(Whole(bar_settings()[0], 20.0, seconds, Watch()))


def test_each_bar_is_for_two_of_three_holders_with_everything_on():
    full, alone, bare = bar_settings()[:3]
    assert "--insecure-plaintext" not in full.program + alone.program
    assert full.program[full.program.index("--holders") :][:4] == ["--holders", "3", "--threshold", "2"]
    assert alone.program[alone.program.index("--holders") :][:4] == ["--holders", "1", "--threshold", "1"]
    assert "--insecure-plaintext" in bare.program
    assert [setting.bar for setting in bar_settings()] == [2.5] * 3 + [7.0] * 3


def test_a_federation_that_fails_is_reported_with_what_it_said():
    with pytest.raises(RuntimeError, match="the federation of 1 clients failed: .*at least 2 are needed"):
        rounds.run(Setting("paillier", clients=1), rounds=1)


def test_what_checks_cost_is_timed_inside_every_party_of_a_real_run():
    a_round, means = checks.measure(Setting("paillier", 2, bits=512, weights=WEIGHTS), 2)
    assert set(means) == set(stopwatch.PARTIES)
    done = {party: {label for label, seconds in times.items() if seconds} for party, times in means.items()}
    assert done["client"] == {"signatures, keys, policies", "signing", "every range is proven", "encrypting"}
    # What combines answers finds no wrong sum: the aggregator has nothing to check of the opening after that.
    assert done["server"] == {*stopwatch.CHECKS, "adding up", "combining shares"} - {"the opening is right"}
    assert done["keyholder"] == {*stopwatch.CHECKS, "adding up", "a share of the opening"}
    assert sum(means["server"].values()) < 5 * a_round
    shown = checks.table(512, a_round, means)
    assert [column.header for column in shown.columns] == ["", "client, ms", "aggregator, ms", "key holder, ms"]


def test_what_calls_itself_under_one_label_counts_once():
    watch = stopwatch.Stopwatch()
    with patch("benchmarks.stopwatch.time.perf_counter", side_effect=[10.0, 13.0]):
        inner = watch.timed("check", lambda: "done")
        assert watch.timed("check", inner)() == "done"
    assert watch.times == {"check": 3.0}
