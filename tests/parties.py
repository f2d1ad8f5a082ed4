"""Start real parties for tests, read what they say line by line, and leave none behind. Nothing here sleeps."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
SMALL_KEYS = ("--insecure-demo-keys",)


class Party:
    """One `python -m ...` process. Its output is read as it comes; it ends by itself at the latest after its patience."""

    def __init__(self, *arguments: str | Path) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def hear(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches; fails with everything said if the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern!r} was never said; all that was:\n{''.join(self.said)}")

    def end(self) -> tuple[int, str]:
        """Read to the end and give exit code and all that was said."""
        assert self.process.stdout is not None
        self.said += self.process.stdout
        return self.process.wait(), "".join(self.said)

    def kill(self) -> None:
        """kill -9: no clean-up of any kind."""
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Parties:
    """All processes of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Party] = []

    def start(self, *arguments: str | Path) -> Party:
        self.started.append(Party(*arguments))
        return self.started[-1]

    def server(self, *arguments: str, port: int = 0, bits: int = 256) -> tuple[Party, str]:
        """An aggregator with small keys and short patience, and its address."""
        party = self.start(
            "server", "--listen", f"127.0.0.1:{port}", "--state", self.folder / "server", "--out", self.folder / "out",
            "--key-bits", str(bits), *SMALL_KEYS, "--patience", "20", "--gather-seconds", "10", *arguments,
        )  # fmt: skip
        return party, party.hear(r"listening on (\S+)").group(1)

    def keyholder(self, address: str, *arguments: str) -> Party:
        return self.start(
            "keyholder",
            "--server",
            address,
            "--state",
            self.folder / "keyholder",
            *SMALL_KEYS,
            "--patience",
            "20",
            *arguments,
        )

    def client(self, address: str, number: int, *arguments: str, mail: str | Path = "generated") -> Party:
        return self.start(
            "client", "--server", address, "--mail", mail, "--name", f"client-{number}", "--number", str(number),
            *SMALL_KEYS, "--patience", "20", *arguments,
        )  # fmt: skip

    def close(self) -> None:
        for party in self.started:
            party.close()


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
