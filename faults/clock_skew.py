"""Clocks that are wrong by up to two days, and jump: nothing old is taken again, and deadlines are what they were."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from core.clock import today
from core.errors import Refused
from core.federated import task_digest
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import AggregatorConnection
from faults.live import LiveServer, errors_of, homes_of, judge, start_workers
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.watching import Watcher
from faults.world import Client, World
from server.rules import RoundRules
from server.states import Uploading
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 3, 3
DAYS = 2
DEADLINE = 3.0
TOLERANCE = 1.0
PATIENCE = 60.0
RULES = RoundRules(holders=3, threshold=2, rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5)


def run(options: Options) -> Iterator[Outcome]:
    """Skewed parties that repeat everything old; then a real deadline while the wall clock jumps."""
    trials = options.count(long=200, quick=10)
    what = f"each party's date off by up to {DAYS} days; everything of earlier rounds sent again in every round"
    with timed("clock-skew", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        replays = 0
        for seed in range(options.seed, options.seed + trials):
            found, repeated = one_trial(parties, fresh(), task, seed)
            replays += repeated
            outcome.add(found, f"seed {seed}")
        outcome.measured = f"{replays} old messages, none taken"
    yield outcome
    what = f"the wall clock jumps by {DAYS} days to and fro while a round is open"
    with timed("clock-skew", what, options.slack) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        outcome.add(_jumping(folder, task, outcome), "jumping")
    yield outcome


def one_trial(parties: Parties, folder: Path, task: Task, seed: int) -> tuple[list[str], int]:
    """Return what went wrong in one run, and how many old messages were sent again."""
    rng = random.Random(seed)  # noqa: S311
    replays = 0

    async def story(world: World) -> list[str]:
        nonlocal replays
        world.days.update({party.name: rng.randint(-DAYS, DAYS) for party in world.parties})
        found = []
        for round_number in range(2, ROUNDS + 1):
            await world.play(until=lambda number=round_number: _uploading(world, number))  # type: ignore[misc]
            for client in world.clients.values():
                wrong, count = await _replay(world, client, round_number)
                found += wrong
                replays += count
        await world.play()
        if type(world.phase).__name__ != "Finished":
            found.append(f"the run ended as {type(world.phase).__name__}")
        return found + await world.end()

    aggregator = rng.randint(-DAYS, DAYS)
    with patch("server.executor.today", lambda: today() + aggregator):
        found = run_world(lambda: World(parties, folder, task, RULES, seed=seed), story)
    return found, replays


def _uploading(world: World, round_number: int) -> bool:
    return isinstance(world.phase, Uploading) and world.phase.round == round_number


async def _replay(world: World, client: Client, round_number: int) -> tuple[list[str], int]:
    """Send everything of earlier rounds again; it may be confirmed as old, and must not be taken as new."""
    found, count = [], 0
    for submission in list(world.given[client.name]):
        if submission.header.id.round >= round_number:
            continue
        for method in ("Commit", "Submit"):
            count += 1
            try:
                receipt = await world.send_again(client, submission, method)
            except Refused:
                continue
            if not receipt.repeated:
                found.append(f"{client.name}'s {submission.header.id} was taken again in round {round_number}")
    return found, count


def _jumping(folder: Path, task: Task, outcome: Outcome) -> list[str]:
    """Return a round with a client that never commits: it must close at its deadline, whatever the wall clock says."""
    parties = Parties(folder, clients=CLIENTS + 1)
    present = CLIENTS + 1
    rules = replace(RULES, rounds=1, target=present, patience_seconds=PATIENCE, round_seconds=DEADLINE)
    homes, receipts = homes_of(parties, folder, 3, "plain"), list[Noted]()
    server = LiveServer(parties, folder / "server", task, rules)
    address = server.begin()
    watcher = Watcher(parties, address)
    real, silent = time.time, parties.clients[-1]

    def dial(name: str) -> AggregatorConnection:
        return AggregatorConnection(address, PATIENCE, parties[name])

    workers = start_workers(parties, homes, task, dial, receipts, parties.clients[:-1])
    line = AggregatorConnection(address, PATIENCE, parties[silent])
    request = pb.JoinRequest(task=task.name, task_digest=task_digest(task), instance=bytes(16))
    stream = rpc.FederationStub(line.channel).Join(request, wait_for_ready=True)  # it joins, and says nothing more
    watcher.wait_for(lambda seen: seen.phase == "committing", PATIENCE)
    jumps = iter([DAYS, -DAYS, 0, 1, -1])
    with patch("time.time", lambda: real() + 86400 * next(jumps, DAYS)):
        watcher.wait_for(lambda seen: seen.phase not in ("waiting", "committing"), PATIENCE)
        found = errors_of(workers, PATIENCE)
    stream.cancel()
    line.channel.close()
    found += errors_of([server], PATIENCE)
    watcher.close()
    took = min(at for (phase, _), at in watcher.began.items() if phase not in ("waiting", "committing"))
    took -= watcher.began["committing", 1]
    outcome.measured = f"a deadline of {DEADLINE:g} s closed after {took:.2f} s"
    found += (
        []
        if -TOLERANCE <= took - DEADLINE <= TOLERANCE * outcome.slack
        else [f"a deadline of {DEADLINE:g} s closed after {took:.2f} s"]
    )
    return found + judge(parties, folder / "server", homes, rules, receipts)
