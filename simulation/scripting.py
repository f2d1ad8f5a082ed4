"""Simulations from a script or a notebook: the settings as keywords, the results as Python objects."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from rich.console import Console

from core.errors import SettingsError
from core.parameters import load_npz
from core.tasks import TASKS, Task
from results.runs import MODEL, Row, Run, read_run
from simulation.running import run
from simulation.values import VIRTUAL, given_for, given_from


class History(Sequence[Row]):
    """The completed rounds, each a dictionary by column; docs/results.md lists the columns."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = list(rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"History({len(self._rows)} rounds)"

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame, one line a round. Raises SettingsError if pandas is not installed."""
        return _installed("pandas").DataFrame(self._rows)

    def to_polars(self) -> Any:
        """Return a polars.DataFrame, one line a round. Raises SettingsError if polars is not installed."""
        return _installed("polars").DataFrame(self._rows)


@dataclass(frozen=True)
class Result:
    """What a simulation leaves behind.

    Attributes:
        folder: with the history, the model, a picture and a report.
    """

    folder: Path

    @cached_property
    def run(self) -> Run:
        """The folder as `python -m results` reads it."""
        return read_run(self.folder)

    @cached_property
    def history(self) -> History:
        """The completed rounds."""
        return History(self.run.rows())

    @cached_property
    def model(self) -> dict[str, npt.NDArray[np.float64]]:
        """The last model, as arrays by the names of the task's layers."""
        return dict(load_npz(self.folder / MODEL))

    @property
    def record(self) -> Mapping[str, Any]:
        """What run.json says: settings, seeds, versions, processor, digests of data, seconds, state."""
        return self.run.record

    @property
    def accuracy(self) -> float:
        """The test accuracy of the last model."""
        return float(self.history[-1]["accuracy"])

    def __repr__(self) -> str:
        return f"Result({self.run.task}, {len(self.history)} rounds, accuracy {self.accuracy:.2%}, {self.folder})"


def simulate_with(
    settings: Mapping[str, Any], way: str | None, on_round: Callable[[Row], object] | None, *, show: bool
) -> Result:
    """Run a simulation; see `simulation.simulate`."""
    values = {name: value for name, value in settings.items() if value is not None}
    if isinstance(values.get("task"), Task):
        values["task"] = _name_of(values["task"])
    way = way or VIRTUAL
    given = given_from(values) if "resume" in values else given_for(way, values)  # an old run goes on in its own way
    console = Console() if show else Console(file=StringIO(), quiet=True)

    def hear(row: Row) -> None:
        if on_round is not None:
            on_round(row)

    return Result(run(console, given, hear, way))


def _name_of(task: Task) -> str:
    """Return the name by which other processes find a task."""
    if TASKS.get(task.name) is task:
        return task.name
    raise SettingsError(
        f"the task {task.name!r} is an object that other processes cannot find; pass where it is, as FILE.py:NAME"
    )


def _installed(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise SettingsError(f"{name} is not installed; {sys.executable} -m pip install {name} installs it") from None
