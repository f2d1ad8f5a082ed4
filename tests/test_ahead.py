"""The process that parties are forked from starts ahead of the rest of the program, if it will be needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import RunFailedError
from simulation import processes
from simulation.ahead import starts_parties
from simulation.processes import ROOT, ForkServer

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="parties are forked on Linux only")


@pytest.mark.parametrize(
    ("command", "starts"),
    [
        (("/anywhere/simulation/__main__.py",), True),
        (("/anywhere/simulation/__main__.py", "--clients", "3"), True),
        (("/bin/grokfed-simulate", "--rounds", "2"), True),
        (("/anywhere/simulation/__main__.py", "--help"), False),
        (("/anywhere/simulation/__main__.py", "--clients", "9", "--virtual"), False),
        (("/bin/grokfed-simulate", "sweep", "file.toml"), False),
        (("/anywhere/server/__main__.py",), False),
        (("/bin/pytest",), False),
    ],
)
def test_only_a_simulation_of_processes_starts_it(command: tuple[str, ...], starts: bool) -> None:
    assert starts_parties(*command) == starts


@on_linux
async def test_the_first_that_needs_it_uses_it_and_the_next_starts_its_own(tmp_path: Path) -> None:
    processes.start_ahead()
    (ahead,) = processes._AHEAD
    async with asyncio.timeout(60), ForkServer() as first, ForkServer() as second:
        assert first._forks is ahead
        assert second._forks is not ahead
        party = await first.start("client-1", ["client", "--version"], tmp_path / "log")
        assert await party.wait() == 0
    assert ahead.process.returncode == 0


@on_linux
def test_unused_it_ends_with_the_program() -> None:
    program = "from simulation import processes; processes.start_ahead(); print(processes._AHEAD[0].process.pid)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not Path("/proc", done.stdout.strip()).exists()
    assert done.stderr == ""


@on_linux
async def test_a_party_that_is_to_start_after_it_has_ended_is_one_sentence(tmp_path: Path) -> None:
    async with asyncio.timeout(60), ForkServer() as starter:
        starter._forks.process.kill()
        starter._forks.process.wait()
        with pytest.raises(RunFailedError, match="the process that starts parties has ended"):
            await starter.start("client-1", ["client"], tmp_path / "log")
