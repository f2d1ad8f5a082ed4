"""How far a round of virtual clients is: clients done, updates a second, and the time left of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from simulation.virtual.run import VirtualRun

LINE_SECONDS = 10.0
"""How often a line is printed where there is no terminal."""
FEW = 10.0
"""Updates a second below which a decimal is shown."""


@contextmanager
def shown(console: Console, run: VirtualRun) -> Iterator[Callable[[int], None]]:
    """Show progress: a bar on a terminal, and else a line now and then. Yields what is told of clients done."""
    if not console.is_terminal:
        yield Lines(lambda line: console.print(line, highlight=False, soft_wrap=True), run).done
        return
    columns: list[Any] = [
        TextColumn("round {task.fields[round]}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} clients"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("", total=run.training, round=1, rate="")
        count = _RoundCount(run, time.monotonic)

        def done(clients: int) -> None:
            if count.add(clients):
                bar.reset(row, round=count.round, rate="")
            bar.update(row, total=run.training, completed=count.clients, rate=count.rate_in_words)

        yield done


class Lines:
    """Progress as lines of text, at most one every LINE_SECONDS."""

    def __init__(
        self, say: Callable[[str], None], run: VirtualRun, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._run, self._clock = say, run, clock
        self._count, self._said = _RoundCount(run, clock), clock()

    def done(self, clients: int) -> None:
        """Count clients that are done: 0 when a round begins and while all still train; fewer if a worker died."""
        count = self._count
        count.add(clients)
        if self._clock() - self._said < LINE_SECONDS or count.left <= 0:
            return
        self._said = self._clock()
        since = self._clock() - count.last
        waiting = f"; waiting for {since:.0f} s for the next" * (since >= LINE_SECONDS)
        rate = f", {count.rate_in_words}, {count.left / count.rate:.0f} s left" if count.clients > 0 else ""
        self._say(f"round {count.round}: {count.clients} of {self._run.training} clients{rate}{waiting}")


class _RoundCount:
    """Clients done of the round that is played now.

    Attributes:
        last: when a client was last done, or the round began.
    """

    def __init__(self, run: VirtualRun, clock: Callable[[], float]) -> None:
        self.round, self.clients = 0, 0
        self._run, self._clock, self._began = run, clock, clock()
        self.last = self._began

    def add(self, clients: int) -> bool:
        """Count clients; tell whether another round began with it."""
        number, now = len(self._run.results) + 1, self._clock()
        another = number != self.round
        if another:
            self.round, self.clients, self._began, self.last = number, 0, now, now
        if clients > 0:
            self.last = now
        self.clients += clients
        return another

    @property
    def left(self) -> int:
        """Clients that are not done."""
        return self._run.training - self.clients

    @property
    def rate(self) -> float:
        """Clients a second."""
        return self.clients / max(1e-9, self._clock() - self._began)

    @property
    def rate_in_words(self) -> str:
        """The rate for people, with a digit that says something also of slow clients; empty before the first."""
        if self.clients <= 0:
            return ""
        if self.rate < 1:
            return f"{1 / self.rate:.1f} seconds an update"
        return f"{self.rate:.{int(self.rate < FEW)}f} updates a second"
