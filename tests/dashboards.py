"""The dashboard's command for tests, at a port of its own, with what else a test in a browser needs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Page

from simulation.processes import import_path

AXE = os.environ.get("AXE_CORE", "")
needs_axe = pytest.mark.skipif(
    not AXE, reason="AXE_CORE does not name the axe.min.js of axe-core, a package of npm"
)  # fmt: skip


def python(*arguments: str) -> subprocess.Popen[str]:
    """Start `python -m ARGUMENTS`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": import_path()},
    )  # fmt: skip


class Dashboard:
    """The command, at a port of its own."""

    def __init__(self, runs: Path, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.runs, self._arguments = runs, arguments
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listen = f"127.0.0.1:{self.port}"
        self.process = python("dashboard", "--runs", str(self.runs), "--listen", listen, *self._arguments)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"the dashboard is at {self.address}\n"

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def pid_of_client(identity: Path) -> int:
    """Return the process of the client whose folder this is."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if "client" in arguments and str(identity) in arguments:
            return int(folder.name)
    raise AssertionError(f"no process has {identity}")


def faults_found_by_axe(page: Page) -> list[tuple[str, str, str]]:
    """Return the rule, the impact and the first element of each fault that is not minor."""
    found = page.run(f"(async () => {{ {Path(AXE).read_text()}; return await window.axe.run(); }})()")
    assert len(found["passes"]) > 10, "it has looked"
    faults = [(each["id"], each["impact"], each["nodes"][0]["html"][:120]) for each in found["violations"]]
    return [fault for fault in faults if fault[1] in ("serious", "critical", "moderate")]
