"""Encrypted sums are timed only where they come out right, and what is extrapolated is extrapolated rightly."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from benchmarks import measure as measuring
from benchmarks import peers, secure_aggregation
from benchmarks.encryption import UPLOAD, Bar, advantages, main, significant, uplink_seconds
from benchmarks.peers import PHE, PYPAILLIER, TENSEAL
from benchmarks.secure_aggregation import (
    FLOOR,
    HALF_STEP,
    OURS,
    Figure,
    Job,
    Problem,
    Step,
    Way,
    draw_problem,
    largest_error,
    measure,
)

pytestmark = pytest.mark.slow

TWO_CLIENTS = Problem(np.array([[8192, -8192, 1], [8192, 4096, 1]]), bits=256)  # 8192 stands for 1


class TestTheCommand:
    def test_it_prints_every_row_and_no_bars_that_small_keys_cannot_meet(self, monkeypatch, capsys):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        main(["--small", "--repeats", "1"])
        out = capsys.readouterr().out
        assert all(step in out for step in Step)
        assert all(row in out for row in (UPLOAD, "bytes a weight", "largest error of a sum", "10 Mbit/s"))
        assert "TenSEAL is not installed here" in out
        assert "pypaillier is not installed here" in out
        assert "MISSED" not in out

    @pytest.mark.parametrize("option", ["--weights", "--clients", "--repeats"])
    def test_what_makes_no_sense_is_refused(self, option, capsys):
        with pytest.raises(SystemExit):
            main([option, "0"])
        assert f"{option} is 0; it must be at least" in capsys.readouterr().err


class TestSums:
    def test_every_way_that_is_installed_opens_the_right_sum(self):
        problem = draw_problem(weights=30, clients=3, bits=256, rng=np.random.default_rng(2))
        ours, floor = secure_aggregation.build_ours(problem)
        others, _ = peers.build_peers(problem)
        assert ours.error == 0
        assert floor.error is None
        assert others[0].name == PHE
        assert all(way.error is not None and way.error < HALF_STEP for way in others)

    def test_the_exact_sum_is_no_error(self):
        assert largest_error("exact", np.array([2.0, -0.5]), TWO_CLIENTS) == 0

    def test_an_approximate_sum_shows_by_its_error(self):
        assert largest_error("near", np.array([2.0, -0.5 + 2.0**-20, 2.0**-12]), TWO_CLIENTS) == 2.0**-20

    def test_a_sum_that_rounds_to_other_integers_is_refused(self):
        with pytest.raises(AssertionError, match="wrong: an opened sum is wrong by 0.0001"):
            largest_error("wrong", np.array([2.0, -0.5 + 2.0**-13]), TWO_CLIENTS)

    def test_our_bytes_are_those_of_the_ciphertexts(self):
        # Slots of 16 bits, 2 for three clients and 2 to guard: 224 bits hold 11, one of them the counter;
        # 30 weights and 3 metrics fill 4 rows of 10, each a ciphertext of 64 bytes.
        problem = draw_problem(weights=30, clients=3, bits=256, rng=np.random.default_rng(2))
        assert secure_aggregation.build_ours(problem)[0].upload == 4 * 64


class TestSeconds:
    def test_a_few_weights_of_all_clients_are_scaled_to_one_clients_update(self):
        # 6 seconds for 10 weights of each of 3 clients: 0.2 for one weight, so 20 for a hundred.
        assert Job(lambda _: None, weights=10, clients=3).seconds_for(100, 6.0) == pytest.approx(20.0)

    def test_the_median_and_half_the_distance_of_the_extremes_are_reported(self, monkeypatch):
        clock = iter([0, 4, 0, 5, 0, 9])
        monkeypatch.setattr(measuring.time, "process_time", lambda: next(clock))
        figures = measure([Way("a", {Step.OPEN: Job(lambda _: None, weights=50)})], weights=100, repeats=3)
        assert figures["a"][Step.OPEN] == Figure(seconds=10.0, spread=0.5, extrapolated=True)

    def test_ways_take_turns_and_are_prepared_anew_each_time(self):
        calls = []

        def job(name):
            return Job(lambda made: calls.append(name + made), weights=1, prepare=lambda: calls.append("-") or "!")

        ways = [Way(name, {Step.ADD: job(name), Step.OPEN: job(name.upper())}) for name in "ab"]
        figures = measure(ways, weights=1, repeats=2)
        assert "".join(calls) == "-a!-b!-A!-B!" * 2
        assert not figures["a"][Step.ADD].extrapolated


class TestRatios:
    def test_every_way_of_ours_to_encrypt_is_compared_with_the_one_of_the_others(self):
        def taking(seconds):
            return Figure(seconds, 0.0, False)

        figures = {
            OURS: {step: taking(2.0) for step in Step if step is not Step.SHARED},
            PHE: {Step.CLIENT: taking(10.0), Step.SHARED: taking(7.0)},
            FLOOR: {Step.POOLED: taking(1.0), Step.OPEN: taking(4.0)},
        }
        ratios = advantages([Way(OURS, {}, 100.0), Way(PHE, {}, 1_000.0), Way(FLOOR, {})], figures)
        assert ratios == {
            (Step.TEXTBOOK, PHE): 5.0,
            (Step.CLIENT, PHE): 5.0,
            (Step.SHORT_512, PHE): 5.0,
            (Step.POOLED, PHE): 5.0,
            (Step.POOLED, FLOOR): 0.5,
            (Step.OPEN, FLOOR): 2.0,
            (UPLOAD, PHE): 10.0,
        }

    def test_bars_are_met_at_their_limit(self):
        many, part = Bar(100, at_least=True), Bar(0.25, at_least=False)
        assert (many.holds(100), many.holds(99.9)) == (True, False)
        assert (part.holds(4), part.holds(3.9)) == (True, False)  # four times faster is a quarter of the time
        assert (str(many), many.says(123.4)) == ("≥ 100x", "123x")
        assert (str(part), part.says(8)) == ("≤ 0.25", "0.125")

    def test_the_line_adds_its_time_to_the_processors(self):
        assert uplink_seconds(0.5, upload=250_000, megabits=1) == pytest.approx(2.5)

    @pytest.mark.parametrize(
        ("value", "written"),
        [(123_456.0, "123,000"), (1.0, "1.00"), (0.01234, "0.0123"), (99.96, "100"), (0.0, "0")],
    )
    def test_numbers_have_three_significant_digits(self, value, written):
        assert significant(value) == written


@pytest.mark.parametrize(("name", "module"), [(PYPAILLIER, "paillier"), (TENSEAL, "tenseal")])
def test_an_installed_library_is_among_the_ways(name, module):
    pytest.importorskip(module)
    ways, _ = peers.build_peers(draw_problem(weights=5, clients=2, bits=2048, rng=np.random.default_rng(3)))
    assert name in {way.name for way in ways}
