"""Simulated time: how long each client would take, whether it stays to the end, and when a round is over.

    seconds of a client = examples it trains on / its speed + bytes up / its uplink

An example counts once for each pass over it. Speeds are drawn once a client from the run's seed, or read from a CSV
file; whether a client stays is drawn for every attempt of a round, or follows from a CSV trace of when it is there.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import DataError, SettingsError
from core.wording import counted

SLOWEST, FASTEST = 1e-6, 1e12
"""Medians of speeds, a second."""
SPEEDS = "lognormal:EXAMPLES_PER_SECOND,SIGMA,BYTES_PER_SECOND,SIGMA"
ROUNDING = 1e-9
"""Share of a time by which sums of seconds may be off: who ends at the deadline is in time."""
_SPEED_STREAM, _STAY_STREAM = 101, 102
"""Keep these draws apart from each other and from those of training."""


class Speeds(Protocol):
    """How fast each client is."""

    def of(self, number: int) -> tuple[float, float]:
        """Return a client's examples a second, and bytes a second that it can send."""


@dataclass(frozen=True)
class Try:
    """One attempt of a round, which opens at `now`, in simulated seconds from the start of the run."""

    round: int
    attempt: int = 1
    now: float = 0.0


class Presence(Protocol):
    """Whether a client is there."""

    def stays(self, number: int, attempt: Try, seconds: float) -> bool:
        """Return whether a client that was chosen for an attempt is there for so many seconds from its opening."""


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
    """Each chosen client stays to the end of an attempt with the same chance."""

    chance: float
    seed: int

    def stays(self, number: int, attempt: Try, seconds: float) -> bool:  # noqa: ARG002
        """Draw whether it stays."""
        stream = [self.seed, attempt.round, number, _STAY_STREAM, attempt.attempt]
        return bool(np.random.default_rng(stream).random() < self.chance)


@dataclass(frozen=True)
class TracedPresence:
    """Intervals in which clients are there, in simulated seconds; client k has those of trace ((k - 1) mod n) + 1.

    Attributes:
        intervals: of each trace, ascending; those that touch or overlap are one (`joined`).
    """

    intervals: Mapping[int, Sequence[tuple[float, float]]]

    @cached_property
    def _traces(self) -> int:
        return max(self.intervals)

    def stays(self, number: int, attempt: Try, seconds: float) -> bool:
        """Return whether one interval covers all of it."""
        own = self.intervals.get((number - 1) % self._traces + 1, ())
        place = bisect_right(own, attempt.now, key=lambda interval: interval[0]) - 1
        return place >= 0 and _by(attempt.now + seconds, own[place][1])


def joined(intervals: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Return intervals in their order, with those that touch or overlap as one."""
    found: list[tuple[float, float]] = []
    for since, until in sorted(intervals):
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(until, found[-1][1])
        else:
            found.append((since, until))
    return tuple(found)


@dataclass(frozen=True)
class RoundTime:
    """What simulated time makes of one round.

    Attributes:
        contributors: numbers of the clients whose updates count, ascending.
        seconds: from the opening to the last update that counts, or to the deadline.
        late: clients that were still there then, and had not sent their update.
        dropped: clients that had left.
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

    def round(self, attempt: Try, examples: Mapping[int, float], bytes_up: int) -> RoundTime:
        """Return who of the chosen clients contributes to an attempt of a round.

        Args:
            examples: that each chosen client trains on, by its number.
            bytes_up: of one update.
        """
        ends = {client: self._seconds(client, count, bytes_up) for client, count in examples.items()}

        def stays(client: int, until: float) -> bool:
            return self.presence.stays(client, attempt, min(ends[client], until))

        in_time = sorted(
            (end, client) for client, end in ends.items() if _by(end, self.deadline) and stays(client, self.deadline)
        )
        counted_in = in_time[: self.wanted]
        full = self.wanted is not None and len(counted_in) == self.wanted
        all_here = len(counted_in) == len(ends)
        seconds = min(counted_in[-1][0], self.deadline) if counted_in and (full or all_here) else self.deadline
        contributors = tuple(sorted(client for _, client in counted_in))
        late = sum(stays(client, seconds) for client in ends.keys() - set(contributors))
        return RoundTime(contributors, seconds, late, len(ends) - len(contributors) - late)

    def _seconds(self, client: int, examples: float, bytes_up: int) -> float:
        speed, uplink = self.speeds.of(client)
        return examples / speed + bytes_up / uplink


def _by(time: float, limit: float) -> bool:
    """Return whether a time is not after a limit, but for rounding."""
    return time <= limit + ROUNDING * abs(limit)


def speeds_from(said: str, seed: int) -> Speeds:
    """Read --speeds: a distribution, or a CSV file with the columns examples_per_second and bytes_per_second.

    Raises SettingsError or DataError.
    """
    name, colon, numbers = said.partition(":")
    if name != "lognormal" or not colon:
        columns = ("examples_per_second", "bytes_per_second")
        rows = _read(_file("--speeds", said, SPEEDS), columns)
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
        return _trace_in(_file("--availability", said, "a chance above 0 and at most 1, such as 0.9"))
    if not 0 < chance <= 1:
        raise SettingsError(f"--availability is {said}; a chance must be above 0 and at most 1")
    return RandomPresence(chance, seed)


def _trace_in(path: Path) -> TracedPresence:
    intervals: dict[int, list[tuple[float, float]]] = {}
    for line, (client, since, until) in _read(path, ("client", "from_s", "until_s")):
        where = f"line {line} of {path}"
        if client < 1 or client != int(client):
            raise DataError(f"{where} has a client {client:g}; clients are numbered 1, 2, 3, ...")
        if until < since:
            raise DataError(
                f"{where} says from {since:g} until {until:g} seconds; an interval must not end before it begins"
            )
        intervals.setdefault(int(client), []).append((since, until))
    return TracedPresence({client: joined(own) for client, own in intervals.items()})


def _file(option: str, said: str, otherwise: str) -> Path:
    """Return the path that an option may have for a value. Raises SettingsError if there is no such file."""
    path = Path(said).expanduser()
    if not said or not path.exists() or path.is_dir():
        raise SettingsError(f"{option} is {said!r}; expected {otherwise}, or the path of a CSV file that is there")
    return path


def _read(path: Path, columns: tuple[str, ...]) -> list[tuple[int, tuple[float, ...]]]:
    """Return these columns of a CSV file as finite numbers, each row with its line in the file. Raises DataError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for column in columns:
                if (found := list(reader.fieldnames or ()).count(column)) != 1:
                    times = "two columns" if found > 1 else "no column"
                    raise DataError(f"{path} has {times} {column!r}; expected {', '.join(columns)}")
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
    row: Mapping[str | None, Any], columns: tuple[str, ...], path: Path, line: int
) -> tuple[int, tuple[float, ...]]:
    if more := row.get(None):  # with a decimal comma a number is cut in two
        raise DataError(f"line {line} of {path} has {counted(len(more), 'field')} more than there are columns")
    return line, tuple(_number(row[column], path, line) for column in columns)


def _number(text: str | None, path: Path, line: int) -> float:
    try:
        number = float("" if text is None or "_" in text else text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        said = text if text is None else text[:40]
        raise DataError(f"line {line} of {path} has {said!r} where a number is expected")
    return number
