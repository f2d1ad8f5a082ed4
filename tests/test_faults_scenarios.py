"""Every scenario of `python -m faults`, with the counts that a change has time for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from faults.__main__ import SCENARIOS, main
from faults.outcome import COLUMNS, Options, Outcome, markdown, timed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of refusals are expected, and would hide the rest of the log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


ELSEWHERE = {"class-room"}
"""Minutes also in its quick form; tests/test_class_lesson.py gives a lesson on one machine."""


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - ELSEWHERE))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_is_counted_twice(name: str) -> None:
    for outcome in SCENARIOS[name](Options(quick=True)):
        assert outcome.violations == []
        assert outcome.trials > 0


# ------------------------------------------------------------------------------------------ the command


def scenario_that_fails(_options: Options) -> Iterator[Outcome]:
    with timed("falling", "an apple | falls") as outcome:
        outcome.add([], "first")
        outcome.add(["it hit Newton"], "second")
    yield outcome


def test_the_command_writes_one_row_a_scenario_and_fails_if_a_promise_was_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCENARIOS, "falling", scenario_that_fails)
    table = tmp_path / "new" / "table.csv"
    assert main(["falling", "--quick", "--out", str(table)]) == 1
    heading, row = table.read_text().splitlines()
    assert heading == ",".join(COLUMNS)
    assert row.startswith("falling,an apple | falls,2,1,0")
    assert "second: it hit Newton" in capsys.readouterr().out
    assert table.with_suffix(".md").read_text().startswith("| scenario |")


def test_a_scenario_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["earthquake"])
    assert "there is no scenario 'earthquake'; known are random" in capsys.readouterr().err


def test_a_bar_in_a_cell_does_not_break_the_markdown_table() -> None:
    (outcome,) = scenario_that_fails(Options())
    assert markdown([outcome]).splitlines()[2].count(" | ") == len(COLUMNS) - 1
