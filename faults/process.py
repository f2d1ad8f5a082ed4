"""The aggregator in its own process, which can be killed and started again at the same address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from core.settings.setting import arguments_of
from faults.memory import peak_mb, resident_mb
from faults.parties import BITS, Parties
from server.rules import RoundRules
from server.settings import Places, RunSettings
from simulation.program import Program

PATIENCE = 60.0


class ServerProcess:
    """`python -m server` for the task of `slots` clients, with its state in `folder`."""

    def __init__(self, parties: Parties, folder: Path, slots: int, rules: RoundRules, log: Path | None = None) -> None:
        self._places = Places(identity=parties["server"].folder, state=folder)
        self._settings = RunSettings(
            f"slots-{slots}", key_bits=BITS, rules=rules, insecure_demo_keys=True, insecure_unbounded=True
        )
        self._slots = slots
        self._log = log or folder.with_suffix(".log")
        self.port = 0
        self._program: Program | None = None

    def start(self) -> float:
        """Start (again), and return the seconds until it listens."""
        started = time.perf_counter()
        places = replace(self._places, listen=f"127.0.0.1:{self.port}")
        arguments = arguments_of(places, self._settings)
        self._program = Program("faults.child", str(self._slots), "server", *arguments, log=self._log)
        self.port = int(self.running.hear(r"^listening on .*:(\d+)$")[1])
        return time.perf_counter() - started

    @property
    def running(self) -> Program:
        assert self._program is not None
        return self._program

    def ends_within(self, seconds: float) -> bool:
        """Wait at most this long, and return whether it has ended by itself."""
        return self.running.ends_within(seconds)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.running.kill()

    def close(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.running.close()

    def end(self) -> int:
        """Wait for an orderly end, and return its exit code; kill it if it does not end."""
        if not self.ends_within(PATIENCE):
            self.running.process.kill()
        return self.running.end()[0]

    def memory_mb(self) -> float:
        return resident_mb(self.running.process.pid)

    def peak_mb(self) -> float:
        return peak_mb(self.running.process.pid)

    def words(self) -> str:
        """Return what it logged last."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def serving(
    parties: Parties, folder: Path, slots: int, rules: RoundRules, log: Path | None = None
) -> Iterator[ServerProcess]:
    """An aggregator that has been started, and does not outlive a scenario that fails."""
    server = ServerProcess(parties, folder, slots, rules, log)
    server.start()
    try:
        yield server
    finally:
        server.close()
