"""`python -m simulation sweep`: the file is checked first, finished runs are kept, and the table is of all of them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from parties import run_here
from test_own_task import written as written_task

from core.errors import SettingsError
from results.repeating import repeat
from results.runs import find_run, list_runs, read_run
from simulation import simulate
from simulation.sweep_file import read_sweep
from simulation.unchanged import changed_since, unlike
from simulation.values import given_from

FILE = """
seeds = [0, 1]
[run]
rounds = 1
[grid]
clients = [3, 4]
"""

TABLE_TASK = """
from core.tasks import csv_task

MEAN = csv_task("kinds", label="kind", classes=["a", "b"], columns=["x", "y"])
"""
NUMBERS = "x,y,kind\n" + "1,2,a\n2,1,b\n" * 10


def written(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def test_a_file_gives_every_combination_with_every_seed(tmp_path: Path) -> None:
    text = FILE.replace("clients = [3, 4]", "clients = [3, 4]\nscheme = ['plain', 'paillier']")
    sweep = read_sweep(written(tmp_path, text))
    assert (sweep.way, sweep.out, sweep.grid) == ("virtual", Path("runs/study"), ("clients", "scheme"))
    assert len(sweep.points) == 8
    assert sweep.points[3].name == "clients-3_scheme-paillier_seed-1"
    assert sweep.points[3].settings == {"rounds": 1, "clients": 3, "scheme": "paillier", "seed": 1}


def test_a_chance_to_stay_may_be_written_as_a_number(tmp_path: Path) -> None:
    text = FILE.replace("rounds = 1", 'rounds = 1\nspeeds = "lognormal:50,1,1000,1"')
    text = text.replace("clients = [3, 4]", 'clients = [3]\navailability = [0.5, "0.9"]')
    points = read_sweep(written(tmp_path, text)).points
    assert [point.settings["availability"] for point in points] == [0.5, 0.5, "0.9", "0.9"]
    assert given_from(points[0].settings)["availability"] == "0.5"
    with pytest.raises(SettingsError, match="--availability is True; expected a text"):
        given_from({"availability": True})


def test_names_that_no_folder_can_have_keep_apart(tmp_path: Path) -> None:
    speeds = '["lognormal:50,1,1000,1", "lognormal:50;1;1000;1"]'
    text = FILE.replace("clients = [3, 4]", f"spam-label = {speeds}")
    names = [point.name for point in read_sweep(written(tmp_path, text)).points]
    assert len(set(names)) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for name in names)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[grid]", "[gird]", "has 'gird'; expected seeds, way, out, run, grid"),
        ("[3, 4]", "3", "[grid] clients is 3; expected a list of one value or more"),
        ("[3, 4]", "[]", "[grid] clients is []; expected a list of one value or more"),
        ("[3, 4]", "[3, 3]", "[grid] clients has 3 twice; leave one out"),
        ("[3, 4]", "[3, 'x']", "clients x, seed 0: --clients is 'x'; expected a whole number"),
        ("[3, 4]", "[3, 0]", "clients 0, seed 0: --clients is 0; expected at least 1 client"),
        ("clients =", "clints =", "clints 3, seed 0: there is no setting 'clints'; did you mean clients?"),
        ("rounds = 1", "clients = 1", "clients is in [run] and in [grid]; leave it out of one of them"),
        ("rounds = 1", "seed = 1", "[run] has seed = 1; list them as seeds"),
        ("rounds = 1", "cohort = 9", "clients 3, seed 0: --cohort is 9, and there are 3 clients"),
        ("rounds = 1", "dry-run = true", "clients 3, seed 0: --dry-run is on, which only the command line can have"),
        ("rounds = 1", 'task = "chess"', "clients 3, seed 0: there is no task 'chess'"),
        ("rounds = 1", 'data = "nowhere/at-all"', "--data is 'nowhere/at-all', and there is nothing"),
        ("[0, 1]", "[0, -1]", "seed -1: --seed is -1"),
        ("[0, 1]", "[0, 1]\nway = 'by-post'", "the way is 'by-post'; expected processes, in-process, virtual"),
        ("[0, 1]", "[0, 1", "is not a TOML file"),
    ],
)
def test_a_mistake_is_named_with_key_and_value(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = written(tmp_path, FILE.replace(old, new))
    with pytest.raises(SettingsError) as raised:
        read_sweep(path)
    assert str(path) in str(raised.value)
    assert sentence in str(raised.value)


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_compares_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One of four runs is finished, and one was interrupted; afterwards nothing is left to run."""
    out, file = tmp_path / "out", written(tmp_path, FILE.replace("rounds = 1", "rounds = 2"))
    simulate(clients=3, rounds=2, out=out / "clients-3_seed-0")
    finished = (out / "clients-3_seed-0" / "run.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        simulate(clients=3, rounds=2, seed=1, out=out / "clients-3_seed-1", on_round=_interrupting)
    code, said = run_here(capsys, "simulation", "sweep", file, "--out", out, "--workers", "1", "--json")
    assert code == 0, said
    assert "1 of 4 runs are finished" in said
    assert (out / "clients-3_seed-0" / "run.json").read_bytes() == finished
    assert len(read_run(out / "clients-3_seed-1").record["sessions"]) == 1
    assert [run.state for run in list_runs(out)] == ["completed"] * 4
    shown, _ = json.JSONDecoder().raw_decode(said)
    assert [(row["clients"], row["runs"]) for row in shown["table"]] == [(3, 2), (4, 2)]
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    accuracies = [find_run(f"clients-4_seed-{seed}", out).last_row["accuracy"] for seed in (0, 1)]
    assert float(rows[1]["accuracy"]) == pytest.approx(sum(accuracies) / 2)
    assert (out / "picture.png").read_bytes().startswith(b"\x89PNG")
    code, said = run_here(capsys, "simulation", "sweep", file, "--out", out)
    assert code == 0
    assert "4 of 4 runs are finished" in said


def _interrupting(_row: dict[str, object]) -> None:
    raise KeyboardInterrupt


def test_runs_with_other_settings_are_not_taken_for_those_of_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    simulate(clients=3, rounds=2, out=out / "clients-3_seed-0")
    code, said = run_here(capsys, "simulation", "sweep", written(tmp_path, FILE), "--out", out)
    assert code == 1
    assert f"{out / 'clients-3_seed-0'} was run with rounds 2, and the file says 1; give another out" in said


@pytest.mark.slow
def test_a_run_that_is_repeated_has_the_same_bytes_or_what_differs_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = simulate(clients=3, rounds=1, out=tmp_path / "one").folder
    code, said = run_here(capsys, "results", "repeat", folder, "--out", tmp_path / "again")
    assert code == 0
    assert f"the same bytes: the model of {tmp_path / 'again'} is that of {folder}" in said
    assert (tmp_path / "again" / "model.npz").read_bytes() == (folder / "model.npz").read_bytes()
    record = json.loads((folder / "run.json").read_text())
    record |= {"model_sha256": "00", "versions": {**record["versions"], "numpy": "1.0"}}
    (folder / "run.json").write_text(json.dumps(record))
    other = repeat(read_run(folder), tmp_path / "other")
    assert not other.same
    assert (
        f"versions.numpy was 1.0, and is {read_run(other.again.folder).record['versions']['numpy']}" in other.sentence
    )


def test_runs_of_data_or_of_a_task_that_has_changed_are_not_mixed_with_new_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The one run that is finished stays; with another seed in the file it would be in one table with a new one."""
    out, data = tmp_path / "out", tmp_path / "numbers.csv"
    said_task = written_task(tmp_path, TABLE_TASK)
    data.write_text(NUMBERS)
    text = f"seeds = [SEEDS]\n[run]\nrounds = 1\nclients = 2\ntask = '{said_task}'\ndata = '{data}'\n"
    once, more = text.replace("SEEDS", "0"), text.replace("SEEDS", "0, 1")
    assert run_here(capsys, "simulation", "sweep", written(tmp_path, once), "--out", out)[0] == 0
    task = Path(said_task.rpartition(":")[0])
    for changed, option in ((data, "data"), (task, "task")):
        before = changed.read_text()
        changed.write_text(before + ("5,1,a\n" if changed is data else "\n# changed\n"))
        code, said = run_here(capsys, "simulation", "sweep", written(tmp_path, more), "--out", out)
        assert code == 1
        assert (
            f"is of a run with other data: {changed}, given as --{option}, has changed since; give another --out"
            in said
        )
        assert not (out / "seed-1").exists()
        changed.write_text(before)
    code, said = run_here(capsys, "simulation", "sweep", written(tmp_path, more), "--out", out)
    assert (code, "1 of 2 runs are finished" in said) == (0, True), said


def test_data_that_changes_while_a_sweep_runs_is_named() -> None:
    one = {"settings": {"task": "spam"}, "data": {"data": {"path": "/a.csv", "sha256": "00"}}}
    other = {"settings": {"task": "spam"}, "data": {"data": {"path": "/a.csv", "sha256": "01"}}}
    apart = {"settings": {"task": "spam"}, "data": {"data": {"path": "/b.csv", "sha256": "02"}}}
    assert unlike([one, apart, one]) == ""
    assert unlike([one, apart, other]) == "/a.csv was changed between them"


def test_a_package_of_a_task_that_has_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "swept_tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    written_task(package, name="means.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    record = simulate(task="swept_tasks.means:MEAN", clients=2, rounds=1, out=tmp_path / "run").record
    assert changed_since(record) == ""
    (package / "helper.py").write_text("HALF = 0.5\n")
    assert changed_since(record) == "the package of --task swept_tasks.means:MEAN has changed since"
