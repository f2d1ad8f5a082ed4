"""The model checker: it finds the known attacks, and none where the threat model says that there is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.console import quiet_log
from core.errors import Reason
from experiments.__main__ import app
from experiments.cheating_server.stage import THREE_OF_FOUR, THRESHOLD
from experiments.model_check import cases
from experiments.model_check.explore import check, traces
from experiments.model_check.scene import Broken, Case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Federations, each made once for all tests."""
    with quiet_log(logging.CRITICAL):
        yield tmp_path_factory.mktemp("model-check")


def test_at_2_of_3_a_second_list_lets_one_update_be_opened_alone(folder: Path) -> None:
    found = check(folder, Case(THRESHOLD, expects=frozenset({Broken.ALONE})))
    trace = traces(found)
    assert trace[0] == "**2 of 3, 1 dishonest: an honest client's update is read.**"
    lists = [line for line in trace if "signs it" in line]
    assert "list of client-1 + client-2 + client-4 to" in lists[0]
    assert "client-1 + client-2 + client-4 (cancelling client-2)" in lists[1]
    assert lists[0].split(" to ")[1] != lists[1].split(" to ")[1], "each holder signs one list only"


def test_at_3_of_4_no_order_of_messages_breaks_anything(folder: Path) -> None:
    found = check(folder, Case(THREE_OF_FOUR))
    assert (found.attacks, found.complete) == ({}, True)
    assert found.refusals[Reason.LIST_CHANGED] > 0, "the second list was tried, and refused"


def test_at_3_of_4_the_attack_is_found_when_holders_sign_two_lists(folder: Path) -> None:
    found = check(folder, cases.without(Reason.LIST_CHANGED, expects=frozenset({Broken.ALONE})))
    assert set(found.attacks) == {Broken.ALONE}


def test_a_search_that_stops_at_its_limit_says_that_it_is_not_complete(folder: Path) -> None:
    assert not check(folder, Case(THREE_OF_FOUR), limit=10).complete


@pytest.mark.slow
@pytest.mark.parametrize("case", cases.ALL, ids=lambda case: case.title)
def test_every_case_goes_as_the_threat_model_says(folder: Path, case: Case) -> None:
    found = check(folder, case)
    assert found.complete
    assert frozenset(found.attacks) == case.expects


@pytest.mark.slow
def test_the_command_shows_the_attack_as_a_trace(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["model-check", "--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    written = (tmp_path / "traces.md").read_text()
    assert (
        "the aggregator shows attempt 1, list of client-1 + client-2 + client-4 to keyholder-1, which signs it"
        in written
    )
    assert "NOT AS EXPECTED" not in result.output


def test_a_case_says_what_is_special_about_it() -> None:
    case = Case(THREE_OF_FOUR, attempts=2, without=frozenset({Reason.KEY_USED}))
    assert case.title == "3 of 4, 1 dishonest, 2 attempts, without key_used"
