"""`python -m simulation check-task` finds the mistakes of an own task, each by its name and in plain words."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from test_own_task import MEAN, written
from test_sweeps import TABLE_TASK
from typer.testing import CliRunner

from simulation.__main__ import app
from simulation.check_task import CHECKS, check_task


def test_a_task_without_mistakes_passes_every_check(tmp_path: Path) -> None:
    checked = check_task(written(tmp_path))
    assert (checked.holds, sorted(checked.passed)) == (True, sorted(CHECKS))
    assert {"name": "mean", "values": 2, "clip": 4.0, "examples": 4}.items() <= checked.facts.items()
    assert checked.facts["seconds"] < 5


@pytest.mark.parametrize(
    ("check", "right", "wrong", "sentence"),
    [
        ("initial", "np.zeros(VALUES)", "np.zeros((2, 3))", "float64 of shape (2, 3); expected a vector"),
        ("initial", "np.zeros(VALUES)", "np.zeros(2, int)", "array of int64 of shape (2,); expected float64"),
        ("initial", "np.zeros(VALUES)", "np.array([0, np.inf])", "1 of the 2 numbers of initial(0) are not finite"),
        ("initial", "np.zeros(VALUES)", "np.random.rand(2)", "initial(0) gives another model the second time"),
        ("initial", "np.zeros(VALUES)", "np.zeros(2 + seed)", "its number of weights depends on the seed"),
        ("data", "float(number))", "np.random.rand())", "generate(0, 1) gives other examples the second time"),
        ("data", "np.full((4,", "np.full((0,", "it makes up no example for client 1"),
        ("evaluate", ", 0)\n\ndef update", ", 5)\n\ndef update", "evaluate says that 5 of 4 examples are right"),
        ("evaluate", "return Sums", "return tuple", "evaluate of the task mean failed with TypeError"),
        ("evaluate", "(len(data), float(", "(len(data), np.random.rand() + float(", "and the second time Sums("),
        ("evaluate", "return Sums", "exit(3)\n    return Sums", "evaluate of the task mean ends the program ("),
        (
            "initial",
            "return np.zeros",
            "raise SystemExit\n    return np.zeros",
            "initial of the task mean ends the program",
        ),
        ("load", '"mean"', '"m" * 300', "has a name of 300 characters, 'mmmmmmmmmmmmmmmmmmmm'...; at most 64"),
        ("load", '"mean"', '"mean/"', "has the name 'mean/'; expected letters, digits"),
        ("load", "clip=CLIP", 'clip="1"', "clip of task mean is '1'; it must be a power of two, such as 1.0"),
        ("load", "clip=CLIP", "clip=2 ** 2000", "it must be a power of two, such as 1.0"),
        (
            "evaluate",
            "Sums(len(data)",
            "Sums(float(len(data))",
            "evaluate gives examples = 4.0, a float; expected a whole",
        ),
        (
            "update",
            "- vector) / 2",
            "- vector)[:1]",
            "update of the task mean gives a delta of shape (1,); expected (2,)",
        ),
        ("update", "(data.mean", "np.float32(data.mean", "a delta of float32; expected float64: np.asarray(delta,"),
        ("update", "- vector) / 2", "- vector) * np.nan", "2 of the 2 changes of its update are not finite"),
        ("update", "- vector) / 2", "- vector) * np.random.rand()", "let all chance come from rng"),
        (
            "clip",
            "- vector) / 2",
            "- vector) * 9",
            "cuts 100.0% of the changes, the largest of which is 9; a clip of 16",
        ),
        ("clip", "- vector) / 2", "- vector) * 0", "update changes no weight"),
        ("encode", "before.loss, 0)", "-1.0, 0)", "its update cannot be encoded: impossible training sums"),
        ("load", "import numpy as np", "import numpy as", "my_task.py, line 3: "),
    ],
)
def test_each_mistake_is_found_by_its_check_and_said_in_plain_words(
    tmp_path: Path, check: str, right: str, wrong: str, sentence: str
) -> None:
    assert right in MEAN
    checked = check_task(written(tmp_path, MEAN.replace(right, wrong)))
    assert sentence in checked.problems[check]
    assert "\n" not in checked.problems[check]


def test_a_task_of_the_project_is_checked_alike() -> None:
    assert check_task("mnist-mlp").holds


def test_one_change_in_a_hundred_may_be_cut_and_no_more(tmp_path: Path) -> None:
    """Of 200 changes, 2 are 1 % and hold; 3 are found."""
    for large, holds in ((2, True), (3, False)):
        text = MEAN.replace("- vector) / 2", f"- vector) * np.where(np.arange(200) < {large}, 9, 1)")
        assert check_task(written(tmp_path, text, values=200)).holds == holds


def test_the_command_ends_with_0_or_1_and_speaks_json(tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["check-task", written(tmp_path), "--json"])
    assert (good.exit_code, json.loads(good.stdout)["holds"]) == (0, True)
    bad = CliRunner().invoke(app, ["check-task", written(tmp_path, clip=0.25), "--json"])
    (problem,) = json.loads(bad.stdout)["problems"]
    assert (bad.exit_code, problem["check"]) == (1, "clip")
    assert "its clip of 0.25 cuts 100.0% of the changes" in problem["message"]
    text = CliRunner().invoke(app, ["check-task", "nothing.py:X"])
    assert (text.exit_code, "load      WRONG: there is no file nothing.py" in text.stdout) == (1, True)


def test_what_the_file_prints_does_not_come_between_the_json(tmp_path: Path) -> None:
    said = written(tmp_path, "print('hello')\n" + MEAN)
    assert json.loads(CliRunner().invoke(app, ["check-task", said, "--json"]).stdout)["holds"]


def test_real_data_is_tried_as_the_first_of_five_clients_would_be_dealt_it(tmp_path: Path) -> None:
    """Of 100 rows 20 are kept to judge models by, and 80 are dealt out among 5; one training on all would be too long."""
    said = written(tmp_path, TABLE_TASK)
    (tmp_path / "rows.csv").write_text("x,y,kind\n" + "1,2,a\n2,1,b\n" * 50)
    checked = check_task(said, tmp_path / "rows.csv")
    assert (checked.holds, checked.facts["examples"]) == (True, 16)


def test_data_that_no_run_deals_out_is_tried_as_one_client_has_it(tmp_path: Path) -> None:
    text = MEAN.replace("generate=generate", "read=lambda path: np.loadtxt(path)")
    (tmp_path / "numbers.txt").write_text("1 2\n3 4\n5 6\n")
    checked = check_task(written(tmp_path, text), tmp_path / "numbers.txt")
    assert (checked.holds, checked.facts["examples"]) == (True, 3)


def test_a_task_that_keeps_something_from_client_to_client_is_found(tmp_path: Path) -> None:
    """Trained twice in a row on the same data it gives the same."""
    keeps = "KEPT.append(data[0, 0])\n    vector = vector + (len(set(KEPT)) > 1)\n    before = "
    text = MEAN.replace("before = ", keeps, 1).replace("def initial", "KEPT = []\n\ndef initial")
    assert text.count("KEPT") == 3
    checked = check_task(written(tmp_path, text))
    assert "update gives another change after another client has trained" in checked.problems["update"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_program_is_no_mistake_of_the_task(tmp_path: Path, number: signal.Signals) -> None:
    """It may come while code of the task runs, and the program then ends with 128 and its number."""
    ending = f"raise SystemExit({128 + number})\n    return np.zeros"
    with pytest.raises(SystemExit):
        check_task(written(tmp_path, MEAN.replace("return np.zeros", ending)))
