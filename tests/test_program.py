"""Every program is an installed command, says its version, completes words, and stands in docs/cli.md as it is."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from core.commands import SCRIPTS
from core.program import Program, version
from docs.cli import PAGE, PROGRAMS, page

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_wheel_installs_a_command_for_each_program() -> None:
    assert {name: target.partition(".")[0] for name, target in PROJECT["scripts"].items()} == {
        script: name for name, script in SCRIPTS.items()
    }
    for target in PROJECT["scripts"].values():
        module, _, name = target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), Program)


def test_the_version_is_the_projects(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["grokfed-server", "--version"])
    importlib.import_module("server.__main__").app()
    assert capsys.readouterr().out == f"grokfed {PROJECT['version']}\n"
    assert version() == PROJECT["version"]


def test_an_installed_command_completes_words_and_python_m_offers_none(tmp_path: Path) -> None:
    command = tmp_path / "grokfed-results"
    command.write_text(f"#!{sys.executable}\nfrom results.__main__ import app\napp()\n")
    command.chmod(0o700)
    asked = {"_GROKFED_RESULTS_COMPLETE": "complete_bash", "COMP_WORDS": "grokfed-results ver", "COMP_CWORD": "1"}
    environment = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
    completed = subprocess.run([command], env=environment, capture_output=True, text=True, check=False)
    assert completed.stdout.split() == ["verify"]
    by_module = subprocess.run(
        [sys.executable, "-m", "results", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "completion" not in by_module.stdout


def test_the_reference_is_as_the_programs_are() -> None:
    """`python -m docs.cli` writes it anew."""
    assert PAGE.read_text("utf-8") == page()


def test_the_reference_has_every_program_and_the_dashboards_options() -> None:
    said = page()
    for name in PROGRAMS:
        assert f"\n    python -m {name} " in said
    for option in ("--runs", "--server", "--listen", "--token", "--observer", "--scheme"):
        assert f"`{option}`" in said
