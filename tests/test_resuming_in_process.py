"""A run in one process that was interrupted or killed goes on from the state of its parties, to the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_own_task import MEAN, written
from test_resuming import Stop

from core.errors import SettingsError
from results.runs import read_run
from server.records import FILE as DATABASE
from server.store import Store
from simulation import simulate
from simulation.processes import ROOT
from simulation.sweep import run_sweep
from simulation.sweep_file import read_sweep
from simulation.together import PARTIES

IN_PROCESS: dict[str, Any] = {
    "clients": 3, "rounds": 3, "way": "in-process", "key_bits": 256, "insecure_demo_keys": True, "seed": 5,
}  # fmt: skip
DYING = MEAN.replace(
    "    before = evaluate(vector, data)",
    "    import os\n    TRAINED.extend([1] if vector[0] else [])\n    if 'DIES' in os.environ and len(TRAINED) == 3:\n"
    "        os.kill(os.getpid(), 9)\n    before = evaluate(vector, data)",
).replace("def initial", "TRAINED = []\n\ndef initial")
"""The third training in round 2, when the model is not zero any more, kills the process."""


def interrupted(folder: Path, after: int, **more: object) -> Path:
    """A run in one process, of which Ctrl-C left this many rounds."""

    def stop(row: dict[str, object]) -> None:
        if row["round"] == after:
            raise Stop

    with pytest.raises(Stop):
        simulate(**{**IN_PROCESS, **more}, out=folder, on_round=stop)
    return folder


@pytest.mark.parametrize("more", [{}, {"scheme": "plain", "rule": "scaffold", "optimiser": "sgd"}])
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path, more: dict[str, Any]) -> None:
    """With SCAFFOLD too, whose control variates are in the clients' memories."""
    whole = simulate(**{**IN_PROCESS, **more}, out=tmp_path / "whole")
    folder = interrupted(tmp_path / "run", 1, **more)
    assert (folder / PARTIES).stat().st_mode & 0o777 == 0o700
    seen: list[int] = []
    result = simulate(resume=folder, on_round=lambda row: seen.append(row["round"]))
    assert seen == [2, 3], "only the rounds that were left"
    assert (folder / "model.npz").read_bytes() == (whole.folder / "model.npz").read_bytes()
    assert [row["accuracy"] for row in result.history] == [row["accuracy"] for row in whole.history]
    assert (result.run.state, result.run.way, len(result.record["sessions"])) == ("completed", "in-process", 1)
    assert not (folder / PARTIES).exists()
    assert not (whole.folder / PARTIES).exists()


def test_a_run_that_was_killed_while_clients_trained_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """The same clients are drawn for the round again: with others of the five, the mean would be another."""
    settings = {**IN_PROCESS, "clients": 5, "cohort": 3, "over_selection": 1.0, "task": written(tmp_path, DYING)}
    code = f"from simulation import simulate; simulate(**{settings!r}, out={str(tmp_path / 'run')!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DIES": "1"}, check=False)
    assert done.returncode == -9
    assert (read_run(tmp_path / "run").state, read_run(tmp_path / "run").rounds_done) == ("interrupted", 1)
    simulate(resume=tmp_path / "run")
    simulate(**settings, out=tmp_path / "whole")
    assert (tmp_path / "run" / "model.npz").read_bytes() == (tmp_path / "whole" / "model.npz").read_bytes()


def test_after_the_last_round_only_the_results_are_written(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", 3)
    assert not (folder / "model.npz").exists()
    seen: list[int] = []
    result = simulate(resume=folder, on_round=lambda row: seen.append(row["round"]))
    assert (seen, [row["round"] for row in result.history], result.run.state) == ([], [1, 2, 3], "completed")
    assert (folder / "model.npz").exists()


def test_a_run_without_parties_yet_begins(tmp_path: Path) -> None:
    """It was killed while the federation was made."""
    folder = interrupted(tmp_path / "run", 1, rounds=2)
    (folder / "history.jsonl").unlink()
    (folder / PARTIES / "server" / DATABASE).unlink()
    assert [row["round"] for row in simulate(resume=folder).history] == [1, 2]


def test_what_cannot_go_on_is_one_sentence(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", 1, rounds=2)
    gone = Path(shutil.copytree(folder, tmp_path / "gone"))
    shutil.rmtree(gone / PARTIES)
    with pytest.raises(SettingsError, match=f"cannot go on: the state of its parties, {gone / PARTIES}, is gone"):
        simulate(resume=gone)
    store = Store(folder / PARTIES / "server")
    unfinished = store.unfinished_run()
    assert unfinished is not None
    store.end_run(unfinished.run, completed=False, message="too few came")
    store.close()
    with pytest.raises(SettingsError, match="failed, and cannot go on: too few came"):
        simulate(resume=folder)


def test_a_sweep_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        "seeds = [5]\nway = 'in-process'\n[run]\nrounds = 2\nclients = 3\nkey-bits = 256\ninsecure-demo-keys = true\n"
        "[grid]\nscheme = ['plain']\n"
    )
    interrupted(tmp_path / "scheme-plain_seed-5", 1, rounds=2, scheme="plain")
    outcome = run_sweep(replace(read_sweep(tmp_path / "study.toml"), out=tmp_path), 1, lambda _line: None)
    assert [len(run.record["sessions"]) for run in outcome.runs] == [1]
