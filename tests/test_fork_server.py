"""The process that parties are forked from ends in order when the simulation has gone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from core.commands import command_of
from simulation.processes import ROOT, ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parties are forked on Linux only")


def test_it_says_nothing_of_a_party_that_ends_after_the_simulation_has() -> None:
    life, held = os.pipe()
    command = [sys.executable, "-m", "simulation.fork_server", str(life)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    server = subprocess.Popen(command, cwd=ROOT, pass_fds=[life], **pipes)  # type: ignore[call-overload]
    with server:
        server.stdout.close()
        party = {"name": "client-1", "arguments": ["client", "--help"], "log": os.devnull}
        server.stdin.write(json.dumps(party).encode() + b"\n")
        server.stdin.close()
        assert server.stderr.read() == b""
        assert server.wait(60) == 0
    os.close(life)
    os.close(held)


async def test_an_interrupt_while_a_party_starts_does_not_hide_the_ends_of_others(tmp_path: Path) -> None:
    async with asyncio.timeout(60), ForkServer() as starter:
        interrupted = asyncio.create_task(starter.start("client-1", ["client"], tmp_path / "1"))
        await asyncio.sleep(0)  # the fork server is told
        interrupted.cancel()
        with suppress(asyncio.CancelledError):
            await interrupted
        other = await starter.start("client-2", ["client", "--version"], tmp_path / "2")
        assert await other.wait() == 0
        unknown = starter._parties["client-1"]
        assert await unknown.wait() != 0  # it was ended: nobody waits for it


async def test_a_party_is_called_by_its_own_name_where_its_options_are_wrong(tmp_path: Path) -> None:
    async with asyncio.timeout(60), ForkServer() as starter:
        party = await starter.start("client-1", ["client", "--nonsense"], tmp_path / "log")
        assert await party.wait() == 2
    assert f"Usage: {command_of('client')} " in (tmp_path / "log").read_text()
