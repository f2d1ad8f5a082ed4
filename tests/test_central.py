"""--central: all clients' data in one place, for tasks of any form, or a sentence before the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parties import run_here
from test_own_task import MEAN, written

from core.errors import DataError
from core.tasks import get_task
from core.tasks.own import load_task
from simulation.central import joined, train_in_one_place
from simulation.plan import make_plan

PAIRS = MEAN.replace("np.full((4, VALUES), float(number))", "{number: float(number)}")


def test_arrays_are_joined_as_an_array_and_lists_as_a_list() -> None:
    assert joined([np.zeros((1, 2)), np.ones((2, 2))]).tolist() == [[0, 0], [1, 1], [1, 1]]
    assert joined([[1, 2], (3,)]) == [1, 2, 3]
    with pytest.raises(DataError, match=r"each is a dict; expected a list of examples, or an array"):
        joined([{1: 2}, {3: 4}])
    with pytest.raises(DataError, match="their arrays do not fit together"):
        joined([np.zeros((1, 2)), np.zeros((1, 3))])


def test_a_task_of_arrays_without_prepare_is_trained_in_one_place(tmp_path: Path) -> None:
    """Clients 1 and 3 have numbers 1 and 3; from 0, the model goes half the way to their mean, which is 2, twice."""
    task = load_task(written(tmp_path, MEAN.replace("float(number)", "2 * float(number) - 1 if number else 1.5")))
    plan = make_plan(task, None, 2, None, 0, tmp_path)
    sums = train_in_one_place(task, plan, 2, 0)
    assert (sums.examples, sums.loss) == (4, 0.0)


def test_what_cannot_be_joined_is_refused_before_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    task, out = written(tmp_path, PAIRS), tmp_path / "run"
    code, said = run_here(capsys, "simulation", "--task", task, "--clients", "2", "--central", "--out", out)
    assert (code, said.count("\n")) == (1, 1)
    assert "error: --central cannot join the data of the clients of mean: each is a dict; expected a list" in said
    assert not out.exists()


def test_data_that_the_task_cannot_use_when_joined_is_refused_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lists = MEAN.replace("np.full((4, VALUES), float(number))", "MyList(np.full((4, VALUES), float(number)))")
    task = written(
        tmp_path,
        lists.replace(
            "def initial",
            "class MyList(list):\n    def mean(self, axis):\n        return np.mean(self, axis)\n\ndef initial",
            1,
        ),
    )
    code, said = run_here(
        capsys, "simulation", "--task", task, "--clients", "2", "--central", "--out", tmp_path / "run"
    )
    assert code == 1
    assert "--central cannot join the data of the clients of mean: update of the task mean failed" in said
    assert not (tmp_path / "run").exists()


def test_a_task_of_the_project_is_not_tried(tmp_path: Path) -> None:
    task = get_task("spam")
    assert train_in_one_place(task, make_plan(task, None, 2, None, 0, tmp_path), 1, 0).examples > 0
