"""A dishonest client against the product's own parties: refused, named, and the round completed by the others."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from parties import run_here
from typer.testing import CliRunner

from core.bounds.verification import CHECKS
from core.errors import Reason
from experiments.__main__ import app
from experiments.cheating_client import catalogue
from experiments.cheating_client.catalogue import ROWS, chosen
from experiments.cheating_client.lie import By, Gain, Off, Row
from experiments.cheating_client.suite import Suite, Trial
from experiments.studies.cheating_client import STUDY

BY_NUMBER = {row.number: row for row in ROWS}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite(tmp_path_factory.mktemp("lies"), seed=1)


def trial_of(suite: Suite, row: Row) -> Trial:
    (trial,) = suite.trials([row])
    return trial


@pytest.mark.parametrize(("number", "got"), [("2a", "2.84 times its share"), ("7b", "not tried")])
def test_a_lie_is_stopped_as_said_and_gets_what_is_said_without_the_check(suite: Suite, number: str, got: str) -> None:
    trial = trial_of(suite, BY_NUMBER[number])
    assert trial.as_expected
    assert trial.got == got
    assert trial.round == "completed by the others"


def test_the_model_moves_by_what_the_lie_says(suite: Suite) -> None:
    control = trial_of(suite, BY_NUMBER["2a"]).control
    assert control is not None
    # A change of 1 by each client to its own weight, and of 90,000 steps of 2^-14 to another, in a mean of three.
    assert control.model == pytest.approx((1 / 3, 1 / 3, 1 / 3, 0, 90_000 / 16_384 / 3))


@pytest.fixture(scope="module")
def right(suite: Suite) -> Trial:
    return trial_of(suite, BY_NUMBER["1a"])


@pytest.mark.parametrize(
    "change",
    [
        {"reason": Reason.WRONG_PROOF},
        {"by": By.HOLDER},
        {"named": False},
        {"check": "link"},
        {"gain": Gain.MOVED},
        {"gain": Gain.COPIED},
        {"rounds": 2},
        {"passed_on": True},
    ],
)
def test_a_row_that_is_not_as_said_is_seen(right: Trial, change: dict[str, Any]) -> None:
    assert right.as_expected
    assert not replace(right, row=replace(right.row, **change)).as_expected


def test_every_check_of_proofs_that_a_whole_update_can_meet_has_a_row() -> None:
    assert {row.check for row in ROWS if row.check} == {"link", "sum", "equations", "committed", "rows"}
    assert {row.check for row in ROWS if row.check} < set(CHECKS)
    assert len(BY_NUMBER) == len(ROWS)
    assert [row.number for row in chosen(quick=True)] == [f"{kind}a" for kind in range(1, 10)]
    assert all(row.gain is Gain.NOTHING for row in ROWS if row.off is Off.NOTHING)


def test_a_row_that_is_not_as_said_ends_the_command_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(_run: Any) -> Iterator[dict[str, str]]:
        yield {"": "1a", "lie": "a lie", "liar": "named", "round": "", "then": "", "as named": "NO"}

    monkeypatch.setattr("experiments.studies.get_study", lambda _name: replace(STUDY, run=rows))
    result = CliRunner().invoke(app, ["cheating-client", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "NOT AS NAMED: 1a a lie." in (tmp_path / "out" / "page.md").read_text()


def test_the_published_result_is_what_the_study_says_of_its_published_table() -> None:
    page = Path("docs/experiments/cheating-client/page.md").read_text("utf-8")
    columns, _, *lines = [line[2:-2].split(" | ") for line in page.splitlines() if line.startswith("|")]
    said = STUDY.conclude([dict(zip(columns, cells, strict=True)) for cells in lines])
    assert f"**Result.** {said}\n" in page
    assert "32 liars were named by what they had signed, and the others were left out; 35 rounds" in said


@pytest.mark.slow
def test_every_lie_is_as_the_threat_model_says(suite: Suite) -> None:
    assert [trial.row.number for trial in suite.trials(ROWS) if not trial.as_expected] == []


@pytest.mark.slow
def test_the_command_writes_table_page_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (BY_NUMBER["1a"], BY_NUMBER["9a"])
    monkeypatch.setattr(catalogue, "chosen", lambda _quick: rows)
    result = CliRunner().invoke(app, ["cheating-client", "--quick", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert [(row["refused by"], row["round"], row["as named"]) for row in table] == [
        ("aggregator", "completed by the others", "yes"),
        ("key holder", "nothing was opened", "yes"),
    ]
    assert (tmp_path / "out" / "cheating-client.png").stat().st_size > 1000


def test_the_program_of_one_who_cheats_is_the_clients_and_knows_its_lies(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run_here(capsys, "experiments.cheating_client", "99")
    assert (code, said.startswith("error: the lie is '99'; expected one of 1a,")) == (1, True)
    code, said = run_here(capsys, "experiments.cheating_client", "2a", "--help")
    assert code == 0
    assert "Look at your own mail, train with it in a federa" in said
