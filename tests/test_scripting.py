"""`from simulation import simulate`, in a script and where an event loop is running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kept_runs import keep
from parties import run_here

from core.commands import command_of
from core.errors import GrokfedError, RunFailedError, SettingsError
from core.tasks import get_task
from results.runs import read_run
from simulation import simulate
from simulation.processes import ROOT
from simulation.scripting import History

SCRIPT = """
import numpy
from simulation import simulate

print("once")
result = simulate(clients=4, rounds=2, workers=2, out="made", on_round=lambda row: print("round", row["round"]))
print(result.record["state"], len(result.history), sorted(result.model))
"""
DRY_RUN = f"{command_of('simulation')} --dry-run say what a run would cost"


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """Where processes start by importing the script again, each would start more of them."""
    (tmp_path / "study.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "study.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["once", "round 1", "round 2", "completed 2 ['bias', 'words.weight']"], (
        done.stderr
    )
    assert (tmp_path / "made" / "run.json").exists()


def test_importing_simulation_is_cheap() -> None:
    say = "import simulation, sys; print([name for name in ('numpy', 'grpc', 'typer', 'rich', 'core') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_it_works_where_an_event_loop_is_running_and_the_ways_give_the_same_bytes(tmp_path: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    settings = {"clients": 3, "rounds": 1, "scheme": "plain", "task": get_task("spam")}
    ways = ("virtual", "in-process")
    results = [simulate(**settings, way=way, out=tmp_path / way) for way in ways]
    assert [result.record["way"] for result in results] == list(ways)
    one, other = (result.model for result in results)
    assert sorted(one) == sorted(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert results[0].accuracy == results[1].accuracy
    assert (tmp_path / "in-process" / "record.jsonl").exists()


@pytest.mark.slow
async def test_processes_too_and_what_hears_of_a_round_can_end_the_run(tmp_path: Path) -> None:
    def stop(row: dict[str, object]) -> None:
        raise RuntimeError(f"enough after round {row['round']}")

    settings = {"clients": 3, "rounds": 2, "scheme": "plain", "holders": 1, "way": "processes"}
    with pytest.raises(RuntimeError, match="enough after round 1"):
        simulate(**settings, out=tmp_path / "processes", on_round=stop)
    result = simulate(resume=tmp_path / "processes")
    same = simulate(clients=3, rounds=2, out=tmp_path / "virtual")
    assert (result.folder / "model.npz").read_bytes() == (same.folder / "model.npz").read_bytes()


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"clients": 0}, ("--clients", "0")),
        ({"task": "chess"}, ("--task", "chess")),
        ({"partition": "by-colour"}, ("--partition", "by-colour")),
        ({"cohort": 9}, ("--cohort", "9")),
        ({"availability": "0.5"}, ("--availability", "0.5")),
        ({"data": "nowhere/at-all"}, ("--data", "nowhere/at-all")),
    ],
)
def test_mistakes_have_the_sentences_of_the_command(
    capsys: pytest.CaptureFixture[str], settings: dict[str, object], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(GrokfedError) as raised:
        simulate(**settings)
    code, said = run_here(capsys, "simulation", "--virtual", *arguments)
    assert code == 1
    assert said.strip() == f"error: {raised.value}"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"clints": 3}, "there is no setting 'clints'; did you mean clients?"),
        ({"clients": "three"}, "--clients is 'three'; expected a whole number"),
        ({"clients": True}, "--clients is True; expected a whole number"),
        ({"scheme": "rot13"}, "--scheme is 'rot13'; expected 'paillier' or 'damgard-jurik' or 'plain'"),
        ({"dry_run": True}, f"--dry-run is on, which only the command line can have; leave it out, or let {DRY_RUN}"),
        (
            {"dry_run": True, "json": True, "resume": "run"},
            f"--dry-run is on, which only the command line can have; leave it out, or let {DRY_RUN}",
        ),
        ({"json": True}, f"--json is on, which only the command line can have; leave it out, or let {DRY_RUN}"),
        ({"way": "by-post"}, "the way is 'by-post'; expected processes, in-process, virtual"),
        ({"bogus": 1}, f"there is no setting 'bogus'; {command_of('simulation')} --help lists them"),
        ({"epochs": 1}, "there is no setting 'epochs'; did you mean local_epochs?"),
        ({"on_round": 3}, "on_round is 3; expected a function, which is called with each round"),
        ({"way": "by-post", "resume": "x"}, "the way is 'by-post'; expected processes, in-process, virtual"),
        ({"way": "processes", "virtual": True}, "--virtual is on, and the way is 'processes'; leave one out"),
    ],
)
def test_values_that_no_command_line_could_have_are_named(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        simulate(**settings)
    assert str(raised.value) == sentence


def test_a_history_is_a_sequence_of_rows_and_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History([{"round": 1, "accuracy": 0.5}, {"round": 2, "accuracy": 0.75}])
    assert [row["accuracy"] for row in history] == [0.5, 0.75]
    assert history[-1]["round"] == 2
    assert len(history[:1]) == 1
    for name, convert in (("pandas", history.to_pandas), ("polars", history.to_polars)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SettingsError, match=f"{name} is not installed; .* -m pip install {name} installs it"):
            convert()


NOT_A_NUMBER = """
from dataclasses import replace
from core.tasks.mnist import MNIST_MLP

LOST = replace(MNIST_MLP, name="lost", loss=lambda outputs, targets: MNIST_MLP.loss(outputs, targets) * float("nan"))
"""


def test_every_error_of_a_run_is_one_of_those_that_are_promised(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NOT_A_NUMBER)
    with pytest.raises(RunFailedError, match="the loss of step 1 is nan"):
        simulate(task=f"{tmp_path / 'mine.py'}:LOST", clients=2, rounds=1, out=tmp_path / "run")
    assert read_run(tmp_path / "run").state == "failed"
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(RunFailedError, match="ZeroDivisionError"):
        simulate(task=f"{tmp_path / 'broken.py'}:LOST")


def test_the_folder_of_a_result_has_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = simulate(clients=2, rounds=1)
    monkeypatch.chdir("/")
    assert result.folder.parent == tmp_path / "runs"
    assert len(result.history) == 1


def test_a_run_goes_on_in_its_own_way_or_is_refused(tmp_path: Path) -> None:
    folder = keep(tmp_path / "run", state="interrupted", settings={"rounds": 1, "virtual": True}, cpu_seconds=0.0)
    with pytest.raises(SettingsError, match=r"way is 'processes', and the run in .*run is 'virtual'; leave it out"):
        simulate(resume=folder, way="processes")
    assert simulate(resume=folder, way="virtual").record["state"] == "completed"
