"""Watch an aggregator as an observer, and look at what simulated ones have while they have it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.identity.party import PartyIdentity
from core.wire import federation_pb2 as pb
from core.wire.watching import watch
from core.wording import counted
from dashboard.records import RunsFolder
from dashboard.saw import Keeper
from results.observed import Event, event_of

MOST_EVENTS = 20_000
GONE_SECONDS = 180.0
"""An aggregator that is away for longer does not come back."""
AGAIN_SECONDS = 3.0
"""Pause before an aggregator whose run is over is asked for its next one."""
LOOK_SECONDS = 0.05
SLEEP_SECONDS = 1.0


@dataclass
class Watched:
    """An aggregator that is watched over the network.

    Attributes:
        events: what was told, with numbers that only grow.
        lost: why it cannot be watched now; empty while it can.
        over: whether its run is over.
        changed: when something of this changed last, on the monotonic clock.
    """

    address: str
    events: deque[tuple[int, Event]] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    lost: str = "not reached yet"
    over: bool = False
    changed: float = field(default_factory=time.monotonic)
    count: int = 0
    began: float = field(default_factory=time.time)
    _clock: Callable[[], float] = time.monotonic
    _start: float = field(default_factory=time.monotonic)

    def take(self, progress: pb.Progress) -> None:
        """Note one message."""
        self.lost, self.over = "", progress.phase in ("finished", "failed")
        self._add(event_of(progress, self._clock() - self._start))

    def lose(self, why: str) -> None:
        """Note that the aggregator is away."""
        if self.lost != why:
            self.lost = why
            self._add({"seconds": round(self._clock() - self._start, 3), "lost": why})

    def after(self, number: int) -> list[tuple[int, Event]]:
        """Return the events with higher numbers."""
        return [each for each in self.events if each[0] > number]

    def _add(self, event: Event) -> None:
        self.count += 1
        self.changed = self._clock()
        self.events.append((self.count, event))

    def summary(self) -> dict[str, Any]:
        """Return its row of the table of runs."""
        told = [event for _, event in self.events if "phase" in event]
        results = {
            each["round"]: each for event in told for each in event["results"] if event["run"] == told[-1]["run"]
        }
        last = results[max(results)] if results else {}
        now: Event = told[-1] if told else {}
        state, message = self._state(now, len(results))
        return {
            "id": SERVER,
            "began": self.began,
            "state": state,
            "message": message,
            "task": "", "way": "", "scheme": "", "privacy": "",
            "clients": now.get("present"),
            "rounds": now.get("rounds", 0),
            "rounds_done": len(results),
            "accuracy": last.get("accuracy"),
            "loss": last.get("loss"),
            "epsilon": last.get("epsilon") or None,
            "seconds": round(sum(each["seconds"] for each in results.values()), 3),
            "kib": round(sum(map(_bytes_of, results.values())) / 1024, 1),
            "has_events": True,
        }  # fmt: skip

    def _state(self, now: Event, done: int) -> tuple[str, str]:
        """Return the state and a sentence about it. An aggregator whose run is over may be away without any loss."""
        if not self.lost or self.over:
            return str(now.get("phase", "waiting")), str(now.get("message", ""))
        if 0 < now.get("rounds", 0) <= done:
            return "finished", f"all {counted(done, 'round')} are done"
        return "away", self.lost

    def detail(self) -> dict[str, Any]:
        """Return the same as of a run's folder, as far as an observer is told it."""
        rows = {each["round"]: each for _, event in self.events for each in event.get("results", [])}
        history = [{**rows[number], "round_s": rows[number]["seconds"]} for number in sorted(rows)]
        return {**self.summary(), "settings": {"rounds": self.summary()["rounds"]}, "history": history}


def _bytes_of(result: dict[str, Any]) -> float:
    return float(result["bytes_up_per_client"] * result["contributors"])


SERVER = "@server"
"""The name of the watched aggregator among the runs; no folder of runs can have it."""


async def follow(watched: Watched, identity: PartyIdentity, *, plaintext: bool) -> None:
    """Watch an aggregator for ever, through its absences and its runs."""
    while True:
        await watch(watched.address, identity, watched.take, watched.lose, plaintext=plaintext)
        await asyncio.sleep(AGAIN_SECONDS)


async def until_over(watched: Watched, pages: Callable[[], int], seconds: float) -> None:
    """Return when the run has been over for so long, or the aggregator gone for good, and no page is open."""
    last = watched.changed
    while True:
        if pages():
            last = time.monotonic()
        since = time.monotonic() - max(last, watched.changed)
        if not pages() and since >= (seconds if watched.over else GONE_SECONDS) and (watched.over or watched.lost):
            return
        await asyncio.sleep(0.5)


async def keep_looking(folder: RunsFolder, keeper: Keeper) -> None:
    """Look at the updates of simulated runs while they lie in their aggregators' databases."""
    while True:
        running = [record for record in await asyncio.to_thread(folder.all) if record.going_on]
        if not running:
            await asyncio.sleep(SLEEP_SECONDS)
        for _ in range(int(SLEEP_SECONDS / LOOK_SECONDS) if running else 0):
            for record in running:
                event = await asyncio.to_thread(record.last_event)
                if event is not None and event.get("phase") in ("uploading", "releasing", "endorsing"):
                    await asyncio.to_thread(keeper.look, record, int(event.get("round", 0)))
            await asyncio.sleep(LOOK_SECONDS)
