"""A party's program as a separate process, for tests, faults and benchmarks: read what it says, stop or kill it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from core.threads import ONE_THREAD
from simulation.processes import ROOT

ENVIRONMENT = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}


class Program:
    """`python -m ARGUMENTS`, started at once; it reads nothing, and its output is read as it comes.

    Args:
        log: file to which what it logs is appended; without one, `hear` reads the log too.
        cwd: the folder in which it is started.
        within: a command that runs it elsewhere, such as in a network namespace.
    """

    def __init__(
        self, *arguments: str | Path, log: Path | None = None, cwd: Path = ROOT, within: Sequence[str] = ()
    ) -> None:
        self.said: list[str] = []
        errors: IO[bytes] | int = subprocess.STDOUT if log is None else log.open("ab")
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", *map(str, arguments)],
            cwd=cwd,
            env=ENVIRONMENT if cwd == ROOT else {**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        if not isinstance(errors, int):
            errors.close()

    def hear(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches. Raises AssertionError with everything said if the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern!r} was never said; all that was:\n{''.join(self.said)}")

    def end(self) -> tuple[int, str]:
        """Read to the end, and return the exit code and all that was said."""
        assert self.process.stdout is not None
        self.said += self.process.stdout
        self.process.stdout.close()
        return self.process.wait(), "".join(self.said)

    def ends_within(self, seconds: float) -> bool:
        """Wait at most this long, and return whether it has ended by itself."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stop it where it is: its connections stay, and it answers nothing any more."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it, without clean-up of any kind."""
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def close(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
