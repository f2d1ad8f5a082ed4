"""Time whole rounds: real processes, real gRPC, and who spends the time and memory: `python -m benchmarks.rounds`."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from rich.table import Table

COMPLETED = re.compile(r"round \d+ of \d+: ")
PARTIES = ("simulation", "server", "keyholder", "client")
PAUSE = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Watch:
    """What the processes of one run were seen to use.

    Attributes:
        memory: the most that all of them held at one time, in bytes; memory that several share counts once.
        seconds: processor seconds by process number.
        names: which party a process is.
    """

    memory: int = 0
    seconds: dict[int, float] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def look(self, root: int) -> None:
        """Take note of what a process and all below it use now."""
        processes = list(_family(root))
        self.memory = max(self.memory, sum(map(_memory, processes)))
        for process in processes:
            self.seconds[process] = max(self.seconds.get(process, 0.0), _seconds(process))
            # Until it runs a program of its own, a new process bears its parent's name.
            self.names[process] = _party(process) or self.names.get(process, "other")

    def by_party(self) -> dict[str, float]:
        """Return processor seconds by party, those of all clients together."""
        totals: dict[str, float] = defaultdict(float)
        for process, seconds in self.seconds.items():
            totals[self.names[process]] += seconds
        return totals


@dataclass(frozen=True)
class Whole:
    """One run from start to finish."""

    scheme: str
    clients: int
    total: float
    rounds: Sequence[float]
    watch: Watch


def run(scheme: str, clients: int, rounds: int, bits: int) -> Whole:
    """Run a federation and watch it. Raises RuntimeError, with what it said, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "simulation", "--clients", str(clients), "--rounds", str(rounds)]
        command += ["--scheme", scheme, "--key-bits", str(bits), "--out", folder]
        if bits < 2048:
            command.append("--insecure-demo-keys")
        watch, done, ends, said = Watch(), Event(), [], []
        started = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            watcher = Thread(target=_keep_looking, args=(watch, process.pid, done), daemon=True)
            watcher.start()
            for line in process.stdout or ():
                said.append(line)
                if COMPLETED.match(line):
                    ends.append(time.monotonic())
        total = time.monotonic() - started
        done.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"the federation of {clients} clients failed: {''.join(said[-3:])}")
    return Whole(scheme, clients, total, [after - before for before, after in pairwise(ends)], watch)


def _keep_looking(watch: Watch, root: int, done: Event) -> None:
    while not done.wait(PAUSE):
        watch.look(root)


def _family(root: int) -> Iterator[int]:
    """Return a process and all below it, those that are still there."""
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := _read(int(folder.name), "stat")):
            children[int(stat.rpartition(")")[2].split()[1])].append(int(folder.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children[process]


def _read(process: int, name: str) -> str:
    try:
        return Path("/proc", str(process), name).read_text()
    except OSError:  # it has ended
        return ""


def _memory(process: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", _read(process, "smaps_rollup"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _seconds(process: int) -> float:
    fields = _read(process, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _party(process: int) -> str:
    words = _read(process, "cmdline").split("\0")
    return next((party for party in PARTIES if party in words), "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--clients", type=int, nargs="+", default=[3, 10], help="numbers of clients to try")
    parser.add_argument("--schemes", nargs="+", default=["plain", "paillier"], choices=["plain", "paillier"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--key-bits", type=int, default=2048)
    options = parser.parse_args(arguments)
    console = Console(width=120, highlight=False)
    wholes = []
    for scheme in options.schemes:
        for clients in options.clients:
            with console.status(f"{clients} clients, {scheme} ..."):
                wholes.append(run(scheme, clients, options.rounds, options.key_bits))
    console.print(_table(wholes))


def _table(wholes: Sequence[Whole]) -> Table:
    caption = (
        "a round: median seconds from one completed round to the next; processor seconds of the whole run by party"
    )
    table = Table("scheme", box=None, caption=caption, caption_justify="left")
    for heading in ("clients", "a round", "slowest", "start to finish", "MB, all parties", *PARTIES):
        table.add_column(heading, justify="right")
    for whole in wholes:
        by_party = whole.watch.by_party()
        table.add_row(
            whole.scheme,
            str(whole.clients),
            f"{statistics.median(whole.rounds):.3f}",
            f"{max(whole.rounds):.3f}",
            f"{whole.total:.1f}",
            f"{whole.watch.memory / 1e6:.0f}",
            *(f"{by_party.get(party, 0.0):.1f}" for party in PARTIES),
        )
    return table


if __name__ == "__main__":
    main()
