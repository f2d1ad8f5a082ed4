"""The benchmarks run, and compare only what computes the same."""

from __future__ import annotations

import pytest

from benchmarks import observer
from benchmarks.__main__ import CASES, main
from benchmarks.measure import OURS, THEIRS, Case, measure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", CASES)
def test_each_benchmark_runs_small(name, capsys):
    main([name, "--small", "--repeats", "1"])
    assert name in capsys.readouterr().out


def test_the_list_names_every_benchmark(capsys):
    main(["--list"])
    out = capsys.readouterr().out
    assert all(name in out for name in CASES)


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["flight"], "no benchmark 'flight'"), (["--repeats", "0"], "--repeats is 0")]
)
def test_what_makes_no_sense_is_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_ways_that_do_not_compute_the_same_are_not_compared():
    case = Case("sums", "", lambda rng, small: {OURS: lambda: 1.0, THEIRS: lambda: 1.2})
    with pytest.raises(AssertionError, match="grokfed gives 1, but PyTorch gives 1.2"):
        measure(case, repeats=1)


def test_ways_take_turns_and_warm_up_once():
    calls = []

    def way(name):
        def work():
            calls.append(name)
            return 1.0

        return work

    timing = measure(Case("sums", "", lambda rng, small: {OURS: way("a"), THEIRS: way("b")}), repeats=2)
    assert "".join(calls) == "ababab"
    assert timing.ratio(OURS) == pytest.approx(timing.seconds[OURS] / timing.seconds[THEIRS])


def test_watching_is_charged_with_what_rounds_cost_more_than_alone(capsys: pytest.CaptureFixture[str]) -> None:
    alone = [observer.Cost(2.0, 0.10), observer.Cost(2.0, 0.12)]
    watched = [observer.Cost(2.0, 0.13), observer.Cost(2.0, 0.15)]
    assert observer._report(alone, watched, 34, browser=True) == 0  # 0.03 s in rounds of 2 s
    assert "watching cost the aggregator 30 ± 14 ms a round, 1.50 ± 0.71 % of a core" in capsys.readouterr().out
    assert observer._report(alone, [observer.Cost(2.0, 0.16)] * 2, 34, browser=True) == 1
