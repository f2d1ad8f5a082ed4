"""Whose data there is: any number of clients, each one's data made or prepared when it is its turn."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Protocol

from core.errors import SettingsError
from core.tasks.held_out import HeldOut
from core.tasks.task import GENERATED, Task
from core.training import Dataset
from core.wording import counted
from server.rounds.waiting import draw_places
from simulation.plan import DEFAULT_CLIENTS, Division, divide, generated_sentence

LARGEST = 1_000_000_000


class Population(Protocol):
    """The clients of a simulation, numbered from 1."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def sentence(self) -> str:
        """What their data is, for people."""

    def examples(self, number: int) -> int:
        """Return how many examples one client has, without preparing them."""

    def data(self, number: int) -> Dataset:
        """Return the data of one client."""

    def test(self) -> HeldOut:
        """Return the data to judge models by."""


class Generated:
    """Clients with made-up data. Nothing is kept of any of them."""

    def __init__(self, task: Task, seed: int, size: int) -> None:
        self.size = size
        self._task, self._seed = task, seed

    @property
    def sentence(self) -> str:
        """What their data is."""
        return generated_sentence(self._task, self.size)

    def examples(self, number: int) -> int:
        """Return how many examples are made up for a client: as many for each by the project's tasks."""
        return self._usual if self._task.source is None else len(self._task.generate(self._seed, number))

    @cached_property
    def _usual(self) -> int:
        return len(self._task.generate(self._seed, 1))

    def data(self, number: int) -> Dataset:
        """Make up the data of one client."""
        return self._task.made_up(self._seed, number)

    def test(self) -> HeldOut:
        """Make up data to judge models by."""
        return self._task.load_test(GENERATED, self._seed, self.size)


class Divided:
    """Clients among whom real data is divided. The examples are kept once, in the memory that workers share."""

    def __init__(self, task: Task, division: Division) -> None:
        self.size, self.sentence = len(division.parts), division.sentence
        self._task, self._division = task, division

    def examples(self, number: int) -> int:
        """Return how many examples one client was dealt."""
        return len(self._division.parts[number - 1])

    def data(self, number: int) -> Dataset:
        """Prepare the examples of one client."""
        return self._task.prepare(self._division.parts[number - 1])

    def test(self) -> HeldOut:
        """Prepare the examples that were kept for the test."""
        return self._task.held_out(self._division.held_out)


def population_for(
    task: Task,
    data: Path | None,
    clients: int | None,
    partition: str | None,
    seed: int,
    spam_label: str | None = None,
) -> Population:
    """Return the clients that processes would have for the same settings. Raises DataError or SettingsError."""
    if clients is not None and clients > LARGEST:
        raise SettingsError(f"{counted(clients, 'client')} cannot be simulated; at most {LARGEST} can")
    division = divide(task, data, clients, partition, seed, spam_label)
    if division is None:
        return Generated(task, seed, clients or DEFAULT_CLIENTS)
    return Divided(task, division)


def draw(size: int, round_number: int, attempt: int, most: int, secret: str = "") -> list[int]:
    """Return the numbers of the clients of one attempt, ascending, as an aggregator with these clients draws them.

    It draws from the names in their order, "client-1", "client-10", "client-100", ...; nothing is kept of the others.
    """
    if size <= most:
        return list(range(1, size + 1))
    return sorted(nth_in_text_order(place, size) for place in draw_places(size, round_number, attempt, most, secret))


def nth_in_text_order(place: int, size: int) -> int:
    """Return the number at a place, from 0, among 1 ... size ordered as texts: 1, 10, 100, 101, ..., 11, ..., 2, ..."""
    number = 1
    while place:
        within = _count_with_prefix(number, size)
        if place >= within:
            number, place = number + 1, place - within
        else:
            number, place = number * 10, place - 1
    return number


def _count_with_prefix(prefix: int, size: int) -> int:
    """Return how many of 1 ... size begin with these digits."""
    count, first, after = 0, prefix, prefix + 1
    while first <= size:
        count += min(size + 1, after) - first
        first, after = first * 10, after * 10
    return count
