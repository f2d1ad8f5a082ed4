"""Five hundred rounds in one go: the memory of the aggregator, and of everyone else, does not creep up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection
from faults.live import errors_of, homes_of, judge, start_workers
from faults.memory import resident_mb
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from server.records import FILE
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS = 4
PATIENCE = 300.0
WARM_UP = 0.3
STEEPEST = 0.1
"""Megabytes a round."""
PAUSE = 0.2


def run(options: Options) -> Iterator[Outcome]:
    """500 rounds; quick: 30, whose memory is only looked at."""
    rounds = options.count(long=500, quick=30)
    with timed("soak", f"{rounds} rounds in one run over mutual TLS; a trial is a round") as outcome:
        with scratch() as folder, known(slot_task(CLIENTS)) as task:
            found, slopes = one_run(folder, task, rounds)
        outcome.trials = rounds
        outcome.violations += found
        names = ("the aggregator", "clients and key holders together")
        outcome.measured = "; ".join(f"{who} {mb:+.3f} MB a round" for who, mb in zip(names, slopes, strict=True))
        for who, mb in zip(names, slopes, strict=True):
            outcome.require(options.quick or mb <= STEEPEST, f"{who} grew by {mb:.3f} MB a round")
    yield outcome


def one_run(folder: Path, task: Task, rounds: int) -> tuple[list[str], tuple[float, float]]:
    """Play `rounds` rounds; return what went wrong, and the memory growth a round of the aggregator and of this process."""
    parties = Parties(folder, clients=CLIENTS)
    rules = RoundRules(
        holders=3, threshold=2, rounds=rounds, min_cohort=2, max_cohort=8, target=CLIENTS, patience_seconds=PATIENCE
    )
    homes = homes_of(parties, folder, rounds + 5)
    with serving(parties, folder / "server", CLIENTS, rules) as server:
        receipts: list[Noted] = []
        address = f"127.0.0.1:{server.port}"
        workers = start_workers(
            parties, homes, task, lambda name: AggregatorConnection(address, PATIENCE, parties[name]), receipts
        )
        seen: list[tuple[int, float, float]] = []
        while not server.ends_within(PAUSE):
            seen.append((_completed(folder / "server" / FILE), server.memory_mb(), resident_mb()))
        found = errors_of(workers, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        late = np.array([row for row in seen if row[0] >= WARM_UP * rounds] or seen[-2:])
        slopes = (_slope(late[:, 0], late[:, 1]), _slope(late[:, 0], late[:, 2]))
        return found + judge(parties, folder / "server", homes, rules, receipts), slopes


def _completed(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM history").fetchone()[0])


def _slope(rounds: np.ndarray, megabytes: np.ndarray) -> float:
    """Of the straight line that fits best; 0 if there is only one point."""
    if len(set(rounds.tolist())) < 2:
        return 0.0
    return float(np.polyfit(rounds, megabytes, 1)[0])
