"""Hold what `--dry-run` says against what runs then take: `python -m benchmarks.dry_run`.

Each configuration is foretold and run in turn, so that both see the machine equally busy.
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.rounds import PAUSE, Watch

WITHIN, FITS = 0.25, "within 25 %"
CONFIGURATIONS = (
    "--virtual --clients 100 --rounds 4",
    "--virtual --clients 500 --rounds 3",
    "--virtual --clients 2000 --cohort 200 --rounds 4",
    "--virtual --clients 300 --rounds 3 --workers 1",
    "--virtual --clients 200 --rounds 3 --rule fedadam",
    "--virtual --clients 200 --rounds 3 --groups 4 --robust median",
    "--virtual --clients 60 --rounds 3 --scheme paillier",
    "--virtual --clients 60 --rounds 3 --scheme damgard-jurik",
    "--virtual --clients 60 --rounds 3 --clip-norm 1 --noise-multiplier 1",
    "--virtual --task mnist-mlp --clients 40 --rounds 3",
    "--virtual --task mnist-cnn --clients 10 --rounds 2",
    "--virtual --task spam-pairs --clients 60 --rounds 3",
    "--clients 3 --rounds 4 --scheme plain",
    "--clients 8 --rounds 4 --scheme plain",
    "--clients 3 --rounds 4",
    "--clients 5 --rounds 4",
    "--clients 8 --rounds 3 --scheme damgard-jurik",
    "--clients 5 --rounds 3 --holders 1",
    "--clients 5 --rounds 3 --rule fedyogi",
    "--clients 5 --rounds 3 --task mnist-mlp",
)
"""Options of a simulation."""


@dataclass(frozen=True)
class Measured:
    """What a run took; the seconds of a round are the median, the memory that of all its processes."""

    bytes_up: float
    round: float
    total: float
    memory: float


@dataclass(frozen=True)
class Comparison:
    """One configuration: what was said of it, and what it took."""

    configuration: str
    foretold: Measured
    measured: Measured

    def ratios(self) -> tuple[float, float, float, float]:
        """Return foretold by measured: bytes up, a round, the whole run, memory."""
        said, found = self.foretold, self.measured
        return (
            said.bytes_up / found.bytes_up, said.round / found.round, said.total / found.total,
            said.memory / found.memory,
        )  # fmt: skip


def foretold(arguments: Sequence[str]) -> Measured:
    """Return what `--dry-run --json` says."""
    command = [sys.executable, "-m", "simulation", *arguments, "--dry-run", "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return Measured(
        said["bytes_up_per_client"], said["seconds_per_round"], said["seconds_total"], said["memory_mb_total"]
    )


def measured(arguments: Sequence[str]) -> Measured:
    """Run it, watch it, and read its history. Raises RuntimeError, with its last output, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out, watch = Path(folder, "run"), Watch()
        command = [sys.executable, "-m", "simulation", *arguments, "--out", str(out)]
        started = time.monotonic()
        with Path(folder, "said").open("w+", encoding="utf-8") as said:
            process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
            while process.poll() is None:
                watch.look(process.pid)
                time.sleep(PAUSE)
            total = time.monotonic() - started
            if process.returncode:
                raise RuntimeError(
                    f"{' '.join(arguments)} failed: {Path(said.name).read_text(encoding='utf-8')[-500:]}"
                )
        with (out / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    up = statistics.mean(float(row["bytes_up_per_client"]) for row in rows)
    return Measured(up, statistics.median(float(row["round_s"]) for row in rows), total, watch.memory / 1e6)


def verdict(found: Comparison) -> str:
    """Return which of the numbers are off by more than is allowed."""
    names = ("bytes", "round", "total", "memory")
    off = [name for name, ratio in zip(names, found.ratios(), strict=True) if not 1 - WITHIN <= ratio <= 1 + WITHIN]
    return FITS if not off else f"off: {', '.join(off)}"


def line_of(found: Comparison) -> str:
    """Return one line: what was measured, each with the ratio of what was foretold to it."""
    up, a_round, total, memory = found.ratios()
    took, load = found.measured, os.getloadavg()[0]
    return (
        f"{found.configuration}\n  bytes up {took.bytes_up:,.0f} ({up:.2f}), a round {took.round:.2f} s "
        f"({a_round:.2f}), in all {took.total:.1f} s ({total:.2f}), {took.memory:.0f} MB ({memory:.2f}), load "
        f"{load:.0f}: {verdict(found)}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dry_run", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of configurations, from 1 (default: all)")
    parser.add_argument("--list", action="store_true", help="list the configurations and stop")
    options = parser.parse_args(arguments)
    console = Console(width=160, highlight=False)
    numbers = options.only or range(1, len(CONFIGURATIONS) + 1)
    if options.list:
        for number in numbers:
            console.print(f"{number:2}  {CONFIGURATIONS[number - 1]}")
        return
    good = 0
    for number in numbers:
        words = CONFIGURATIONS[number - 1].split()
        with console.status(CONFIGURATIONS[number - 1]):
            found = Comparison(CONFIGURATIONS[number - 1], foretold(words), measured(words))
        good += verdict(found) == FITS
        console.print(line_of(found))
    console.print(f"{good} of {len(numbers)} configurations are within 25 % in all four")


if __name__ == "__main__":
    main()
