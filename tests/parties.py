"""Start real parties for tests, read what they say line by line, and leave none behind. Nothing here sleeps."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from templates import Shape, copy_federation

from simulation.processes import ROOT
from simulation.program import Program

SMALL_KEYS = ("--insecure-demo-keys",)
SMALL_COHORTS = ("--min-cohort", "2")
"""Most tests have three clients, of which two are enough for a sum."""
ANY_COHORT = (*SMALL_COHORTS, "--max-colluders", "0")
PATIENCE = ("--patience", "60")
"""A limit only: what a busy machine may take for what is bound to come."""


class Parties:
    """All processes of one test, and the federation they belong to, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shape = Shape()
        self.flags: tuple[str, ...] = ()
        """What every party is given besides, such as --insecure-plaintext."""
        self.started: list[Program] = []

    def found(self, **shape: object) -> Path:
        """Make the federation of this shape, in `folder`/federation."""
        self.shape = Shape(**shape)  # type: ignore[arg-type]
        return copy_federation(self.shape, self.folder / "federation")

    @property
    def federation(self) -> Path:
        made = self.folder / "federation"
        return made if made.is_dir() else self.found()

    @property
    def database(self) -> Path:
        return self.folder / "server" / "aggregator.sqlite"

    def start(self, *arguments: str | Path, cwd: Path = ROOT, within: Sequence[str] = ()) -> Program:
        self.started.append(Program(*arguments, cwd=cwd, within=within))
        return self.started[-1]

    def server(self, *arguments: str, port: int = 0) -> tuple[Program, str]:
        """An aggregator with small keys and short patience, and its address."""
        party = self.start(
            "server", "--identity", self.federation / "server", "--listen", f"127.0.0.1:{port}",
            "--state", self.folder / "server", "--out", self.folder / "out", "--scheme", self.shape.scheme,
            "--key-bits", str(self.shape.bits), "--gather-seconds", "10", *SMALL_KEYS, *SMALL_COHORTS, *PATIENCE, *self.flags,
            *arguments,
        )  # fmt: skip
        return party, party.hear(r"listening on (\S+)").group(1)

    def restart(self, server: Program, address: str, *arguments: str) -> Program:
        """Kill the aggregator and start it again at the same place."""
        server.kill()
        again, there = self.server(*arguments, port=int(address.rpartition(":")[2]))
        assert there == address
        return again

    def keyholder(self, address: str, number: int, *arguments: str) -> Program:
        name = f"keyholder-{number}"
        return self.start(
            "keyholder", "--identity", self.federation / name, "--server", address, "--state", self.folder / name,
            *SMALL_KEYS, *ANY_COHORT, *PATIENCE, *self._plain, *self.flags, *arguments,
        )  # fmt: skip

    def keyholders(self, address: str, *arguments: str) -> list[Program]:
        """All that the federation has."""
        return [self.keyholder(address, number, *arguments) for number in range(1, self.shape.holders + 1)]

    def client(self, address: str, number: int, *arguments: str, mail: str | Path = "generated") -> Program:
        return self.start(
            "client", "--identity", self.federation / f"client-{number}", "--server", address, "--mail", mail,
            *SMALL_KEYS, *ANY_COHORT, *PATIENCE, *self._plain, *self.flags, *arguments,
        )  # fmt: skip

    def clients(self, address: str, *arguments: str) -> list[Program]:
        """All that the federation has."""
        return [self.client(address, number, *arguments) for number in range(1, self.shape.clients + 1)]

    @property
    def _plain(self) -> tuple[str, ...]:
        return ("--allow-plain",) if self.shape.scheme == "plain" else ()

    def close(self) -> None:
        for party in self.started:
            party.close()


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """What `python -m ...` does, without the half second that a new process takes; for what ends at once."""
    module, *rest = map(str, arguments)
    handler, log = signal.getsignal(signal.SIGTERM), structlog.get_config()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module, *rest])
            patch.chdir(ROOT)
            patch.delitem(sys.modules, f"{module}.__main__", raising=False)
            with pytest.raises(SystemExit) as ended:
                runpy.run_module(module, run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, handler)
        structlog.configure(**log)
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out + shown.err


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that were given `folder`, or whose output goes to a file in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            output = (entry / "fd" / "1").resolve()
        except OSError:
            continue
        if (str(folder) in command or output.is_relative_to(folder.resolve())) and int(entry.name) != os.getpid():
            found.append(command)
    return found
