"""Settings that cannot work with their task are refused before anything starts, in every way of running."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from core.errors import SettingsError
from core.tasks import get_task
from server.settings import Bound, RunSettings
from server.workable import workable
from simulation.__main__ import main
from simulation.scripting import simulate_with

SPAM = get_task("spam")
TOO_LONG = "--largest-norm is 1000; for this task it must be less than 512; or leave --bound norm out"


@pytest.mark.parametrize("way", [[], ["--virtual", "--scheme", "paillier"], ["--dry-run"]])
def test_a_norm_that_cannot_be_proven_is_refused_before_anything_starts(way: list[str], tmp_path: Path) -> None:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(main)
    arguments = [*way, "--bound", "norm", "--largest-norm", "1000", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.output.startswith(f"error: {TOO_LONG}")) == (1, True), result.output
    assert not (tmp_path / "run").exists()


def test_it_is_refused_in_one_process_too(tmp_path: Path) -> None:
    settings = {"bound": "norm", "largest_norm": 1000.0, "out": tmp_path / "run"}
    with pytest.raises(SettingsError, match=TOO_LONG):
        simulate_with(settings, "in-process", None, show=False)
    assert not (tmp_path / "run").exists()


def test_the_largest_norm_that_is_named_is_the_largest_that_works() -> None:
    below = float(np.nextafter(512.0, 0.0))
    assert workable(RunSettings(bound=Bound.NORM, largest_norm=below), SPAM).proven_norm == below
    with pytest.raises(SettingsError, match="--largest-norm is 512; for this task it must be less than 512"):
        workable(RunSettings(bound=Bound.NORM, largest_norm=512.0), SPAM)
