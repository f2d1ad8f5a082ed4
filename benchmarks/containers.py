"""Time rounds in containers beside the same rounds in processes, turn about: `python -m benchmarks.containers`.

It needs Docker with Compose, and builds the image. Both have five clients, four key holders and one aggregator.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.measure import numbers_table

PROJECT = "grokfed-benchmark"
STEPS = {
    "train_s": "training",
    "encrypt_s": "encrypting",
    "add_s": "adding",
    "decrypt_s": "opening",
    "round_s": "round",
}
"""Columns of the history, and what they are called here."""

Steps = dict[str, float]


def medians(history: Path) -> Steps:
    """Return the median seconds of each step over a run's rounds but the first, in which parties still start."""
    with history.open(newline="") as file:
        rounds = list(csv.DictReader(file))[1:]
    return {step: statistics.median(float(each[step]) for each in rounds) for step in STEPS}


def in_containers(rounds: int, folder: Path) -> Steps:
    """Return the seconds of each step of a run in containers. Raises CalledProcessError if it fails."""
    compose = partial(_compose, {"COMPOSE_PROJECT_NAME": PROJECT, "ROUNDS": str(rounds), "DASHBOARD_PORT": "0"})
    compose("down", "--volumes", "--remove-orphans")
    try:
        compose("up", "--detach", "--build")
        compose("wait", "server")
        compose("cp", "server:/state/results", str(folder / "run"))
    finally:
        compose("down", "--volumes", "--remove-orphans")
    return medians(folder / "run" / "history.csv")


def _compose(settings: dict[str, str], *words: str) -> None:
    command = [shutil.which("docker") or "docker", "compose", *words]
    subprocess.run(command, env={**os.environ, **settings}, check=True, capture_output=True)


def in_processes(rounds: int, folder: Path) -> Steps:
    """Return the seconds of each step of a run in processes."""
    command = [sys.executable, "-m", "simulation", "--rounds", str(rounds), "--out", str(folder / "run")]
    subprocess.run(command, check=True, capture_output=True)
    return medians(folder / "run" / "history.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.containers", description=__doc__.partition(":")[0] + "."
    )
    parser.add_argument("--rounds", type=int, default=8, help="of each run (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, turn about (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.rounds < 2 or options.repeats < 1:
        parser.error("--rounds must be at least 2, and --repeats at least 1")
    ways = {"containers": in_containers, "processes": in_processes}
    found: dict[str, list[Steps]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way, run in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                found[way].append(run(options.rounds, Path(folder)))
    least = {way: {step: min(each[step] for each in runs) for step in STEPS} for way, runs in found.items()}
    table = numbers_table(["seconds, medians of rounds"], (*least, "times"))
    for step, name in STEPS.items():
        inside, outside = least["containers"][step], least["processes"][step]
        table.add_row(name, f"{inside:.3f}", f"{outside:.3f}", f"{inside / outside:.2f}")
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    main()
