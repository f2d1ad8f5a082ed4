"""The notebooks: one a chapter from 3 to 15, each runs from a clean start and leaves nothing behind."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parent.parent / "book" / "notebooks").glob("*.py"))
CHAPTERS = [f"{chapter:02}" for chapter in range(3, 16)]
HEADER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
"""
ALLOWED = {"book", "core", "simulation", "numpy", *sys.stdlib_module_names}

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_a_notebook_runs_from_a_clean_start_and_writes_no_file(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    runpy.run_path(str(notebook), run_name="__main__")
    assert list(tmp_path.iterdir()) == []


@each_notebook
def test_a_notebook_imports_no_party_and_no_library_but_numpy(notebook: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(notebook.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported <= ALLOWED
    assert "core" in imported


def test_every_chapter_has_one_notebook_that_begins_with_the_header() -> None:
    assert [notebook.name[:3] for notebook in NOTEBOOKS] == [f"{chapter}_" for chapter in CHAPTERS]
    assert [notebook.name for notebook in NOTEBOOKS if not notebook.read_text("utf-8").startswith(HEADER)] == []
