"""A key holder dies around every write of its ledger, the end of a share, and every answer: once means once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from core.errors import Reason, Refused
from core.tasks.task import Task
from core.wire.calls import converse
from core.wire.messages import description_from_bytes
from faults.breaking import LEDGER_WRITES
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.world import ANSWERS, World
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 3, 2
RULES = RoundRules(holders=3, threshold=2, rounds=ROUNDS, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5)
POINTS = [f"{when} {what}" for what in (*LEDGER_WRITES, "destroy", *ANSWERS) for when in ("before", "after")]


def run(options: Options) -> Iterator[Outcome]:
    """Yield one trial: one key holder dies at one of the points, in one of two rounds, and is started again.

    A run in which its holder was not asked, and so did not reach the point, does not count.
    """
    trials = options.count(long=1000, quick=50)
    what = f"a key holder dies at one of {len(POINTS)} points and is started again"
    with timed("holder-crashes", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        seed, spared = options.seed, 0
        while outcome.trials < trials:
            point = POINTS[seed % len(POINTS)]
            found, died = one_trial(parties, fresh(), task, point, seed)
            spared += not died
            if died or found:
                outcome.add(found, f"{point}, seed {seed}")
            assert spared <= trials, "the points are hardly ever reached"
            seed += 1
        if not outcome.violations:
            outcome.measured = "every run completed; asked again for the last sum: the same bytes; for another: refused"
    yield outcome


def one_trial(parties: Parties, folder: Path, task: Task, point: str, seed: int) -> tuple[list[str], bool]:
    """Return what went wrong, and whether the holder died at all."""
    died = False

    async def story(world: World) -> list[str]:
        nonlocal died
        rng = random.Random(seed)  # noqa: S311
        name = rng.choice(list(world.holders))
        world.breakers[name].arm(point, rng.randint(1, ROUNDS))
        await world.play()
        died = world.holder_lives[name] > 1
        again = [sentence for each in world.holders for sentence in asked_again(world, each)]
        ended = type(world.phase).__name__
        wrong = [] if ended == "Finished" else [f"the run ended as {ended}"]
        return wrong + again + await world.end()

    scheme = "paillier" if seed % 4 == 0 else "plain"
    return run_world(lambda: World(parties, folder, task, RULES, seed=seed, scheme=scheme), story), died


def asked_again(world: World, name: str) -> list[str]:
    """Ask for the last opening again, and for the same round with a client left out."""
    holder, order = world.holders[name].session.holder, world.opened_for.get(name)
    if order is None:
        return []
    found = []
    id = description_from_bytes(order.list.round.body).id
    converse(holder.sign_request(order), _nothing_to_fetch)
    again = holder.ledger.prepared(id)[1].partial
    if world.answers.get((name, "Release", id), {again}) != {again}:  # none if it was away when shares were asked for
        found.append(f"{name} answers the same request otherwise the second time")
    other = replace(order, contributors=order.contributors[:-1])
    try:
        converse(holder.sign_request(other), _nothing_to_fetch)
    except Refused as refusal:
        if refusal.reason is not Reason.ALREADY_RELEASED:
            found.append(f"{name} refuses a second sum of the round for {refusal.reason}")
    else:
        found.append(f"{name} opens a second sum of the round")
    return found


def _nothing_to_fetch(*_: object) -> bytes:
    raise AssertionError("a repeated request is answered from the ledger")
