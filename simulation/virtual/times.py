"""Simulated time: how long each client would take, whether it stays to the end, and when a round is over.

    seconds of a client = examples / its speed + bytes up / its uplink

Speeds are drawn once a client from the run's seed, or read from a CSV file; whether a client stays is drawn for every
round, or follows from a CSV trace of when it is there.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core.errors import DataError, SettingsError
from core.wording import counted

SLOWEST, FASTEST = 1e-6, 1e12
"""Medians of speeds, a second."""
SPEEDS = "lognormal:EXAMPLES_PER_SECOND,SIGMA,BYTES_PER_SECOND,SIGMA"
_SPEED_STREAM, _STAY_STREAM = 101, 102
"""Keep these draws apart from each other and from those of training."""


class Speeds(Protocol):
    """How fast each client is."""

    def of(self, number: int) -> tuple[float, float]:
        """Return a client's examples a second, and bytes a second that it can send."""


class Presence(Protocol):
    """Whether a client is there."""

    def stays(self, number: int, round_number: int, start: float, end: float) -> bool:
        """Return whether a client chosen for a round is there from its start to its end, in simulated seconds."""


@dataclass(frozen=True)
class LognormalSpeeds:
    """Medians of both speeds, and the standard deviations of their logarithms."""

    examples: float
    examples_sigma: float
    uplink: float
    uplink_sigma: float
    seed: int

    def of(self, number: int) -> tuple[float, float]:
        """Draw a client's speeds; the same every time."""
        computing, sending = np.random.default_rng([self.seed, number, _SPEED_STREAM]).standard_normal(2)
        return (
            self.examples * math.exp(self.examples_sigma * computing),
            self.uplink * math.exp(self.uplink_sigma * sending),
        )


@dataclass(frozen=True)
class MeasuredSpeeds:
    """Rows of a file; client k has row k, and after the last row the first follows again."""

    rows: tuple[tuple[float, float], ...]

    def of(self, number: int) -> tuple[float, float]:
        """Return a client's row."""
        return self.rows[(number - 1) % len(self.rows)]


@dataclass(frozen=True)
class RandomPresence:
    """Each chosen client stays to the end with the same chance."""

    chance: float
    seed: int

    def stays(self, number: int, round_number: int, start: float, end: float) -> bool:  # noqa: ARG002
        """Draw whether it stays."""
        return bool(np.random.default_rng([self.seed, round_number, number, _STAY_STREAM]).random() < self.chance)


@dataclass(frozen=True)
class TracedPresence:
    """Intervals in which clients are there, in simulated seconds; client k has those of trace ((k - 1) mod n) + 1."""

    intervals: Mapping[int, Sequence[tuple[float, float]]]

    def stays(self, number: int, round_number: int, start: float, end: float) -> bool:  # noqa: ARG002
        """Return whether one interval covers all of it."""
        own = self.intervals.get((number - 1) % max(self.intervals) + 1, ())
        return any(since <= start and end <= until for since, until in own)


@dataclass(frozen=True)
class RoundTime:
    """What simulated time makes of one round.

    Attributes:
        contributors: numbers of the clients whose updates count, ascending.
        seconds: from the opening to the last update that counts, or to the deadline.
        late: clients that had not sent their update by then.
        dropped: clients that left.
    """

    contributors: tuple[int, ...]
    seconds: float
    late: int
    dropped: int


@dataclass(frozen=True)
class Stopwatch:
    """Decides who is in time.

    Attributes:
        wanted: updates that are enough to end the round; None waits for all that stay.
        deadline: seconds after which a round ends in any case; finite, because a round may last as long.
    """

    speeds: Speeds
    presence: Presence
    wanted: int | None
    deadline: float

    def __post_init__(self) -> None:
        if not 0 < self.deadline < math.inf:
            raise ValueError(f"the deadline is {self.deadline}; expected seconds, more than 0 and finite")

    def round(self, number: int, examples: Mapping[int, int], bytes_up: int, now: float) -> RoundTime:
        """Return who of the chosen clients contributes to a round that opens at `now`.

        Args:
            examples: of each chosen client, by its number.
            bytes_up: of one update.
        """
        ends = {client: self._seconds(client, count, bytes_up) for client, count in examples.items()}
        staying = {
            client: end
            for client, end in ends.items()
            if self.presence.stays(client, number, now, now + min(end, self.deadline))
        }
        in_time = sorted((end, client) for client, end in staying.items() if end <= self.deadline)
        counted_in = in_time[: self.wanted]
        full = self.wanted is not None and len(counted_in) == self.wanted
        all_here = len(counted_in) == len(ends)
        seconds = counted_in[-1][0] if counted_in and (full or all_here) else self.deadline
        contributors = tuple(sorted(client for _, client in counted_in))
        return RoundTime(contributors, seconds, len(staying) - len(counted_in), len(ends) - len(staying))

    def _seconds(self, client: int, examples: int, bytes_up: int) -> float:
        speed, uplink = self.speeds.of(client)
        return examples / speed + bytes_up / uplink


