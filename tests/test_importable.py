"""`make setup` lets a script in any folder import the packages, also after the clone was moved."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.processes import ROOT

SCRIPT = """
from simulation import simulate
import server, sys
print(simulate.__module__, sys.modules["simulation"].__file__, server.__file__)
"""


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(command, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with nothing but what is imported here, and an environment without packages, set up by the Makefile."""
    if shutil.which("make", path="/usr/bin:/bin") is None:
        pytest.skip("make is not installed")
    folder = tmp_path / "clone of mine"
    for name in ("simulation", "server"):
        (folder / name).mkdir(parents=True)
        shutil.copy(ROOT / name / "__init__.py", folder / name)
    shutil.copy(ROOT / "Makefile", folder)
    run(sys.executable, "-m", "venv", "--without-pip", ".venv", cwd=folder)
    run("make", ".venv/importable", cwd=folder)
    return folder


def test_a_script_in_another_folder_finds_the_packages_of_the_clone_wherever_that_is(
    clone: Path, tmp_path: Path
) -> None:
    """A file server.py beside the script does not stand in the way of ours."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "study.py").write_text(SCRIPT)
    (elsewhere / "server.py").write_text("raise SystemExit('the wrong one')")
    for _ in range(2):
        files = f"{clone}/simulation/__init__.py {clone}/server/__init__.py"
        assert run(clone / ".venv/bin/python", "study.py", cwd=elsewhere) == f"simulation {files}"
        clone = clone.rename(tmp_path / "moved")


def test_what_lies_beside_a_script_comes_first_and_setting_up_twice_changes_nothing(
    clone: Path, tmp_path: Path
) -> None:
    (file,) = clone.glob(".venv/lib/python*/site-packages/grokfed.pth")
    assert file.read_text() == "../../../..\n"
    assert "is up to date" in run("make", ".venv/importable", cwd=clone)
    own = tmp_path / "own"
    own.mkdir()
    (own / "server.py").write_text("print('mine')")
    (own / "study.py").write_text("import server")
    assert run(clone / ".venv/bin/python", "study.py", cwd=own) == "mine"
