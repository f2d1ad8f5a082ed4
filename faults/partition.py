"""Clients and key holders are cut off from the aggregator for half a minute, and all back soon after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection
from faults.live import errors_of, homes_of, judge, start_workers
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from faults.proxy import FaultyNetwork
from faults.watching import Watcher
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS = 4
PATIENCE = 120.0
BACK_SECONDS = 15.0
EVERYONE = CLIENTS + 3
ROUNDS = 60
"""Enough that the run is not over before the partition begins in the second; the network is also slow."""
RATE = 200_000
"""Bytes a second."""
RULES = RoundRules(
    holders=3, threshold=2, rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, patience_seconds=PATIENCE
)


def run(options: Options) -> Iterator[Outcome]:
    """Once for a network that only falls silent, once for one whose connections are cut as well; quick: that one."""
    seconds = options.count(long=30, quick=1)
    for silent in (False,) if options.quick else (True, False):
        kind = "falls silent" if silent else "is cut"
        what = f"the network {kind} for {seconds} s in the middle of a run, then heals"
        with timed("partition", what, options.slack) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
            outcome.add(one_run(folder, task, seconds, outcome, silent=silent), kind)
        yield outcome


def one_run(folder: Path, task: Task, seconds: float, outcome: Outcome, *, silent: bool) -> list[str]:
    """Return what went wrong."""
    parties = Parties(folder, clients=CLIENTS)
    homes = homes_of(parties, folder, ROUNDS + 10)
    with serving(parties, folder / "server", CLIENTS, RULES) as server:
        address = f"127.0.0.1:{server.port}"
        network, watcher = FaultyNetwork(address), Watcher(parties, address)
        receipts: list[Noted] = []
        network.slow(RATE)
        workers = start_workers(
            parties, homes, task, lambda name: AggregatorConnection(network.address, PATIENCE, parties[name]), receipts
        )
        watcher.wait_for(lambda seen: seen.round >= 2, PATIENCE)
        network.stall()
        if not silent:
            network.cut()
        found = ["the run ended during the partition"] if server.ends_within(seconds) else []
        at_the_end = watcher.last.round
        network.heal()
        back = watcher.wait_for(
            lambda seen: seen.present + seen.holders == EVERYONE and seen.round > at_the_end, PATIENCE
        )
        network.slow(None)
        found += (
            []
            if back <= BACK_SECONDS * outcome.slack
            else [f"all were back and a round went on only after {back:.1f} s"]
        )
        found += errors_of(workers, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        outcome.measured = f"all back, and the next round completed, {back:.1f} s after healing"
        watcher.close()
        network.close()
        return found + judge(parties, folder / "server", homes, RULES, receipts)