def speeds_from(said: str, seed: int) -> Speeds:
    """Read --speeds: a distribution, or a CSV file with the columns examples_per_second and bytes_per_second.

    Raises SettingsError or DataError.
    """
    name, colon, numbers = said.partition(":")
    if name != "lognormal" or not colon:
        columns = ("examples_per_second", "bytes_per_second")
        rows = _read(Path(said), columns)
        for line, speeds in rows:
            if min(speeds) <= 0:
                raise DataError(f"line {line} of {said} has a speed of {min(speeds):g}; it must be more than 0")
        return MeasuredSpeeds(tuple((computing, sending) for _, (computing, sending) in rows))
    try:
        median, sigma, uplink, uplink_sigma = (float(part) for part in numbers.split(","))
    except ValueError:
        raise SettingsError(f"--speeds is {said!r}; expected {SPEEDS}, or the path of a CSV file") from None
    if not all(SLOWEST <= speed <= FASTEST for speed in (median, uplink)):
        raise SettingsError(f"--speeds is {said!r}; speeds must be more than 0: {SLOWEST:g} to {FASTEST:g}")
    if not all(0 <= each <= 10 for each in (sigma, uplink_sigma)):
        raise SettingsError(f"--speeds is {said!r}; expected sigmas of 0 to 10")
    return LognormalSpeeds(median, sigma, uplink, uplink_sigma, seed)


def presence_from(said: str, seed: int) -> Presence:
    """Read --availability: the chance that a chosen client stays, or a CSV file with client, from_s and until_s.

    Raises SettingsError or DataError.
    """
    try:
        chance = float(said)
    except ValueError:
        intervals: dict[int, list[tuple[float, float]]] = {}
        for line, (client, since, until) in _read(Path(said), ("client", "from_s", "until_s")):
            where = f"line {line} of {said}"
            if client < 1 or client != int(client):
                raise DataError(f"{where} has a client {client:g}; clients are numbered 1, 2, 3, ...") from None
            if until < since:
                raise DataError(
                    f"{where} says from {since:g} until {until:g} seconds; an interval must not end before it begins"
                ) from None
            intervals.setdefault(int(client), []).append((since, until))
        return TracedPresence(intervals)
    if not 0 < chance <= 1:
        raise SettingsError(f"--availability is {said}; a chance must be above 0 and at most 1")
    return RandomPresence(chance, seed)


def _read(path: Path, columns: tuple[str, ...]) -> list[tuple[int, tuple[float, ...]]]:
    """Return these columns of a CSV file as finite numbers, each row with its line in the file. Raises DataError."""
    try:
        with path.expanduser().open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise DataError(f"{path} has no column {missing[0]!r}; expected {', '.join(columns)}")
            rows = [_row(row, columns, path, reader.line_num) for row in reader]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: it has the byte {error.object[error.start]:#04x}") from error
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file: {error}") from error
    if not rows:
        raise DataError(f"{path} has {counted(0, 'row')}; expected one for each client")
    return rows


def _row(
    row: Mapping[str, str | None], columns: tuple[str, ...], path: Path, line: int
) -> tuple[int, tuple[float, ...]]:
    return line, tuple(_number(row[column], path, line) for column in columns)


def _number(text: str | None, path: Path, line: int) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        said = text if text is None else text[:40]
        raise DataError(f"line {line} of {path} has {said!r} where a number is expected")
    return number
