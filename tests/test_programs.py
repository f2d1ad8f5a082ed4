"""What every program has in common: errors about options in plain words, and the names of the other programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from parties import run_here
from typer.testing import CliRunner

from core.commands import command_of
from registrar.__main__ import app as registrar
from server.__main__ import app as server
from simulation.__main__ import app as simulation


@pytest.mark.parametrize(
    ("program", "words", "sentence"),
    [
        (server, ["--start", "new"], "Invalid value for '--start': 'new' is not one of 'continue', 'fresh'\n"),
        (simulation, ["--rounds", "five"], "Invalid value for '--rounds': 'five' is not a whole number\n"),
        (simulation, ["--learning-rate", "fast"], "Invalid value for '--learning-rate': 'fast' is not a number\n"),
        (registrar, ["class", "all"], "Invalid value for 'STUDENTS': 'all' is not a whole number\n"),
        (registrar, ["init", "here"], "Missing option '--clients'.\n"),
    ],
)
def test_a_value_that_no_option_takes_is_refused_in_plain_words(
    program: object, words: list[str], sentence: str
) -> None:
    answer = CliRunner().invoke(program, words)  # type: ignore[arg-type]
    assert answer.exit_code == 2
    assert answer.output.endswith(f"Error: {sentence}")


def test_an_installed_program_names_the_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_of("client").endswith(" -m client")
    monkeypatch.setattr(sys, "argv", ["/opt/grokfed/bin/grokfed-simulate"])
    assert command_of("client") == "grokfed-client"
    assert command_of("simulation") == "grokfed-simulate"


def test_the_dashboard_says_where_it_is_only_if_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    code, said = run_here(capsys, "dashboard", "--runs", file, "--listen", "127.0.0.1:0")
    assert code == 1
    assert said.startswith(f"error: --runs is {file}, which is no folder")


def test_an_invitation_names_the_program_of_its_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["class", "5", "--folder", str(tmp_path / "class"), "--address", "192.0.2.10:50551"]
    assert CliRunner().invoke(registrar, typed).exit_code == 0
    invitation = tmp_path / "class" / "invitations" / "teacher.invitation"
    code, said = run_here(capsys, "client", "enroll", "--invitation", invitation, "--identity", tmp_path / "me")
    assert code == 1
    assert said.endswith("-m dashboard enroll\n")
