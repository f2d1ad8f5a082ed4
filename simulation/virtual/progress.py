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
        TextColumn("{task.fields[rate]} updates a second"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task("", total=run.training, round=1, rate="")
        count = _RoundCount(run, time.monotonic)

        def done(clients: int) -> None:
            if count.add(clients):
                bar.reset(row, round=count.round, rate="")
            bar.update(row, total=run.training, completed=count.clients, rate=f"{count.rate:.0f}")

        yield done


class Lines:
    """Progress as lines of text, at most one every LINE_SECONDS."""

    def __init__(
        self, say: Callable[[str], None], run: VirtualRun, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._run, self._clock = say, run, clock
        self._count, self._said = _RoundCount(run, clock), clock()

    def done(self, clients: int) -> None:
        """Count clients that are done; fewer than none if their worker died."""
        count = self._count
        count.add(clients)
        left = self._run.training - count.clients
        if self._clock() - self._said < LINE_SECONDS or left <= 0:
            return
        self._said = self._clock()
        self._say(
            f"round {count.round}: {count.clients} of {self._run.training} clients, "
            f"{count.rate:.0f} updates a second, {left / max(count.rate, 1e-9):.0f} s left"
        )


class _RoundCount:
    """Clients done of the round that is played now."""

    def __init__(self, run: VirtualRun, clock: Callable[[], float]) -> None:
        self.round, self.clients = 1, 0
        self._run, self._clock, self._began = run, clock, clock()

    def add(self, clients: int) -> bool:
        """Count clients; tell whether they are the first of another round."""
        number = len(self._run.results) + 1
        another = number != self.round
        if another:
            self.round, self.clients, self._began = number, 0, self._clock()
        self.clients += clients
        return another

    @property
    def rate(self) -> float:
        """Clients a second."""
        return self.clients / max(1e-9, self._clock() - self._began)
