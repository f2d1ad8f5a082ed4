"""Time whole rounds: real processes, real gRPC, and who spends the time and memory: `python -m benchmarks.rounds`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

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
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from rich.table import Table

from benchmarks import ten_thousand
from benchmarks.measure import numbers_table
from core.secagg.scheme import SAFE_KEY_BITS

COMPLETED = re.compile(r"round \d+ of \d+: ")
PARTIES = ("simulation", "server", "keyholder", "client", "registrar")
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
            self.seconds[process] = max(self.seconds.get(process, 0.0), seconds_of(process))
            # Until it executes its program, a new process has its parent's name.
            self.names[process] = _party(process) or self.names.get(process, "other")

    def by_party(self) -> dict[str, float]:
        """Return processor seconds by party, those of all clients together."""
        totals: dict[str, float] = defaultdict(float)
        for process, seconds in self.seconds.items():
            totals[self.names[process]] += seconds
        return totals


@dataclass(frozen=True)
class Setting:
    """What kind of federation is timed.

    Attributes:
        weights: 10,000 of a task without much training; None for the spam model.
        bar: seconds that a round may take.
    """

    scheme: str
    clients: int
    bits: int = 2048
    threshold: int = 2
    holders: int = 3
    weights: int | None = None
    plaintext: bool = False
    bar: float | None = None

    @property
    def program(self) -> list[str]:
        """The module that runs it, and its options."""
        program = ["simulation"] if self.weights is None else [ten_thousand.__name__, "simulation"]
        program += ["--clients", str(self.clients), "--scheme", self.scheme, "--key-bits", str(self.bits)]
        program += ["--holders", str(self.holders), "--threshold", str(self.threshold)]
        if self.weights is not None:
            program += ["--task", ten_thousand.NAME]
        if self.bits < SAFE_KEY_BITS:
            program.append("--insecure-demo-keys")
        if self.plaintext:
            program.append("--insecure-plaintext")
        return program


BARS = {2048: 2.5, 3072: 7.0}
"""Seconds that a round of three clients with 10,000 weights may take with all checks on, by the size of the key."""


def bar_settings() -> list[Setting]:
    """Return the federations for which there are bars, and the same with less, to see what that costs."""
    found = []
    for bits, bar in BARS.items():
        full = Setting("paillier", 3, bits, weights=ten_thousand.WEIGHTS, bar=bar)
        found += [full, replace(full, threshold=1, holders=1), replace(full, plaintext=True)]
    return found


@dataclass(frozen=True)
class Whole:
    """One run from start to finish. `rounds` are the seconds from one completed round to the next."""

    setting: Setting
    total: float
    rounds: Sequence[float]
    watch: Watch


def run(setting: Setting, rounds: int) -> Whole:
    """Run a federation and watch it. Raises RuntimeError, with its last output, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", *setting.program, "--rounds", str(rounds), "--out", folder]
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
        raise RuntimeError(f"the federation of {setting.clients} clients failed: {''.join(said[-3:])}")
    return Whole(setting, total, [after - before for before, after in pairwise(ends)], watch)


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


def seconds_of(process: int) -> float:
    """Return the processor seconds that a process has used; 0 if it is gone."""
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
    parser.add_argument("--bars", action="store_true", help="only the federations for which there are bars")
    options = parser.parse_args(arguments)
    several = [Setting(scheme, clients, options.key_bits) for scheme in options.schemes for clients in options.clients]
    console = Console(width=140, highlight=False)
    wholes = []
    for setting in bar_settings() if options.bars else [*several, *bar_settings()]:
        with console.status(f"{' '.join(setting.program)} ..."):
            wholes.append(run(setting, options.rounds))
    console.print(table(wholes))


def table(wholes: Sequence[Whole]) -> Table:
    """Return one row a run."""
    caption = (
        "a round: median seconds from one completed round to the next; processor seconds of the whole run by party; "
        "weights: of the spam model where none are given"
    )
    headings = ("bits", "holders", "TLS", "weights", "clients", "a round", "bar", "slowest", "start to finish")
    columns = (*headings, "MB, all parties", *PARTIES)
    made = numbers_table(["scheme"], columns, caption=caption, caption_justify="left")
    for whole in wholes:
        by_party = whole.watch.by_party()
        made.add_row(
            *_names(whole.setting),
            f"{statistics.median(whole.rounds):.3f}",
            _verdict(whole),
            f"{max(whole.rounds):.3f}",
            f"{whole.total:.1f}",
            f"{whole.watch.memory / 1e6:.0f}",
            *(f"{by_party.get(party, 0.0):.1f}" for party in PARTIES),
        )
    return made


def _names(setting: Setting) -> tuple[str, ...]:
    holders = f"{setting.threshold} of {setting.holders}"
    weights = "" if setting.weights is None else f"{setting.weights:,}"
    tls = "no" if setting.plaintext else "yes"
    return setting.scheme, str(setting.bits), holders, tls, weights, str(setting.clients)


def _verdict(whole: Whole) -> str:
    bar = whole.setting.bar
    if bar is None:
        return ""
    met = statistics.median(whole.rounds) <= bar
    return f"{bar:g} {'met' if met else 'MISSED'}"


if __name__ == "__main__":
    main()
