"""The examples of docs/own-task.md and of the README, as they stand on the pages, run."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from test_virtual import played, settings_for

from core.tasks.own import load_task
from simulation.check_task import check_task
from simulation.plan import make_plan
from simulation.processes import ROOT
from simulation.virtual.population import Generated, population_for

FOLDER = ROOT / "docs" / "own_tasks"
PAGE = (ROOT / "docs" / "own-task.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENTS = 3


def blocks(page: str) -> list[str]:
    """The Python on a page."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_the_page_shows_each_file_as_it_is(path: Path) -> None:
    assert f"`docs/own_tasks/{path.name}`:\n\n```python\n{path.read_text(encoding='utf-8')}```" in PAGE


@pytest.mark.parametrize(
    ("said", "least"), [("flowers.py:FLOWERS", 0.9), ("rings.py:RINGS", 0.5), ("scikit.py:SCIKIT", 0.8)]
)
def test_an_example_has_no_mistake_and_learns(said: str, least: float) -> None:
    """In two rounds; what the two forms send is added up by the same code."""
    if said.startswith("scikit") and find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed; `make test-learn` runs this with it")
    checked = check_task(f"{FOLDER}/{said}")
    assert (checked.problems, checked.holds) == ({}, True)
    task = load_task(f"{FOLDER}/{said}")
    run = played(task, 1, settings_for(task, clients=CLIENTS), Generated(task, 0, CLIENTS))
    assert run.results[-1].accuracy > least


def test_the_flowers_are_read_from_a_csv_file_and_dealt_out(tmp_path: Path) -> None:
    """150 rows: a fifth, 30, is kept to judge by, and three clients have 40 each."""
    task = load_task(f"{FOLDER}/flowers.py:FLOWERS")
    rng = np.random.default_rng(0)
    means = {"setosa": (5.0, 3.4, 1.5, 0.2), "versicolor": (5.9, 2.8, 4.3, 1.3), "virginica": (6.6, 3.0, 5.6, 2.0)}
    rows = [
        f"{','.join(f'{x:.1f}' for x in rng.normal(mean, 0.3))},{kind}"
        for kind, mean in means.items()
        for _ in range(50)
    ]
    path = tmp_path / "iris.csv"
    path.write_text("sepal length,sepal width,petal length,petal width,kind\n" + "\n".join(rows) + "\n")
    plan = make_plan(task, path, CLIENTS, "iid", 0, tmp_path)
    assert [len(task.read_labelled(source).examples) for source in plan.sources] == [40, 40, 40]
    population = population_for(task, path, CLIENTS, "iid", 0)
    run = played(task, 1, settings_for(task, clients=CLIENTS), population)
    assert (run.results[-1].accuracy > 0.6, run.results[-1].answers.examples) == (True, 30)


def test_the_tasks_of_one_line_have_no_mistake(tmp_path: Path) -> None:
    (text,) = [block for block in blocks(PAGE) if "WINES" in block]
    (tmp_path / "lines.py").write_text(text)
    for name in ("WINES", "SHAPES"):
        assert check_task(f"{tmp_path}/lines.py:{name}").problems == {}


def test_the_model_of_the_readme_has_ten_lines_and_learns(tmp_path: Path) -> None:
    (text,) = blocks(README)
    (tmp_path / "my_task.py").write_text(text)
    assert len([line for line in text.splitlines() if line.strip()]) <= 10
    said = f"{tmp_path}/my_task.py:DIGITS"
    assert check_task(said).problems == {}
    task = load_task(said)
    run = played(task, 1, settings_for(task, clients=CLIENTS), Generated(task, 0, CLIENTS))
    assert run.results[-1].loss < run.results[0].cohort_loss
