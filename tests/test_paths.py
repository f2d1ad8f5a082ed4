"""Paths with spaces, quotes and other scripts: in make, and on every party's command line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from parties import Parties
from test_results_on_disk import PLAIN

pytestmark = pytest.mark.slow

ODD = ["two words", "it's", "почта", "メール $HOME", "a;b & c", "dot."]


def without_what_make_was_given() -> dict[str, str]:
    """Return the environment without the variables of a `make` that started these tests."""
    return {name: value for name, value in os.environ.items() if name not in ("ARGS", "DATA", "MAKEFLAGS", "MFLAGS")}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
@pytest.mark.parametrize("name", ODD)
def test_make_passes_a_path_on_as_it_is(name: str) -> None:
    data = name.replace("$", "$$")  # make's own spelling of a dollar sign
    asked = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", "setup", "simulate", f"DATA={data}"],
        capture_output=True, text=True, check=True, env=without_what_make_was_given(),
    )  # fmt: skip
    command = shlex.split(asked.stdout.strip().splitlines()[-1])
    assert command[-2:] == ["--data", name]


@pytest.mark.parametrize("name", ["two words, почта", "メール's"])
def test_a_whole_simulation_runs_on_such_paths(parties: Parties, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    box = folder / f"{name}.tsv"
    box.write_text("".join(f"{('ham', 'spam')[n % 2]}\tword number {n}\n" for n in range(60)), encoding="utf-8")
    code, said = parties.start("simulation", *PLAIN, "--rounds", "1", "--data", box, "--out", folder / "out").end()
    assert code == 0, said
    model = folder / "out" / "model.npz"
    command = shlex.split(next(line for line in said.splitlines() if line.startswith("ask its model: ")))
    assert command[-2:] == [str(model), "MESSAGE"]
    message = folder / "message.txt"
    message.write_text("word")
    code, said = parties.start("client", "classify", "--model", model, message).end()
    assert code == 0, said
    assert "probability of spam" in said


@pytest.mark.parametrize("name", ["server.py", "client.py", "core.py", "keyholder.py", "registrar.py"])
def test_a_users_file_with_the_name_of_a_party_shadows_nothing(parties: Parties, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("raise SystemExit('the wrong file was run')\n")
    simulation = parties.start("simulation", *PLAIN, "--rounds", "1", "--out", tmp_path / "out", cwd=tmp_path)
    code, said = simulation.end()
    assert code == 0, said
