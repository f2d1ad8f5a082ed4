"""Output on consoles that know few characters, and are of any width."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.processes import ONE_THREAD, ROOT

pytestmark = pytest.mark.slow

CONSOLES = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "cp437"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"COLUMNS": "20"},
    {"COLUMNS": "500"},
    {"TERM": "dumb", "NO_COLOR": "1"},
]


def run_on(console: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **ONE_THREAD, **console}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True, timeout=120
    )


@pytest.mark.parametrize("console", CONSOLES, ids=lambda console: " ".join(f"{k}={v}" for k, v in console.items()))
@pytest.mark.parametrize(
    "arguments",
    [
        ("experiments", "randomised-response", "--quick", "--out", "{}"),
        ("book", "3", "--quick", "--out", "{}"),
        ("server", "--help"),
        ("server", "status", "--state", "/nowhere/at-all-µ"),
        ("client", "--identity", "{}", "--mail", "/nowhere/Ж"),
    ],
    ids=" ".join,
)
def test_every_command_can_print_on_every_console(
    tmp_path: Path, console: dict[str, str], arguments: tuple[str, ...]
) -> None:
    done = run_on(console, tmp_path, *(each.format(tmp_path / "out") for each in arguments))
    assert b"Traceback" not in done.stderr
    assert b"UnicodeEncodeError" not in done.stderr + done.stdout
    assert b"a fault of ours" not in done.stderr + done.stdout


def test_a_simulation_with_a_scheme_of_many_letters_runs_on_a_console_of_ascii(tmp_path: Path) -> None:
    done = run_on(
        {"PYTHONIOENCODING": "ascii"}, tmp_path, "simulation", "--clients", "2", "--rounds", "1", "--key-bits", "256",
        "--insecure-demo-keys", "--scheme", "damgard-jurik", "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Damgard-Jurik, 256 bits" in done.stdout


@pytest.mark.parametrize("way", ["--virtual", "--scheme=plain"])
def test_a_simulation_whose_reader_goes_away_ends_and_says_how_to_go_on(tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-m", "simulation", "--clients", "3", "--rounds", "500", way, "--out", tmp_path / "run"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
        assert running.wait(60) == 1
    assert b"no one reads the output any more" in said
    assert b"Traceback" not in said
