"""The aggregator dies at every point there is: around each durable write, before and after each answer.

Which points there are is not written down anywhere: a first run without a fault passes all of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from core.tasks.task import Task
from faults.breaking import Breaker
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.world import World
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 4, 2
RULES = RoundRules(holders=3, threshold=2, rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5)
RARE = ("widen_attempt", "abandon_attempt", "count_refusals")
"""Writes that a run without a fault does not make; `random` and `disk-full` come by there."""


def run(options: Options) -> Iterator[Outcome]:
    """Break every point, with as many seeds as are asked for; each seed draws the order of steps and which time."""
    seeds = options.count(long=50, quick=2)
    with scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties = Parties(folder, clients=CLIENTS)
        fresh = folders(folder)
        points = points_of(parties, fresh(), task)
        what = f"the aggregator dies at each of {len(points)} points of a run, {seeds} times; continues from its files"
        with timed("crash-points", what) as outcome:
            for number, (point, times) in enumerate(sorted(points.items())):
                for seed in range(options.seed, options.seed + seeds):
                    occurrence = random.Random(f"{point}.{seed}").randint(1, times)  # noqa: S311
                    scheme = "paillier" if (number + seed) % 4 == 0 else "plain"
                    breaker = Breaker(point, occurrence)
                    found = broken_at(parties, fresh(), task, breaker, seed, scheme)
                    if not breaker.broken:  # another order of steps passes some points less often
                        occurrence, breaker = 1, Breaker(point, 1)
                        found += broken_at(parties, fresh(), task, breaker, seed, scheme)
                    found += [] if breaker.broken else ["nothing was broken"]
                    outcome.add(found, f"{point}, time {occurrence}, seed {seed}, {scheme}")
            if not outcome.violations:
                outcome.measured = "every run completed all rounds, each at its first attempt"
        yield outcome


def points_of(parties: Parties, folder: Path, task: Task) -> Counter[str]:
    """Return all points of a run without a fault, each with how often it is passed."""
    breaker = Breaker()
    found = broken_at(parties, folder, task, breaker, 0, "plain")
    assert not found, found
    return breaker.seen


def broken_at(parties: Parties, folder: Path, task: Task, breaker: Breaker, seed: int, scheme: str) -> list[str]:
    """Return one run whose aggregator dies where the breaker says. It must complete, exactly, and repeat no round."""

    async def story(world: World) -> list[str]:
        await world.play()
        found = await world.end()
        ended = type(world.phase).__name__
        if ended != "Finished":
            found.append(f"the run ended as {ended}")
        if any(note.attempt > 1 for note in world.receipts):
            found.append("a round was tried again, although only the aggregator was at fault")
        return found

    return run_world(lambda: World(parties, folder, task, RULES, seed=seed, scheme=scheme, breaker=breaker), story)
