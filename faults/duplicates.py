"""The same commitment and the same update, many times at once: one is taken, and all get the same receipt.

The calls run side by side in one event loop, through the aggregator's lock and its worker thread, as gRPC runs them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.errors import Reason, Refused
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Call
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.world import World
from server.rules import RoundRules
from simulation.party import Party
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 4, 5
MOST_AT_ONCE = 64
RULES = RoundRules(holders=3, threshold=2, rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5)


def run(options: Options) -> Iterator[Outcome]:
    """Send each commitment and each update 2 to 64 times at once."""
    wanted = options.count(long=10_000, quick=200)
    what = f"the same commitment or update sent 2 to {MOST_AT_ONCE} times at once"
    with timed("duplicates", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        for seed in range(options.seed, options.seed - (-wanted // (2 * CLIENTS * ROUNDS))):
            found = _play(parties, fresh(), task, seed, outcome)
            outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
    yield outcome


class RepeatingWorld(World):
    """Clients send every commitment and every update many times at once; the outcome judges what they get back."""

    outcome: Outcome

    async def carry(self, party: Party[Any], call: Call) -> Any:
        if call.method not in ("Commit", "Submit"):
            return await super().carry(party, call)
        times = self.rng.randint(2, MOST_AT_ONCE)
        send = super().carry
        answers = await asyncio.gather(*(send(party, call) for _ in range(times)), return_exceptions=True)
        self._judge(party.name, answers)
        return next(answer for answer in answers if isinstance(answer, pb.Receipt))

    def _judge(self, name: str, answers: Sequence[object]) -> None:
        self.outcome.trials += 1
        receipts = [answer for answer in answers if isinstance(answer, pb.Receipt)]
        others = [answer for answer in answers if not isinstance(answer, pb.Receipt)]
        # The round may be over, and its list closed, before the last of them is looked at; then it says so.
        strange = [each for each in others if not _too_late(each)]
        self.outcome.require(not strange, f"{name}: {strange[:1]}")
        self.outcome.require(len({receipt.sha256 for receipt in receipts}) == 1, f"{name}: receipts differ")
        first = sum(not receipt.repeated for receipt in receipts)
        self.outcome.require(first == 1, f"{name}: {first} of {len(answers)} were taken as new")


def _play(parties: Parties, folder: Path, task: Task, seed: int, outcome: Outcome) -> list[str]:
    async def story(world: World) -> list[str]:
        await world.play()
        return await world.end()

    def make() -> World:
        world = RepeatingWorld(parties, folder, task, RULES, seed=seed)
        world.outcome = outcome
        return world

    return run_world(make, story)


def _too_late(answer: object) -> bool:
    return isinstance(answer, Refused) and answer.reason is Reason.ROUND_NOT_OPEN
