"""Simulated time: who is in time, who leaves, how long a round takes, with numbers that can be checked by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import DataError, SettingsError
from core.local_settings import LocalSettings
from core.tasks.local import LocalTraining
from core.tasks.own import load_task
from core.tasks.spam import SPAM
from core.tasks.task import Source
from server.settings import RunSettings
from simulation.settings import SimulationSettings
from simulation.virtual.command import stopwatch_for
from simulation.virtual.population import Generated
from simulation.virtual.times import (
    LognormalSpeeds,
    MeasuredSpeeds,
    RandomPresence,
    RoundTime,
    Stopwatch,
    TracedPresence,
    Try,
    presence_from,
    speeds_from,
)

SPEEDS = MeasuredSpeeds(((10.0, 1000.0), (20.0, 1000.0), (100.0, 1000.0)))
"""For 100 examples and 2,000 bytes: 12, 7 and 3 seconds."""
EXAMPLES = {1: 100, 2: 100, 3: 100}
ALWAYS = RandomPresence(1.0, 0)


def timed(wanted: int | None, deadline: float, presence: object = ALWAYS, now: float = 0.0) -> RoundTime:
    return Stopwatch(SPEEDS, presence, wanted, deadline).round(Try(1, now=now), EXAMPLES, 2000)  # type: ignore[arg-type]


def test_without_a_number_wanted_the_slowest_decides() -> None:
    assert timed(None, 1000.0) == RoundTime((1, 2, 3), 12.0, late=0, dropped=0)


def test_the_round_is_over_when_as_many_as_wanted_have_sent() -> None:
    assert timed(2, 1000.0) == RoundTime((2, 3), 7.0, late=1, dropped=0)


def test_at_the_deadline_the_round_goes_on_without_the_rest() -> None:
    assert timed(None, 10.0) == RoundTime((2, 3), 10.0, late=1, dropped=0)


def test_clients_that_left_are_waited_for_until_the_deadline() -> None:
    gone = TracedPresence({1: [(0, 100)], 2: [(0, 5)], 3: [(0, 100)]})
    assert timed(3, 30.0, gone) == RoundTime((1, 3), 30.0, late=0, dropped=1)


def test_a_trace_is_in_seconds_of_the_whole_run() -> None:
    trace = TracedPresence({1: [(0, 100)], 2: [(50, 60)], 3: [(0, 100)]})
    assert timed(None, 20.0, trace, now=50.0).contributors == (1, 2, 3)
    assert timed(None, 20.0, trace, now=55.0).contributors == (1, 3)


def test_a_file_with_few_rows_begins_again_for_later_clients() -> None:
    assert SPEEDS.of(4) == SPEEDS.of(1)
    assert TracedPresence({1: [(0, 9)], 2: []}).stays(3, Try(1), 5)


def test_speeds_are_drawn_once_a_client_and_from_the_seed() -> None:
    speeds = LognormalSpeeds(100.0, 1.0, 1e6, 0.5, seed=1)
    assert speeds.of(7) == speeds.of(7) != speeds.of(8)
    assert LognormalSpeeds(100.0, 0.0, 1e6, 0.0, seed=1).of(7) == (100.0, 1e6)
    medians = sorted(speeds.of(number)[0] for number in range(1, 1000))
    assert 85 < medians[499] < 115


def test_the_chance_to_stay_holds_in_the_long_run() -> None:
    presence = RandomPresence(0.7, 3)
    staying = sum(presence.stays(number, Try(1), 1) for number in range(1, 2001))
    assert 0.65 < staying / 2000 < 0.75


def test_who_drops_out_of_one_attempt_may_stay_in_the_next() -> None:
    presence = RandomPresence(0.5, 0)
    both = [[presence.stays(number, Try(1, attempt), 1) for number in range(1, 1001)] for attempt in (1, 2)]
    assert 450 < sum(first != second for first, second in zip(*both, strict=True)) < 550


def test_intervals_that_touch_or_overlap_are_one(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("client,from_s,until_s\n1,3,100\n1,0,3\n2,2,100\n2,0,3\n3,0,3\n3,3.5,9\n")
    presence = presence_from(str(trace), 0)
    assert presence == TracedPresence({1: ((0, 100),), 2: ((0, 100),), 3: ((0, 3), (3.5, 9))})
    assert [presence.stays(number, Try(1, now=2.0), 5.0) for number in (1, 2, 3)] == [True, True, False]
    assert [presence.stays(3, Try(1, now=now), 1.0) for now in (2.0, 2.5, 3.5, 8.0, 8.5)] == [
        True,
        False,
        True,
        True,
        False,
    ]


def test_who_leaves_after_the_round_is_over_was_late() -> None:
    trace = TracedPresence({1: [(0, 10)], 2: [(0, 100)], 3: [(0, 100)]})
    assert timed(2, 1000.0, trace) == RoundTime((2, 3), 7.0, late=1, dropped=0)
    left = TracedPresence({1: [(0, 6)], 2: [(0, 100)], 3: [(0, 100)]})
    assert timed(2, 1000.0, left) == RoundTime((2, 3), 7.0, late=0, dropped=1)


def test_an_update_at_the_deadline_is_in_time_whatever_is_rounded() -> None:
    stopwatch = Stopwatch(MeasuredSpeeds(((10.0, 1000.0),)), ALWAYS, None, 2.256)  # 20 / 10 + 256 / 1000 is above it
    assert stopwatch.round(Try(1), {1: 20}, 256) == RoundTime((1,), 2.256, late=0, dropped=0)
    there = TracedPresence({1: ((0.1, 0.1 + 2.256),)})
    assert there.stays(1, Try(1, now=0.1), 20 / 10 + 256 / 1000)


def test_each_client_s_own_made_up_examples_count(tmp_path: Path) -> None:
    task = replace(SPAM, source=Source("own.py", b""), generate=lambda seed, number: range(10 * number))
    assert [Generated(task, 0, 3).examples(number) for number in (1, 2, 3)] == [10, 20, 30]


@pytest.mark.parametrize(
    ("local", "trained"),
    [
        (LocalTraining(0.1, epochs=7), 210),
        (LocalTraining(0.1, steps=1, batch_size=8), 8),
        (LocalTraining(0.1, steps=4, batch_size=8), 30),  # the last batch of a pass is short
        (LocalTraining(0.1, steps=6, batch_size=8), 46),
        (LocalTraining(0.1, steps=1, batch_size=100), 30),
    ],
)
def test_an_example_counts_once_for_each_pass_over_it(local: LocalTraining, trained: int) -> None:
    assert local.trained_on(30) == trained
    assert local.trained_on(0) == 0


def test_steps_on_sequences_are_not_timed_by_examples() -> None:
    options = SimulationSettings(virtual=True, speeds="lognormal:10,0,10,0")
    settings = RunSettings("shakespeare-rnn", "plain", 2048, local=LocalSettings(local_steps=3))
    with pytest.raises(SettingsError, match="give --local-epochs instead of --local-steps"):
        stopwatch_for(options, settings, load_task("shakespeare-rnn"))
    assert stopwatch_for(options, settings, SPAM) is not None


@pytest.mark.parametrize("said", ["", "50%", "0,5", "/nowhere.csv", "/"])
def test_a_value_that_is_no_chance_and_no_file_is_told_what_is_expected(said: str) -> None:
    with pytest.raises(SettingsError, match="expected a chance above 0 and at most 1, such as 0.9, or the path"):
        presence_from(said, 0)
    with pytest.raises(SettingsError, match="expected lognormal:EXAMPLES_PER_SECOND,SIGMA,BYTES_PER_SECOND,SIGMA, or"):
        speeds_from(said, 0)


def test_speeds_and_traces_are_read_from_csv(tmp_path: Path) -> None:
    speeds, trace = tmp_path / "speeds.csv", tmp_path / "trace.csv"
    speeds.write_text("examples_per_second,bytes_per_second\n10,1000\n20,2000\n")
    trace.write_text("client,from_s,until_s\n1,0,10\n1,20,30\n2,5,6\n")
    assert speeds_from(str(speeds), 0) == MeasuredSpeeds(((10.0, 1000.0), (20.0, 2000.0)))
    assert presence_from(str(trace), 0) == TracedPresence({1: ((0, 10), (20, 30)), 2: ((5, 6),)})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\n1,2\n", "has no column 'examples_per_second'; expected"),
        ("examples_per_second,bytes_per_second,bytes_per_second\n1,2,3\n", "has two columns 'bytes_per_second'"),
        ("examples_per_second,bytes_per_second\n1,5,1000,0\n", "line 2 of .* has 2 fields more than there are columns"),
        ("examples_per_second,bytes_per_second\n1_000,1\n", "line 2 of .* has '1_000' where a number"),
        ("examples_per_second,bytes_per_second\n", "0 rows"),
        ("examples_per_second,bytes_per_second\nfast,1\n", "line 2 of .* has 'fast'"),
        ("examples_per_second,bytes_per_second\n1,1\n0,1\n", "line 3 of .* a speed of 0; it must be more than 0"),
        ("examples_per_second,bytes_per_second\n1,inf\n", "line 2 of .* has 'inf' where a number is expected"),
        ("examples_per_second,bytes_per_second\n5\n", "has None where a number"),
    ],
)
def test_a_file_of_speeds_that_cannot_be_used_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "speeds.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        speeds_from(str(path), 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"client,from_s,until_s\n1,0,\xff\n", "trace.csv is no text in UTF-8: it has the byte 0xff"),
        (b"\x00\xfe\x01", "trace.csv is no text in UTF-8"),
        (b"client,from_s,until_s\n1,0,9\ninf,0,1000\n", "line 3 of .*trace.csv has 'inf' where a number"),
        (b"client,from_s,until_s\n1,0,inf\n", "line 2 of .*trace.csv has 'inf' where a number"),
        (b"client,from_s,until_s\n1.5,0,1\n", "line 2 of .*trace.csv has a client 1.5; clients are numbered 1"),
        (b"client,from_s,until_s\n1,9,3\n", "line 2 of .*trace.csv says from 9 until 3 seconds"),
    ],
)
def test_a_trace_that_cannot_be_used_is_named_with_its_line_and_value(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        presence_from(str(path), 0)


@pytest.fixture
def short_fields() -> Iterator[None]:
    """The limit of a CSV field is the whole process's, and other readers raise it."""
    before = csv.field_size_limit(100)
    yield
    csv.field_size_limit(before)


@pytest.mark.usefixtures("short_fields")
def test_a_trace_that_is_no_csv_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"client,from_s,until_s\n{'1' * 101},0,1\n")
    with pytest.raises(DataError, match="trace.csv is no CSV file: field larger than field limit"):
        presence_from(str(path), 0)


@pytest.mark.parametrize("said", ["lognormal:5e-324,10,1,0", "lognormal:1,0,5e-324,10", "lognormal:1,0,1e300,10"])
def test_speeds_that_no_machine_has_are_refused(said: str) -> None:
    with pytest.raises(SettingsError, match="speeds must be more than 0: 1e-06 to 1e"):
        speeds_from(said, 0)


def test_chances_outside_0_to_1_are_refused() -> None:
    with pytest.raises(SettingsError, match="above 0 and at most 1"):
        presence_from("1.5", 0)


@pytest.mark.parametrize("deadline", [0.0, float("inf"), float("nan")])
def test_there_is_no_stopwatch_without_a_finite_deadline(deadline: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        timed(None, deadline)
