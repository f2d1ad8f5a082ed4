"""What the checks of a round cost each party, timed inside the parties of a real run: `python -m benchmarks.checks`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from benchmarks import rounds, ten_thousand
from benchmarks.measure import numbers_table
from benchmarks.stopwatch import CHECKS, FOLDER, PARTIES, WORK, Times


def measure(setting: rounds.Setting, count: int) -> tuple[float, Mapping[str, Times]]:
    """Return the median seconds of a round, and by party the mean seconds a round and process under each label."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {FOLDER: folder}):
        whole = rounds.run(setting, count)
        found: dict[str, list[Times]] = defaultdict(list)
        for path in Path(folder).iterdir():
            found[path.name.partition("-")[0]].append(json.loads(path.read_text()))
    means = {
        party: {
            label: sum(times.get(label, 0.0) for times in all_times) / len(all_times) / count for label in CHECKS | WORK
        }
        for party, all_times in found.items()
    }
    return median(whole.rounds), means


def table(bits: int, a_round: float, means: Mapping[str, Times]) -> Table:
    """Lay out milliseconds a round: a row for each label, a column for each party."""
    title = f"{bits} bits: a round takes {a_round * 1000:.0f} ms"
    made = numbers_table([""], (f"{name}, ms" for name in PARTIES.values()), title=title, title_justify="left")
    for labels, sums in ((CHECKS, "all checks"), (WORK, "all of that")):
        for label in labels:
            made.add_row(label, *(_shown(means[party][label]) for party in PARTIES))
        made.add_row(
            sums, *(_shown(sum(means[party][label] for label in labels)) for party in PARTIES), end_section=True
        )
    return made


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=3)
    options = parser.parse_args(arguments)
    for bits in rounds.BARS:
        setting = rounds.Setting("paillier", options.clients, bits, weights=ten_thousand.WEIGHTS)
        Console(width=100, highlight=False).print(table(bits, *measure(setting, options.rounds)))


if __name__ == "__main__":
    main()
