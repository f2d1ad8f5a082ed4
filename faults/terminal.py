"""A terminal on one of several machines: what a person types there, what is said, Ctrl-C, and a machine that dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from core.threads import ONE_THREAD
from simulation.processes import ROOT

PATIENCE = 30.0
T = TypeVar("T")


class Machines(Protocol):
    """Machines by name."""

    def address(self, name: str) -> str:
        """Return a machine's address."""

    def command(self, name: str, *words: str) -> list[str]:
        """Return the command that runs a command on a machine."""


class OneMachine:
    """This machine alone, under every name."""

    def address(self, _name: str) -> str:
        return "127.0.0.1"

    def command(self, _name: str, *words: str) -> list[str]:
        return [*words]


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a terminal knows: the programs of this Python, found first in `folder`, and no setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GROKFED_", "PYTHON"))}
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, **ONE_THREAD, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(more or {})}


class Terminal(threading.Thread):
    """A command that a person types on a machine; what it says is read as it comes.

    Attributes:
        said: the lines so far.
    """

    def __init__(self, machines: Machines, machine: str, words: Sequence[str | Path], folder: Path, bin: Path) -> None:
        super().__init__(name=machine, daemon=True)
        self.said: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            machines.command(machine, *map(str, words)), cwd=folder, env=environment(bin), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.said.append(line)
                self._changed.notify_all()
        self.process.wait()
        with self._changed:
            self._changed.notify_all()

    def hear(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Wait until a line matches. Raises AssertionError with all that was said if none does in time."""

        def found() -> re.Match[str] | None:
            return next((match for line in list(self.said) if (match := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self.process.returncode is not None, patience)
        if match := found():
            return match
        raise AssertionError(f"{self.name} did not say {pattern!r} in {patience:g} seconds, but:\n{''.join(self.said)}")

    def end(self, patience: float = PATIENCE) -> int:
        """Wait for its end, and return the exit code. Raises AssertionError if it does not end in time."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} has not ended after {patience:g} seconds; it said:\n{''.join(self.said)}"
            ) from None

    def interrupt(self) -> None:
        """Press Ctrl-C: every process of the terminal gets it."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End everything in it at once, as when the machine's battery is empty."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self.process.wait()
        self.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def left(self) -> list[int]:
        """Return the processes of the terminal that still run."""
        return [int(each.name) for each in Path("/proc").glob("[0-9]*") if _session(each) == self.process.pid]

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def _session(process: Path) -> int:
    with suppress(OSError, IndexError, ValueError):
        state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        return 0 if state == "Z" else int(session)
    return 0


def wait_until(holds: Callable[[], T], patience: float, what: str) -> T:
    """Ask again and again until it holds, and return what it gave. Raises AssertionError after `patience` seconds."""
    end = time.monotonic() + patience
    while not (found := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience:g} seconds")
        time.sleep(0.1)
    return found
