"""The disk is full at every write of the aggregator and of a key holder: nothing acknowledged is lost, and it continues.

In process, SQLite's commit is made to fail as it does on a full disk, one to three times in a row. Where the system
lets us mount one, a real aggregator also runs on a file system of twelve megabytes that is filled up to its last byte.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection
from faults.breaking import LEDGER_WRITES, Breaker
from faults.crash_points import CLIENTS, RULES
from faults.live import errors_of, homes_of, judge, start_workers
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import ServerProcess, serving
from faults.trials import folders, run_world
from faults.world import World
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

SMALL = "12m"
FILLS = 3
PATIENCE = 60.0
LIVE_RULES = RoundRules(
    holders=3, threshold=2, rounds=20, min_cohort=2, max_cohort=8, target=CLIENTS, patience_seconds=PATIENCE
)
AGGREGATOR_WRITES = (
    "begin_run", "enrol", "open_attempt", "add_commitment", "set_state closing", "announce_list", "add_payload",
    "set_state releasing", "keep_opened", "complete_attempt", "end_run",
)  # fmt: skip
"""Those of a run without a fault. The rest, and all together, is in `random`."""


def run(options: Options) -> Iterator[Outcome]:
    """Yield every write, with as many seeds as are asked for; then a real disk, if there can be one."""
    seeds = options.count(long=20, quick=1)
    what = f"the disk is full at each of {len(AGGREGATOR_WRITES) + len(LEDGER_WRITES)} kinds of writes, 1 to 3 times"
    with timed("disk-full", what) as outcome, scratch() as folder, known(slot_task(CLIENTS)) as task:
        parties, fresh = Parties(folder, clients=CLIENTS), folders(folder)
        for seed in range(options.seed, options.seed + seeds):
            for write in (*AGGREGATOR_WRITES, *LEDGER_WRITES):
                outcome.add(one_trial(parties, fresh(), task, write, seed), f"{write}, seed {seed}")
        outcome.measured = "every run completed all rounds"
    yield outcome
    if not options.quick:
        yield on_a_small_disk(options)


def one_trial(parties: Parties, folder: Path, task: Task, write: str, seed: int) -> list[str]:
    """Return one run in which that write fails; it must complete, exactly."""
    rng = random.Random(seed)  # noqa: S311
    breaker = Breaker()
    times = RULES.rounds if write not in ("begin_run", "enrol", "end_run") else 1
    if write in AGGREGATOR_WRITES:
        breaker.fill_at(write, rng.randint(1, times), rng.randint(1, 3))

    async def story(world: World) -> list[str]:
        broken = [breaker]
        if write in LEDGER_WRITES:
            broken = list(world.breakers.values())
            for each in broken:  # record_release is made by any two of the three
                each.fill_at(write, 1, 1)
        await world.play()
        found = await world.end()
        if type(world.phase).__name__ != "Finished":
            found.append(f"the run ended as {type(world.phase).__name__}")
        if not any(each.seen["disk full"] for each in broken):
            found.append("the disk was never full")
        return found

    return run_world(lambda: World(parties, folder, task, RULES, seed=seed, breaker=breaker), story)


def on_a_small_disk(options: Options) -> Outcome:
    """Return a real aggregator on a real full disk. It may end in a sentence; started again when there is room, it continues."""
    what = f"a file system of {SMALL} under a real aggregator is filled to its last byte, and emptied again"
    with (
        timed("disk-full", what) as outcome,
        scratch() as folder,
        known(slot_task(CLIENTS)) as task,
        mounted(folder / "small") as disk,
    ):
        if disk is None:
            outcome.measured = "not tried: no file system can be mounted here"
        else:
            outcome.add(_fill_and_empty(folder, disk, task, outcome, options.seed), "small disk")
    return outcome


def _fill_and_empty(folder: Path, disk: Path, task: Task, outcome: Outcome, seed: int) -> list[str]:
    parties = Parties(folder, clients=CLIENTS)
    homes = homes_of(parties, folder, LIVE_RULES.rounds + 10)
    with serving(parties, disk / "server", CLIENTS, LIVE_RULES, log=folder / "server.log") as server:
        receipts: list[Noted] = []
        address = f"127.0.0.1:{server.port}"
        workers = start_workers(
            parties, homes, task, lambda name: AggregatorConnection(address, PATIENCE, parties[name]), receipts
        )
        rng = random.Random(seed)  # noqa: S311
        ended = fills = 0
        while any(worker.is_alive() for worker in workers):
            if server.ends_within(rng.uniform(0.1, 0.5)):
                if server.end() == 0:
                    break
                ended += 1
                server.start()
            elif fills < FILLS:
                fills += 1
                _fill_for_a_while(disk / "fill", server)
        found = errors_of(workers, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        outcome.measured = f"filled {fills} times; it ended in a sentence {ended} times, and went on when started again"
        return found + judge(parties, disk / "server", homes, LIVE_RULES, receipts)


def _fill_for_a_while(path: Path, server: ServerProcess) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    server.ends_within(0.5)
    path.unlink()


@contextmanager
def mounted(place: Path) -> Iterator[Path | None]:
    """A small file system in memory at `place`, or None where the system does not let us."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    try:
        yield place if made else None
    finally:
        if made:
            subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607
