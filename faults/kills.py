"""The aggregator's real process is killed (SIGKILL) at random moments while rounds go on, and started again.

Clients and key holders are the product's own connections, in threads, over mutual TLS; they notice and come back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection
from faults.live import errors_of, homes_of, judge, start_workers
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS = 4
PATIENCE = 60.0
BACK_SECONDS = 10.0
LONGEST_LIFE = 0.8
KILLS_A_RUN = 5
ROUNDS_A_KILL = 15
"""Enough to be in the middle of one when the next kill comes."""


def run(options: Options) -> Iterator[Outcome]:
    """Ten kills in two runs; quick: one."""
    kills = options.count(long=10, quick=1)
    what = "the aggregator's process killed (SIGKILL) at random moments, started again on the same files"
    with timed("kills", what, options.slack) as outcome, known(slot_task(CLIENTS)) as task:
        back: list[float] = []
        seed = options.seed
        while outcome.trials < kills:
            with scratch() as folder:
                some = min(KILLS_A_RUN, kills - outcome.trials)
                found, seconds = one_run(folder, task, some, seed)
            back += seconds
            outcome.trials += some
            outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
            seed += 1
        outcome.require(max(back) <= BACK_SECONDS * options.slack, f"back only after {max(back):.1f} s")
        outcome.measured = f"listening again after {max(back):.1f} s at the most"
    yield outcome


def one_run(folder: Path, task: Task, kills: int, seed: int) -> tuple[list[str], list[float]]:
    """Play a run with this many kills; return what went wrong, and the seconds until it listened after each."""
    rng = random.Random(seed)  # noqa: S311
    parties = Parties(folder, clients=CLIENTS)
    rounds = ROUNDS_A_KILL * (kills + 1)
    rules = RoundRules(
        holders=3, threshold=2, rounds=rounds, min_cohort=2, max_cohort=8, target=CLIENTS, patience_seconds=PATIENCE
    )
    homes = homes_of(parties, folder, rounds + 2 * kills + 2)
    with serving(parties, folder / "server", CLIENTS, rules) as server:
        receipts: list[Noted] = []
        address = f"127.0.0.1:{server.port}"
        workers = start_workers(
            parties, homes, task, lambda name: AggregatorConnection(address, PATIENCE, parties[name]), receipts
        )
        back = []
        for _ in range(kills):
            if server.ends_within(rng.uniform(0.02, LONGEST_LIFE)):
                break
            server.kill()
            back.append(server.start())
        found = errors_of(workers, PATIENCE)
        if server.end() != 0:
            found.append(f"the server ended badly: {server.words()}")
        if len(back) < kills:
            found.append(f"the run was over after {len(back)} of {kills} kills")
        return found + judge(parties, folder / "server", homes, rules, receipts), back or [0.0]
