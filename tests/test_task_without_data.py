"""A task that makes up no data, run without data: one sentence before anything starts, in every way of running."""

from __future__ import annotations

from pathlib import Path

import pytest
from parties import run_here
from test_own_task import MEAN, written

from core.errors import DataError, SettingsError
from simulation import simulate
from simulation.check_task import check_task
from simulation.sweep_file import read_sweep

SENTENCE = "the task mean makes up no data, because it has no `generate`; give --data"


@pytest.fixture(params=["", ", generate=None"])
def said(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A task without `generate`, left out or said to be None."""
    return written(tmp_path, MEAN.replace(", generate=generate", request.param))


@pytest.mark.parametrize("way", ["virtual", "in-process", "processes"])
def test_no_run_starts(tmp_path: Path, said: str, way: str) -> None:
    with pytest.raises(DataError) as raised:
        simulate(task=said, way=way, clients=3, out=tmp_path / "run")
    assert str(raised.value) == SENTENCE
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [("--dry-run",), ("--virtual", "--dry-run"), ("--partition", "iid")])
def test_nothing_is_forecast_or_dealt_out(capsys: pytest.CaptureFixture[str], said: str, more: tuple[str, ...]) -> None:
    code, printed = run_here(capsys, "simulation", "--task", said, *more)
    assert (code, printed.strip()) == (1, f"error: {SENTENCE}")


def test_it_is_said_by_check_task_and_for_a_sweep(tmp_path: Path, said: str) -> None:
    assert check_task(said).problems == {"data": SENTENCE}
    (tmp_path / "study.toml").write_text(f"[run]\ntask = '{said}'\n")
    with pytest.raises(SettingsError, match="makes up no data"):
        read_sweep(tmp_path / "study.toml")


def test_with_data_of_its_own_it_runs(tmp_path: Path) -> None:
    """The same sentence is not said of a task that has data."""
    task = 'from core.tasks import csv_task\nMEAN = csv_task("mean", label="k", classes=["a", "b"], columns=["x"])\n'
    said = written(tmp_path, task + "from dataclasses import replace\nMEAN = replace(MEAN, generate=None)\n")
    (tmp_path / "rows.csv").write_text("x,k\n" + "1,a\n2,b\n" * 10)
    assert len(simulate(task=said, clients=2, rounds=1, data=tmp_path / "rows.csv", out=tmp_path / "run").history) == 1
