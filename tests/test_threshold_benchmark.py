"""Opening by several holders is timed only where the result is right, and so is a textbook's way to compare with."""

from __future__ import annotations

import os

import pytest

from benchmarks import threshold
from benchmarks.threshold import (
    ALL,
    CHECK,
    COMBINE,
    OURS,
    PARTIAL,
    PROVE,
    SIDE_BY_SIDE,
    TEXTBOOK,
    VERIFY,
    WITHOUT,
    build_ours,
    build_textbook,
    draw_integers,
    main,
    measure,
    one_core,
    seconds_of,
)
from core.secagg import kernel

pytestmark = pytest.mark.slow

TWO_ROWS = [[5, 0], [3, 100]]


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
def test_the_command_prints_every_step_for_every_size(scheme, capsys):
    cores = os.sched_getaffinity(0)
    main(["--bits", "256", "272", "--weights", "30", "--repeats", "1", "--scheme", scheme])
    out = capsys.readouterr().out
    assert all(
        out.count(step) >= 2 for step in (PARTIAL, PROVE, CHECK, COMBINE, VERIFY, SIDE_BY_SIDE, ALL, "dealing a key")
    )
    assert f"2 of 3 holders, {scheme}, 272 bits, 3 clients, 30 weights" in out
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["--repeats", "0"], "--repeats is 0"), (["--threshold", "4"], "--threshold is 4; there are only 3 holders")],
)
def test_what_makes_no_sense_is_refused(options, sentence, capsys):
    with pytest.raises(SystemExit):
        main(options)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 5)])
@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
@pytest.mark.parametrize("build", [build_ours, build_textbook])
def test_both_ways_open_the_right_sum(build, scheme, size):
    jobs = build(TWO_ROWS, scheme, 256, *size)
    opened = jobs[COMBINE]()
    assert list(getattr(opened, "plaintexts", opened)) == [8, 100]


@pytest.mark.parametrize("build", [build_ours, build_textbook])
def test_a_sum_that_opens_wrong_is_not_timed(build, monkeypatch):
    total = threshold._total
    monkeypatch.setattr(threshold, "_total", lambda key, integers: total(key, [*integers, [1, 0]]))
    with pytest.raises(AssertionError, match="does not open to the sum"):
        build(TWO_ROWS, "paillier", 256, 2, 3)


def test_ways_take_turns_with_the_kernel_and_without_it(monkeypatch):
    calls = []

    def job(name):
        return lambda: calls.append(name + ("+" if kernel.available() else "-"))

    monkeypatch.setenv("GROKFED_KERNEL", "on")
    there = kernel.available()
    ways = {way: {PARTIAL: job(way[0] + "p"), COMBINE: job(way[0] + "c")} for way in (OURS, TEXTBOOK)}
    measure(ways, repeats=2)
    once = ["gp+", "gp-", "tp+", "tp-", "gc+", "gc-", "tc+", "tc-"]
    assert calls == [call for call in once if there or call.endswith("-")] * 2
    assert os.environ["GROKFED_KERNEL"] == "on"


def test_opening_as_a_whole_is_answers_and_combining():
    seconds = {(OURS, PARTIAL, WITHOUT): 2.0, (OURS, COMBINE, WITHOUT): 5.0}
    assert seconds_of(seconds, OURS, ALL, WITHOUT, threshold=3) == 11.0
    assert seconds_of(seconds, OURS, SIDE_BY_SIDE, WITHOUT, threshold=3) == 7.0
    assert seconds_of(seconds, OURS, VERIFY, WITHOUT, threshold=3) is None


def test_updates_fill_as_many_plaintexts_as_they_are_encoded_in():
    # Slots of 20 bits, 16 and 2 for three clients and 2 to guard: 224 bits hold 11, one of them the counter.
    assert [len(row) for row in draw_integers(30, 3, "paillier", 256)] == [4, 4, 4]


def test_one_core_is_used_and_the_others_given_back():
    cores = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == cores
