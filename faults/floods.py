"""One member, or a stranger, floods the aggregator while others train: their rounds must not become much slower.

The quick form judges the sums and the memory only: how long a round takes depends on what else the machine does.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection
from faults.crowd import AsyncConnection, Crowd, sessions_of
from faults.live import LiveHolder, Worker, errors_of, homes_of, judge
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import ServerProcess, serving
from server.rules import RoundRules
from simulation.program import Program
from simulation.slot_task import known, slot_task

HONEST = 3
ATTACKER = f"client-{HONEST + 1}"
PATIENCE = 120.0
MOST_MB = 64.0
SLOWER = 2.0
NOISE_SECONDS = 0.25
"""A round that is shorter than this is not held against a flood: it is the machine's."""
TOO_SLOW = "the slowest percent of the rounds took more than twice as long"
COUNTS = {
    "silent sockets": (5000, 1500),
    "slow handshakes": (2000, 300),
    "watch streams": (12_000, 500),
    "joins": (100_000, 500),
    "commitments": (100_000, 500),
}
"""How much of each kind, in the long form and in the quick one."""


def run(options: Options) -> Iterator[Outcome]:
    """Yield a row for each kind of flood."""
    rounds = options.count(long=200, quick=40)
    for kind, (long, quick) in COUNTS.items():
        count = options.count(long=long, quick=quick)
        with timed("floods", f"{count} {kind} while {HONEST} clients train") as outcome:
            with scratch() as folder, known(slot_task(HONEST + 1)) as task:
                found = one_run(folder, task, kind, count, rounds, outcome)
                outcome.add([each for each in found if each != TOO_SLOW or not options.quick], kind)
        yield outcome


def one_run(folder: Path, task: Task, kind: str, count: int, rounds: int, outcome: Outcome) -> list[str]:
    """Play half of the rounds in peace and half under the flood, and return what went wrong."""
    parties = Parties(folder, clients=HONEST + 1)
    rules = RoundRules(
        holders=3, threshold=2, rounds=rounds, min_cohort=2, max_cohort=HONEST, target=HONEST, patience_seconds=PATIENCE
    )  # fmt: skip
    homes = homes_of(parties, folder, rounds)
    with serving(parties, folder / "server", HONEST + 1, rules) as server:
        address = f"127.0.0.1:{server.port}"
        sessions = sessions_of(parties, task)
        del sessions[ATTACKER]
        holders: list[Worker] = [
            LiveHolder(parties, name, home, lambda name: AggregatorConnection(address, PATIENCE, parties[name]))
            for name, home in homes.items()
        ]
        for holder in holders:
            holder.start()
        watch = Stopwatch(
            server, rounds // 2, ("faults.flooding", kind, address, str(count), str(parties[ATTACKER].folder))
        )
        crowd = Crowd(parties, address, sessions, [])
        try:
            asyncio.run(_all(crowd, watch))
        finally:
            watch.end_flood()
        found = errors_of(holders, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        return found + watch.judge(outcome) + judge(parties, folder / "server", homes, rules, crowd.receipts)


class Stopwatch:
    """Measures each round, and begins the flood after `calm` of them."""

    def __init__(self, server: ServerProcess, calm: int, flood: tuple[str, ...]) -> None:
        self._server, self._calm, self._command = server, calm, flood
        self._flood: Program | None = None
        self._began = 0.0
        self._seconds: list[float] = []
        self._memory = self._grown = 0.0

    async def note(self, kind: str | None) -> None:
        """Note what was pushed to one of the clients."""
        if kind == "round_opened":
            self._began = time.monotonic()
        elif kind == "round_closed":
            self._seconds.append(time.monotonic() - self._began)
            self._grown = max(self._grown, self._server.memory_mb() - self._memory) if self._flood else 0.0
            if len(self._seconds) == self._calm:
                self._memory = self._server.memory_mb()
                self._flood = await asyncio.to_thread(self._begun)

    def _begun(self) -> Program:
        flood = Program(*self._command)
        flood.hear("^begun$")
        return flood

    def end_flood(self) -> None:
        if self._flood is not None:
            self._flood.kill()

    def judge(self, outcome: Outcome) -> list[str]:
        """Return what is too slow or too large."""
        calm, flooded = self._seconds[: self._calm], self._seconds[self._calm :]
        before, during = (statistics.quantiles(times, n=100)[98] for times in (calm, flooded))
        medians = statistics.median(calm), statistics.median(flooded)
        outcome.measured = (
            f"p99 of a round {before * 1e3:.0f} ms alone, {during * 1e3:.0f} ms flooded (medians {medians[0] * 1e3:.0f}"
            f" and {medians[1] * 1e3:.0f}); the server's memory {self._grown:+.0f} MB"
        )
        found = []
        if during > max(SLOWER * before, NOISE_SECONDS):
            found.append(TOO_SLOW)
        if self._grown > MOST_MB:
            found.append(f"the server's memory grew by {self._grown:.0f} MB")
        return found


async def _all(crowd: Crowd, watch: Stopwatch) -> None:
    await asyncio.gather(*(_member(crowd, name, watch, place == 0) for place, name in enumerate(crowd.sessions)))


async def _member(crowd: Crowd, name: str, watch: Stopwatch, measures: bool) -> None:
    session = crowd.sessions[name]
    async with AsyncConnection(crowd, name) as connection:
        async for notice in connection.subscribe(session.subscription()):
            if measures:
                await watch.note(notice.WhichOneof("notice"))
            await connection.converse(session.answer(notice))
            if session.ending is not None:
                return
