"""Malformed messages: at every reader, at every handler, and on the wire. Nothing crashes, nothing is INTERNAL."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from faults import fuzz_wire
from faults.fuzz_calls import CLIENTS, RULES, fuzz_a_run
from faults.fuzz_parsers import readers
from faults.memory import resident_mb
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.trials import folders, run_world
from faults.world import World
from server.states import Releasing
from simulation.slot_task import known, slot_task

CALLS_A_RUN = 400
MESSAGES_A_RUN = 5000
DRIFT_MB = 50.0
WARM_UP = 0.1


def run(options: Options) -> Iterator[Outcome]:
    """Readers first, then handlers, then the wire."""
    yield at_readers(options.count(long=900_000, quick=90_000), options)
    yield at_handlers(options.count(long=100_000, quick=10_000), options)
    yield on_the_wire(options.count(long=50_000, quick=5_000), options)


def at_readers(count: int, options: Options) -> Outcome:
    """Malformed inputs, given to the readers in turn."""
    rng = random.Random(options.seed)  # noqa: S311
    what = "malformed messages, numbers and files at each of the functions that read them"
    with timed("fuzz", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties = Parties(folder, clients=CLIENTS)
        (folder / "trial").mkdir()

        async def story(world: World) -> list[str]:
            await world.play(until=lambda: isinstance(world.phase, Releasing))
            every = readers(world)
            outcome.what += f" ({len(every)})"
            before = 0.0
            for number in range(count):
                if number == int(count * WARM_UP):
                    before = resident_mb()
                found = every[number % len(every)].try_one(rng)
                outcome.add([found] if found else [], f"seed {options.seed}, number {number}")
            _judge_memory(outcome, before, options)
            await world.close()
            return []

        run_world(lambda: World(parties, folder / "trial", task, RULES, seed=options.seed, scheme="paillier"), story)
    return outcome


def at_handlers(count: int, options: Options) -> Outcome:
    """Malformed calls, some hundred in each of many runs, which then continue to their ends."""
    with timed("fuzz", "malformed calls at every handler of a running service") as outcome:
        codes: Counter[str] = Counter()
        before, seed = 0.0, options.seed
        with scratch() as folder, known(slot_task(CLIENTS)) as task:
            parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
            while outcome.trials < count:
                found, made = fuzz_a_run(parties, fresh(), task, seed, CALLS_A_RUN, codes)
                outcome.trials += made
                outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
                if not before and outcome.trials > count * WARM_UP:
                    before = resident_mb()
                seed += 1
            _judge_memory(outcome, before, options)
        outcome.measured = f"{dict(codes.most_common())}; {outcome.measured}"
    return outcome


def on_the_wire(count: int, options: Options) -> Outcome:
    """Malformed calls over mutual TLS, some thousand in each of several runs, which then continue to their ends."""
    with timed("fuzz", "malformed messages on the wire, over mutual TLS, at every call") as outcome:
        codes: Counter[str] = Counter()
        before, seed = 0.0, options.seed
        with scratch() as folder, known(slot_task(CLIENTS)) as task:
            parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
            while outcome.trials < count:
                some = min(MESSAGES_A_RUN, count - outcome.trials)
                found = fuzz_wire.one_run(parties, fresh(), task, seed, some, codes)
                outcome.trials += some
                outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
                before = before or resident_mb()
                seed += 1
            _judge_memory(outcome, before, options)
        outcome.measured = f"{dict(codes.most_common())}; {outcome.measured}"
    return outcome


def _judge_memory(outcome: Outcome, before: float, options: Options) -> None:
    drift = resident_mb() - before
    outcome.measured = f"memory {drift:+.1f} MB after the first tenth"
    outcome.require(options.quick or drift <= DRIFT_MB, f"memory grew by {drift:.1f} MB")
