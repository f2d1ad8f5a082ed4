"""Time rounds of virtual clients beside other simulators of federated learning: `python -m benchmarks.simulators`.

All train the same clients with the same numbers of mails: ours with its own framework, the others with a loop in plain
NumPy (benchmarks.plain_update), so that what they add to it is what is compared. `make bench-simulators` installs them
in an environment of their own.
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import json
import math
import os
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.measure import OURS, numbers_table
from benchmarks.others import AT_ONCE
from benchmarks.updates import task_with
from benchmarks.virtual import microseconds_an_update, run_whole

ENVIRONMENT = Path(".venv", "simulators")
NAMES = {"plain": "plain NumPy in a loop", "pfl_": "pfl", "ray_": "Ray, a task a client", "flower": "Flower"}
PROCESSES = {"plain": 1, "pfl_": 1, "ray_": AT_ONCE, "flower": AT_ONCE}


@dataclass(frozen=True)
class Times:
    """Seconds until the first round begins, microseconds of an update in the fastest later round, and |model|."""

    start: float
    update: float
    norm: float


def run_other(python: Path, simulator: str, clients: int, rounds: int) -> Times:
    """Run one of the other simulators. Raises RuntimeError, with what it said last, if it fails."""
    command = [str(python), "-m", "benchmarks.others", simulator]
    variables = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    options = ["--clients", str(clients), "--rounds", str(rounds + 1)]
    done = subprocess.run([*command, *options], env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{simulator} failed: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Times(said["start"], min(said["seconds"][1:]) / clients * 1e6, said["norm"])


def run_ours(workers: int, clients: int, rounds: int) -> Times:
    """Run rounds of virtual clients, and once the whole program to see how long it takes to start."""
    whole = run_whole(["--clients", str(clients), "--workers", str(workers)])
    return Times(whole.start, microseconds_an_update(task_with("SGD"), clients, workers, rounds), math.nan)


def installed(python: Path) -> list[str]:
    """Return the simulators that can be run by that Python."""
    found = []
    for simulator, module in (("plain", "numpy"), ("pfl_", "pfl"), ("ray_", "ray"), ("flower", "flwr")):
        test = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        if not subprocess.run([str(python), "-c", test], check=False).returncode:
            found.append(simulator)
    return found


def measure(python: Path, clients: int, rounds: int, repeats: int) -> dict[str, Times]:
    """Return the least times of each simulator, run turn about.

    Raises AssertionError if those that train in plain NumPy do not arrive at the same model.
    """
    simulators = installed(python)
    times: dict[str, list[Times]] = defaultdict(list)
    for _ in range(repeats):
        for simulator in simulators:
            times[simulator].append(run_other(python, simulator, clients, rounds))
        for workers in (1, AT_ONCE):
            times[f"{OURS}, {workers} at once"].append(run_ours(workers, clients, rounds))
    norms = [times[simulator][0].norm for simulator in simulators]
    assert all(math.isclose(norm, norms[0], rel_tol=1e-6) for norm in norms), norms
    return {
        name: Times(min(each.start for each in found), min(each.update for each in found), found[0].norm)
        for name, found in times.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulators", description=__doc__.partition(":")[0] + "."
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[100, 1000], help="clients a round")
    parser.add_argument("--rounds", type=int, default=3, help="after the first, to take the least of (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of all, turn about (default %(default)s)")
    options = parser.parse_args(arguments)
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        parser.error(f"{ENVIRONMENT} is not there; `make bench-simulators` installs the other simulators in it")
    found = {clients: measure(python, clients, options.rounds, options.repeats) for clients in options.clients}
    columns = ("at once", *(f"{clients:,} a round, µs an update" for clients in options.clients), "starts, s")
    table = numbers_table(["simulator"], columns)
    for name in found[options.clients[0]]:
        several = [found[clients][name] for clients in options.clients]
        processes = PROCESSES.get(name) or int(name.split()[1])
        label = NAMES.get(name, OURS)
        table.add_row(label, str(processes), *(f"{each.update:,.0f}" for each in several), f"{several[0].start:.2f}")
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
