"""The aggregator as a process of its own, which can be killed for real and started again at the same place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from core.settings.setting import arguments_of
from faults.memory import peak_mb, resident_mb
from faults.parties import BITS, Parties
from server.rules import RoundRules
from server.settings import Places, RunSettings

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
PATIENCE = 60.0


class ServerProcess:
    """`python -m server` for the task of `slots` clients, with its state in `folder`."""

    def __init__(self, parties: Parties, folder: Path, slots: int, rules: RoundRules, log: Path | None = None) -> None:
        self._places = Places(identity=parties["server"].folder, state=folder)
        self._settings = RunSettings(f"slots-{slots}", key_bits=BITS, rules=rules, insecure_demo_keys=True)
        self._slots = slots
        self._log = log or folder.with_suffix(".log")
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> float:
        """Start (again), and give the seconds until it listens."""
        started = time.perf_counter()
        places = replace(self._places, listen=f"127.0.0.1:{self.port}")
        program = [sys.executable, "-m", "faults.child", str(self._slots), "server"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*program, *arguments_of(places, self._settings)],
                cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.port = int(line.rpartition(":")[2])
                return time.perf_counter() - started
        raise AssertionError(f"the server did not start: {self.words()}")

    @property
    def running(self) -> subprocess.Popen[str]:
        assert self.process is not None
        return self.process

    def ends_within(self, seconds: float) -> bool:
        """Wait so long at the most, and say whether it has ended by itself."""
        try:
            self.running.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """kill -9: no clean-up of any kind."""
        self.running.send_signal(signal.SIGKILL)
        self._reap()

    def end(self) -> int:
        """Wait for it to end in order, and give its exit code; it is killed if it does not."""
        if not self.ends_within(PATIENCE):
            self.running.kill()
        return self._reap()

    def _reap(self) -> int:
        process = self.running
        assert process.stdout is not None
        code = process.wait()
        process.stdout.close()
        return code

    def memory_mb(self) -> float:
        return resident_mb(self.running.pid)

    def peak_mb(self) -> float:
        return peak_mb(self.running.pid)

    def words(self) -> str:
        """What it logged last."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
