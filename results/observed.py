"""What an observer was told while a run went on: events.jsonl in the run's folder, one line a message.

A program that follows the file sees the run live; one that reads it afterwards can replay it. A line has only what
every member of the federation may know: counts, each party's state in a word, results of rounds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from core.finite_json import dumps
from core.wire import federation_pb2 as pb

FILE = "events.jsonl"
LARGEST_LINE = 1 << 20
MOST_EVENTS = 200_000
"""Lines that are written, and read, of one run."""
RESULT_FIELDS = (
    "round", "contributors", "accuracy", "loss", "bytes_up_per_client", "train_seconds", "encrypt_seconds",
    "add_seconds", "decrypt_seconds", "seconds", "exposure", "epsilon",
)  # fmt: skip

Event = dict[str, Any]


def event_of(progress: pb.Progress, seconds: float) -> Event:
    """Return a message to observers as JSON has it.

    Args:
        seconds: since the observer began to listen.
    """
    return {
        "seconds": round(seconds, 3),
        "run": progress.run,
        "phase": progress.phase,
        "round": progress.round,
        "rounds": progress.rounds,
        "attempt": progress.attempt,
        "present": progress.present,
        "holders": progress.holders,
        "received": progress.received,
        "expected": progress.expected,
        "message": progress.sentence,
        "seconds_left": round(progress.seconds_left, 3),
        "epsilon_budget": progress.epsilon_budget,
        "parties": [
            {"name": each.name, "role": each.role, "doing": each.doing, "refused": each.refused}
            for each in progress.parties
        ],
        "calls": dict(sorted(progress.calls.items())),
        "results": [{name: getattr(each, name) for name in RESULT_FIELDS} for each in progress.results],
    }


class EventLog:
    """Writes the events of one run, as they come. A full disk ends the log and not the run.

    In the folder of a run that was interrupted they follow those that are there.
    """

    def __init__(self, folder: Path) -> None:
        before = [event for event, _ in read_events(folder / FILE)]
        self._began = time.monotonic() - (float(before[-1].get("seconds", 0.0)) if before else 0.0)
        self._left = MOST_EVENTS
        self._file: TextIO | None = None
        with suppress(OSError):
            self._file = (folder / FILE).open("a", encoding="utf-8")

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, progress: pb.Progress) -> None:
        """Write one message with the time since the log was begun."""
        if self._file is None or self._left == 0:
            return
        self._left -= 1
        try:
            self._file.write(dumps(event_of(progress, time.monotonic() - self._began)) + "\n")
            self._file.flush()
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield the events from a place in the file on, each with the place after it; a line half written is left.

    Lines that are too long or no JSON object end it. Nothing is yielded where there is no file.
    """
    with suppress(OSError), path.open("rb") as file:
        file.seek(offset)
        for _ in range(MOST_EVENTS):
            line = file.readline(LARGEST_LINE)
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
            except ValueError:
                return
            if not isinstance(event, dict):
                return
            offset += len(line)
            yield event, offset
