"""The same commitment and the same update, many times at once: one is taken, and all get the same receipt.

The calls run side by side in one event loop, through the aggregator's lock and its worker thread, as gRPC runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from client.participant import Submission
from core.errors import Reason, Refused
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from faults.actors import Client
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.task import known, slot_task
from faults.trials import folders, run_world
from faults.world import World
from server.rules import RoundRules

CLIENTS, ROUNDS = 4, 5
MOST_AT_ONCE = 64
RULES = RoundRules(rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5)


def run(options: Options) -> Iterator[Outcome]:
    """Each commitment and each update of so many is sent 2 to 64 times at once."""
    wanted = options.count(long=10_000, quick=200)
    what = f"the same commitment or update sent 2 to {MOST_AT_ONCE} times at once"
    with timed("duplicates", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        for seed in range(options.seed, options.seed - (-wanted // (2 * CLIENTS * ROUNDS))):
            found = _play(parties, fresh(), task, seed, outcome)
            outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
    yield outcome


def _play(parties: Parties, folder: Path, task: Task, seed: int, outcome: Outcome) -> list[str]:
    async def story(world: World) -> list[str]:
        for client in world.clients.values():
            _send_often(client, outcome)
        await world.play()
        return await world.conclude()

    return run_world(lambda: World(parties, folder, task, RULES, seed=seed), story)


def _send_often(client: Client, outcome: Outcome) -> None:
    """Let this client send everything many times at once, and judge what it gets back."""
    commit, submit = client.commit, client.submit

    async def commit_often(submission: Submission) -> pb.Receipt:
        return await _often(client, outcome, lambda: commit(submission))

    async def submit_often(submission: Submission) -> pb.Receipt:
        return await _often(client, outcome, lambda: submit(submission))

    client.commit, client.submit = commit_often, submit_often  # type: ignore[method-assign]


async def _often(client: Client, outcome: Outcome, send: Callable[[], Awaitable[pb.Receipt]]) -> pb.Receipt:
    times = client.world.rng.randint(2, MOST_AT_ONCE)
    answers = await asyncio.gather(*(send() for _ in range(times)), return_exceptions=True)
    outcome.trials += 1
    receipts = [answer for answer in answers if isinstance(answer, pb.Receipt)]
    others = [answer for answer in answers if not isinstance(answer, pb.Receipt)]
    # The round may be over, and its list closed, before the last of them is looked at; then it says so.
    strange = [each for each in others if not _too_late(each)]
    outcome.require(not strange, f"{client.name}: {strange[:1]}")
    outcome.require(len({receipt.sha256 for receipt in receipts}) == 1, f"{client.name}: receipts differ")
    first = sum(not receipt.repeated for receipt in receipts)
    outcome.require(first == 1, f"{client.name}: {first} of {times} were taken as new")
    return receipts[0]


def _too_late(answer: object) -> bool:
    return isinstance(answer, Refused) and answer.reason is Reason.ROUND_NOT_OPEN
