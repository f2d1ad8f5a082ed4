"""The comparison with other simulators leaves out those that are not installed, and compares only equal models."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulators
from benchmarks.others import plain
from benchmarks.plain_update import WORDS, change


def test_a_round_in_plain_numpy_adds_the_mean_of_the_clients_changes() -> None:
    ends, model = plain.simulate(clients=2, rounds=1)
    start = np.zeros(WORDS + 1)
    np.testing.assert_array_equal(model, (change(start, 1, 1) + change(start, 2, 1)) / 2)
    assert len(ends) == 2


def test_without_the_other_simulators_it_says_how_to_install_them(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(simulators, "ENVIRONMENT", tmp_path / "nowhere")
    with pytest.raises(SystemExit):
        simulators.main([])
    assert "`make bench-simulators` installs" in capsys.readouterr().err


def test_different_models_are_not_compared(monkeypatch) -> None:
    norms = iter([1.0, 1.1])
    monkeypatch.setattr(simulators, "installed", lambda python: ["plain", "pfl_"])
    monkeypatch.setattr(simulators, "run_other", lambda *_: simulators.Times(0.1, 300.0, next(norms)))
    monkeypatch.setattr(simulators, "run_ours", lambda *_: simulators.Times(0.1, 300.0, float("nan")))
    with pytest.raises(AssertionError):
        simulators.measure(Path("python"), clients=2, rounds=1, repeats=1)


@pytest.mark.slow
def test_ours_and_plain_numpy_are_timed_where_there_is_nothing_else(monkeypatch, capsys) -> None:
    monkeypatch.setattr(simulators, "ENVIRONMENT", Path(sys.prefix))
    simulators.main(["--clients", "4", "--rounds", "1", "--repeats", "1"])
    out = capsys.readouterr().out
    assert "plain NumPy in a loop" in out
    assert out.count("grokfed") == 2
