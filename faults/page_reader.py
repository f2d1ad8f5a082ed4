"""Somebody who looks at the dashboard's page on its machine: what its server-sent events say of a run, as they come."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from dashboard.live import SERVER

AGAIN_SECONDS = 0.3
Event = dict[str, Any]
_open = build_opener(ProxyHandler({})).open


@dataclass
class Story:
    """What was told so far.

    Attributes:
        doing: what each party did last, by name.
        uploaded: the rounds in which each party's update was taken.
        refused: the names of the checks by which calls of each party were refused.
        began: when each phase of each round was first seen, in seconds of the monotonic clock.
        results: of the completed rounds, by number.
        most: of the clients that were there at one time.
    """

    phase: str = ""
    round: int = 0
    message: str = ""
    most: int = 0
    doing: dict[str, str] = field(default_factory=dict)
    uploaded: dict[str, set[int]] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    began: dict[tuple[str, int], float] = field(default_factory=dict)
    results: dict[int, Event] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Note one event."""
        if "phase" not in event:
            return
        self.phase, self.round, self.message = event["phase"], event["round"], event["message"]
        self.most = max(self.most, event["present"])
        self.began.setdefault((self.phase, self.round), time.monotonic())
        self.results |= {each["round"]: each for each in event["results"]}
        for party in event["parties"]:
            self.doing[party["name"]] = party["doing"]
            if party["doing"] == "uploaded":
                self.uploaded.setdefault(party["name"], set()).add(self.round)
            if party["refused"]:
                self.refused.setdefault(party["name"], set()).add(party["refused"])


class PageReader(threading.Thread):
    """Follows the watched aggregator's run on a dashboard, from the machine whose network namespace this is.

    Args:
        namespace: its file; None for this process's own network.
    """

    def __init__(self, namespace: Path | None, address: str = "127.0.0.1:8080") -> None:
        super().__init__(name="page", daemon=True)
        self.story = Story()
        self.slowest = 0.0
        """Seconds that /api/runs took at most."""
        self.runs: list[Event] = []
        """What /api/runs said last."""
        self._namespace, self._address = namespace, address
        self._changed = threading.Condition()
        self._ended = False
        self.start()

    def wait_for(self, holds: Callable[[Story], Any], patience: float, what: str) -> None:
        """Wait until the page shows this. Raises AssertionError with what it showed last."""
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self.story), patience):
                raise AssertionError(f"{what}: not seen on the page within {patience:g} seconds, but {self.story}")

    def close(self) -> None:
        self._ended = True

    # -------------------------------------------------------------------------------- in its own thread

    def run(self) -> None:
        if self._namespace is not None:
            _enter(self._namespace)
        while not self._ended:
            with suppress(URLError, OSError):
                self._look()
                self._follow()
            time.sleep(AGAIN_SECONDS)

    def _look(self) -> None:
        started = time.monotonic()
        with _open(f"http://{self._address}/api/runs", timeout=10) as answer:
            self.runs = json.load(answer)["runs"]
        self.slowest = max(self.slowest, time.monotonic() - started)

    def _follow(self) -> None:
        where = f"http://{self._address}/api/runs/{SERVER}/events"
        with _open(Request(where, headers={"Accept": "text/event-stream"}), timeout=60) as stream:
            for line in stream:
                if self._ended:
                    return
                if line.startswith(b"data: "):
                    self._look()  # before the event is noted: then /api/runs is as new as it
                    with self._changed:
                        self.story.take(json.loads(line[6:]))
                        self._changed.notify_all()


def _enter(namespace: Path) -> None:
    """Move this thread into a network namespace. (os.setns is there from Python 3.12 on.)"""
    file = os.open(namespace, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(file, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(namespace))
    finally:
        os.close(file)
