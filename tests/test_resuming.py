"""A run that was interrupted goes on to the same bytes: virtual clients and processes (in one process: test_resuming_in_process)."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from parties import Parties, run_here

from core.errors import DataError, SettingsError
from core.new_paths import claim_again, release
from results.runs import read_run
from server import rounds
from server.rounds.waiting import abandon, select, wait
from server.rules import RoundRules
from server.states import Failed, KeyChosen, OpenRound, RunState, Waiting
from simulation import simulate
from simulation.virtual.checkpoint import FILE as CHECKPOINT

VIRTUAL = {"clients": 6, "rounds": 3, "workers": 1, "seed": 5}
PROCESSES = ("--clients", "3", "--rounds", "3", "--key-bits", "256", "--insecure-demo-keys", "--seed", "5")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after its first round; not to be changed."""
    return interrupted(tmp_path_factory.mktemp("stopped") / "run", 1)


class Stop(KeyboardInterrupt):
    """Ctrl-C, as it would come."""


def interrupted(folder: Path, after: int, **more: object) -> Path:
    """A virtual run of which Ctrl-C left this many rounds."""

    def stop(row: dict[str, object]) -> None:
        if row["round"] == after:
            raise Stop

    with pytest.raises(Stop):
        simulate(**{**VIRTUAL, **more}, out=folder, on_round=stop)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model of a virtual run that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    simulate(**VIRTUAL, out=folder)
    assert not (folder / CHECKPOINT).exists()
    return (folder / "model.npz").read_bytes()


def test_an_interrupted_virtual_run_goes_on_to_the_same_bytes(tmp_path: Path, whole: bytes) -> None:
    folder = interrupted(tmp_path / "run", after=1)
    assert (read_run(folder).state, read_run(folder).rounds_done) == ("interrupted", 1)
    assert (folder / "model.npz").read_bytes() != whole
    seen: list[int] = []
    result = simulate(resume=folder, on_round=lambda row: seen.append(row["round"]))
    assert seen == [2, 3], "only the rounds that were left"
    assert (folder / "model.npz").read_bytes() == whole
    assert [row["round"] for row in result.history] == [1, 2, 3]
    assert (result.run.state, len(result.record["sessions"])) == ("completed", 1)
    assert not (folder / CHECKPOINT).exists()


def test_a_round_without_a_checkpoint_is_played_again(tmp_path: Path, stopped: Path, whole: bytes) -> None:
    """The process was killed between the end of a round and its checkpoint."""
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    before = (folder / CHECKPOINT).read_bytes()
    with pytest.raises(Stop):
        simulate(resume=folder, on_round=_stopping)
    (folder / CHECKPOINT).write_bytes(before)
    assert [row["round"] for row in simulate(resume=folder).history] == [1, 2, 3]
    assert (folder / "model.npz").read_bytes() == whole


def _stopping(_row: dict[str, object]) -> None:
    raise Stop


def test_simulated_time_goes_on_where_it_was(tmp_path: Path) -> None:
    timed: dict[str, object] = {"speeds": "lognormal:50,1,100000,1", "cohort": 5, "availability": "0.9", "rounds": 2}
    at_once = simulate(**{**VIRTUAL, **timed}, out=tmp_path / "whole")
    folder = interrupted(tmp_path / "run", 1, **timed)
    result = simulate(resume=folder)
    columns = ("simulated_total_s", "late", "dropped", "accuracy")
    assert [[row[name] for name in columns] for row in result.history] == [
        [row[name] for name in columns] for row in at_once.history
    ]


def test_a_damaged_checkpoint_is_named(tmp_path: Path, stopped: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    np.savez(folder / CHECKPOINT, model=np.zeros(3))
    with pytest.raises(DataError, match=r"checkpoint\.npz is damaged"):
        simulate(resume=folder)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rounds", "7"), "--rounds is 7, and the run in FOLDER was started with 3; leave it out to go on with it"),
        (("--task", "mnist-mlp"), "--task is mnist-mlp, and the run in FOLDER was started with spam"),
        (("--scheme", "paillier"), "--scheme is paillier, and the run in FOLDER was started with None"),
    ],
)
def test_settings_that_contradict_the_run_are_one_sentence(
    capsys: pytest.CaptureFixture[str], stopped: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    folder = stopped
    code, said = run_here(capsys, "simulation", "--resume", folder, *arguments)
    assert code == 1
    assert sentence.replace("FOLDER", str(folder)) in said
    assert "Traceback" not in said


def test_what_cannot_go_on_is_one_sentence(tmp_path: Path, stopped: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        simulate(resume=tmp_path / "nowhere")
    with pytest.raises(DataError, match="is not the folder of a run"):
        simulate(resume=tmp_path)
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "state": "running"}))
    assert claim_again(folder)
    with pytest.raises(SettingsError, match="is still going on"):
        simulate(resume=folder)
    release(folder)
    (folder / "run.json").write_text(json.dumps({**content, "state": "completed"}))
    with pytest.raises(SettingsError, match="is completed; .*-m results repeat .* runs it again"):
        simulate(resume=folder)


