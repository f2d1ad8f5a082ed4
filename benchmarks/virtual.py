"""Time virtual clients by the thousand, and see what memory they take: `python -m benchmarks.virtual`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import numbers_table
from benchmarks.plain_update import MAILBOXES, draw_mails
from benchmarks.rounds import PAUSE, Watch
from benchmarks.updates import as_bags, task_with
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.training import Dataset
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.virtual.block import BlockRunner
from simulation.virtual.on_ray import RayCluster
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

ENDED = re.compile(r"round \d+ of \d+: .* (\d+\.\d+) s$", re.MULTILINE)
RUNS = {
    "a million clients, 1,000 a round": "--clients 1000000 --cohort 1000",
    "1,000 clients, encrypted, 8,193 weights": "--clients 1000 --scheme paillier --key-bits 2048",
}
BARS = "at most 400 µs an update with 2 workers, linear within 10 %; 300 MB; 1 s to start; 60 s encrypted"


class Alike:
    """Any number of clients with few different mailboxes, of 200 mails of 60 words."""

    sentence = ""

    def __init__(self, size: int) -> None:
        self.size = size
        self._data = [as_bags(*draw_mails(seed)) for seed in range(MAILBOXES)]

    def examples(self, number: int) -> int:
        """Return how many examples one client has."""
        return len(self.data(number))

    def data(self, number: int) -> Dataset:
        """Return the data of one client."""
        return self._data[number % MAILBOXES]

    def test(self) -> HeldOut:
        """Return a mailbox to judge models by."""
        return HeldOut(self._data[0])


def microseconds_an_update(task: Task, clients: int, workers: int, rounds: int, *, on_ray: bool = False) -> float:
    """Return the least wall time of a round after the first, by update: of worker processes, or of Ray here."""
    rules = replace(RoundRules(), rounds=rounds + 1, min_cohort=2, max_cohort=clients, threshold=1, holders=1)
    population = Alike(clients)
    run = VirtualRun(RunSettings(task.name, "plain", 256, rules=rules, insecure_demo_keys=True), task, population)
    runner = BlockRunner(task, population, 0)
    started: RayCluster | WorkerPool = (
        RayCluster(runner, None)
        if on_ray
        else WorkerPool(runner, workers, len(run.model), run.slots, run.largest_round)
    )
    with started as engine:
        seconds = [result.seconds for result in run.rounds(engine, lambda _clients: None)]
    return min(seconds[1:]) / clients * 1e6


def beside_ray(task: Task, clients: Sequence[int], workers: int, rounds: int) -> Table:
    """Return local workers and a Ray cluster of this machine's processors, each timed three times, turn about."""
    table = numbers_table(["clients a round"], ("workers, µs an update", "Ray, µs an update", "times"))
    for each in clients:
        taken = [
            [microseconds_an_update(task, each, workers, rounds, on_ray=on_ray) for on_ray in (False, True)]
            for _ in range(3)
        ]
        local, ray = map(min, zip(*taken, strict=True))
        table.add_row(f"{each:,}", f"{local:,.0f}", f"{ray:,.0f}", f"{ray / local:.2f}")
    return table


@dataclass(frozen=True)
class Whole:
    """Measurements of one program: seconds until it began to train, seconds of its round, most memory of all, bytes."""

    start: float
    round: float
    memory: int


def run_whole(arguments: Sequence[str]) -> Whole:
    """Run a simulation of one round and watch it. Raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "out").open("w+") as out:
        command = [sys.executable, "-m", "simulation", "--virtual", "--rounds", "1", "--out", str(Path(folder, "run"))]
        started, start, watch = time.monotonic(), 0.0, Watch()
        process = subprocess.Popen([*command, *arguments], stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            watch.look(process.pid)
            if not start and Path(out.name).read_text().count("\n") >= 2:  # what clients' data are is said last
                start = time.monotonic() - started
            time.sleep(PAUSE / 4)
        said = Path(out.name).read_text()
        found = ENDED.search(said)
        if found is None:
            raise RuntimeError(f"the simulation failed: {said[-500:]}")
        return Whole(start, float(found[1]), watch.memory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.virtual", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--clients", type=int, nargs="+", default=[100, 1000, 10_000], help="clients a round")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--rounds", type=int, default=3, help="to take the least of (default %(default)s)")
    parser.add_argument("--optimiser", default="SGD", help="SGD (the default) or Adam")
    parser.add_argument("--ray", action="store_true", help="only compare local workers with a Ray cluster, turn about")
    parser.add_argument("--only-updates", action="store_true", help="leave out the runs of whole programs")
    options = parser.parse_args(arguments)
    console = Console(width=120, highlight=False)
    task = task_with("SGD" if options.optimiser == "SGD" else "the task's Adam")
    if options.ray:
        console.print(beside_ray(task, options.clients, max(options.workers), options.rounds))
        return
    console.print(f"bars: {BARS}")
    table = numbers_table(["clients a round"], (f"{workers} at once, µs an update" for workers in options.workers))
    for clients in options.clients:
        with console.status(f"{clients} clients ..."):
            taken = [microseconds_an_update(task, clients, workers, options.rounds) for workers in options.workers]
        table.add_row(f"{clients:,}", *(f"{each:,.0f}" for each in taken))
    console.print(table)
    if not options.only_updates:
        table = numbers_table(["one round of the spam task"], ("starts, s", "round, s", "memory of all, MB"))
        for name, settings in RUNS.items():
            with console.status(f"{name} ..."):
                whole = run_whole(settings.split())
            table.add_row(name, f"{whole.start:.2f}", f"{whole.round:.1f}", f"{whole.memory / 1e6:,.0f}")
        console.print(table)


if __name__ == "__main__":
    main()
