"""Simulated time: who is in time, who leaves, how long a round takes, with numbers that can be checked by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import DataError, SettingsError
from simulation.virtual.times import (
    LognormalSpeeds,
    MeasuredSpeeds,
    RandomPresence,
    RoundTime,
    Stopwatch,
    TracedPresence,
    presence_from,
    speeds_from,
)

SPEEDS = MeasuredSpeeds(((10.0, 1000.0), (20.0, 1000.0), (100.0, 1000.0)))
"""For 100 examples and 2,000 bytes: 12, 7 and 3 seconds."""
EXAMPLES = {1: 100, 2: 100, 3: 100}
ALWAYS = RandomPresence(1.0, 0)


def timed(wanted: int | None, deadline: float, presence: object = ALWAYS, now: float = 0.0) -> RoundTime:
    return Stopwatch(SPEEDS, presence, wanted, deadline).round(1, EXAMPLES, 2000, now)  # type: ignore[arg-type]


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
    assert TracedPresence({1: [(0, 9)], 2: []}).stays(3, 1, 0, 5)


def test_speeds_are_drawn_once_a_client_and_from_the_seed() -> None:
    speeds = LognormalSpeeds(100.0, 1.0, 1e6, 0.5, seed=1)
    assert speeds.of(7) == speeds.of(7) != speeds.of(8)
    assert LognormalSpeeds(100.0, 0.0, 1e6, 0.0, seed=1).of(7) == (100.0, 1e6)
    medians = sorted(speeds.of(number)[0] for number in range(1, 1000))
    assert 85 < medians[499] < 115


def test_the_chance_to_stay_holds_in_the_long_run() -> None:
    presence = RandomPresence(0.7, 3)
    staying = sum(presence.stays(number, 1, 0, 1) for number in range(1, 2001))
    assert 0.65 < staying / 2000 < 0.75


def test_speeds_and_traces_are_read_from_csv(tmp_path: Path) -> None:
    speeds, trace = tmp_path / "speeds.csv", tmp_path / "trace.csv"
    speeds.write_text("examples_per_second,bytes_per_second\n10,1000\n20,2000\n")
    trace.write_text("client,from_s,until_s\n1,0,10\n1,20,30\n2,5,6\n")
    assert speeds_from(str(speeds), 0) == MeasuredSpeeds(((10.0, 1000.0), (20.0, 2000.0)))
    assert presence_from(str(trace), 0) == TracedPresence({1: [(0, 10), (20, 30)], 2: [(5, 6)]})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\n1,2\n", "no column 'examples_per_second'"),
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