def test_data_that_has_changed_is_named(tmp_path: Path) -> None:
    speeds = tmp_path / "speeds.csv"
    speeds.write_text("examples_per_second,bytes_per_second\n50,1000\n")
    folder = interrupted(tmp_path / "run", 1, speeds=str(speeds))
    speeds.write_text("examples_per_second,bytes_per_second\n50,1001\n")
    with pytest.raises(DataError, match=r"speeds\.csv, given as --speeds, has changed since"):
        simulate(resume=folder)
    speeds.unlink()
    with pytest.raises(DataError, match=r"speeds\.csv, given as --speeds, is not there any more"):
        simulate(resume=folder)


# ------------------------------------------------------------------------------------------------ attempts


def test_an_interrupted_attempt_draws_the_same_clients_again_and_is_not_counted() -> None:
    rules, names = RoundRules(min_cohort=2, cohort=2, over_selection=1.0), frozenset("abcdef")
    run = RunState(Waiting(3, 2, since=0.0), present=names, holders=frozenset("xyz"), begun=True, interrupted=1)
    assert select(names, 3, 1, 2) != select(names, 3, 2, 2)
    opened = open_round(run, rules)
    assert opened == select(names, 3, 1, 2)
    last = Waiting(3, 3, since=0.0)
    kept, _ = abandon(RunState(last, interrupted=1), last, "too few came", 0.0, rules)
    assert isinstance(kept.phase, Waiting)
    failed, _ = abandon(RunState(last), last, "too few came", 0.0, rules)
    assert failed.phase == Failed("round 3 was abandoned 3 times, the last time because too few came")


def test_the_next_round_knows_of_no_interrupted_attempt() -> None:
    run = RunState(Waiting(3, 2, since=0.0), interrupted=1)
    assert wait(run, 3, 3, 0.0)[0].interrupted == 1
    assert wait(run, 4, 1, 0.0)[0].interrupted == 0


def open_round(run: RunState, rules: RoundRules) -> frozenset[str]:
    """The clients for which the round that is waited for is opened."""
    assert isinstance(run.phase, Waiting)
    _, commands = rounds.advance(run, KeyChosen(run.phase.round, run.phase.attempt), 1.0, rules)
    (command,) = (each for each in commands if isinstance(each, OpenRound))
    return command.expected


# ------------------------------------------------------------------------------------------------ processes


@pytest.mark.slow
def test_killed_and_interrupted_processes_go_on_to_the_same_bytes(parties: Parties, tmp_path: Path) -> None:
    same = simulate(clients=3, rounds=3, seed=5, out=tmp_path / "virtual").folder / "model.npz"
    one_holder = ("--scheme", "plain", "--holders", "1")
    for number, more in ((signal.SIGINT, one_holder), (signal.SIGKILL, ())):
        folder = tmp_path / number.name
        simulation = parties.start("simulation", *PROCESSES, *more, "--out", folder)
        simulation.hear("round 2 of 3")
        simulation.process.send_signal(number)
        simulation.end()
        assert read_run(folder).state == "interrupted"
        code, said = parties.start("simulation", "--resume", folder).end()
        assert code == 0, said
        assert read_run(folder).state == "completed"
        assert [row["round"] for row in read_run(folder).rows()] == [1, 2, 3]
        assert (folder / "model.npz").read_bytes() == same.read_bytes()


@pytest.mark.slow
def test_a_killed_virtual_run_goes_on_to_the_same_bytes(parties: Parties, tmp_path: Path, whole: bytes) -> None:
    arguments = (
        "--virtual",
        "--clients",
        "6",
        "--rounds",
        "3",
        "--workers",
        "2",
        "--seed",
        "5",
        "--out",
        tmp_path / "run",
    )
    simulation = parties.start("simulation", *arguments)
    simulation.hear("round 2 of 3")
    simulation.kill()
    assert read_run(tmp_path / "run").state == "interrupted"
    code, said = parties.start("simulation", "--resume", tmp_path / "run").end()
    assert code == 0, said
    assert (tmp_path / "run" / "model.npz").read_bytes() == whole
