"""10, 30 or 50 of 100 clients vanish at random moments: the sum is exactly that of the others, or none is opened."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from core.tasks.task import Task
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.world import World
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS = 100
SHARES = (0.1, 0.3, 0.5)
MOMENTS = ("commit", "upload", "transfer")
"""Before the commitment, between it and the update, in the middle of the update."""
LEAST = (40, 60)
"""Minimum cohorts, turn about: with half of the clients gone, the first is reached and the second is not."""


def run(options: Options) -> Iterator[Outcome]:
    """200 seeds for each share of clients that vanish."""
    trials = options.count(long=200, quick=3)
    with scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        for share in SHARES:
            what = f"{share:.0%} of {CLIENTS} clients killed before committing, before or in the middle of uploading"
            with timed("client-crashes", what) as outcome:
                ends: Counter[str] = Counter()
                for seed in range(options.seed, options.seed + trials):
                    found, end = one_trial(parties, fresh(), task, share, seed)
                    ends[end] += 1
                    outcome.add(found, f"{share:.0%}, seed {seed}")
                outcome.measured = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
            yield outcome


def one_trial(parties: Parties, folder: Path, task: Task, share: float, seed: int) -> tuple[list[str], str]:
    """Return what went wrong, and how the run ended."""
    rng = random.Random(seed)  # noqa: S311
    doomed = {name: rng.choice(MOMENTS) for name in rng.sample(parties.clients, round(share * CLIENTS))}
    end = ""
    least = LEAST[seed % 2]
    rules = RoundRules(
        holders=3,
        threshold=2,
        rounds=1,
        min_cohort=least,
        max_cohort=128,
        target=CLIENTS,
        gather_seconds=5,
        max_attempts=2,
    )

    async def story(world: World) -> list[str]:
        nonlocal end
        world.vanishes = lambda name, moment: doomed.get(name) == moment
        await world.play()
        end = "exact" if type(world.phase).__name__ == "Finished" else "abandoned, nothing opened"
        wrong = [] if end == "exact" or not world.opened else ["a sum was opened in a run that failed"]
        enough = CLIENTS - len(doomed) >= least
        if enough != (end == "exact"):
            wrong.append(f"{CLIENTS - len(doomed)} clients were left, and it was {end}")
        return wrong + await world.end()

    return run_world(lambda: World(parties, folder, task, rules, seed=seed), story), end
