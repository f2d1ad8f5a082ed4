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

from core.errors import DataError, GrokfedError, RunFailedError, SettingsError
from core.parameters import load_npz
from core.tasks import TASKS, Task
from results.runs import MODEL, VIRTUAL, Row, Run, is_run, read_run
from simulation.running import run
from simulation.values import check_way, given_for, given_from

PROMISED = (SettingsError, DataError, RunFailedError)
"""What `simulate` raises of the errors that people are told; others, such as of a full disk, become the last."""


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
        folder: with the history, the model, a picture and a report; a full path.
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
    if on_round is not None and not callable(on_round):
        raise SettingsError(f"on_round is {on_round!r}; expected a function, which is called with each round")
    values = {name: value for name, value in settings.items() if value is not None}
    if isinstance(values.get("task"), Task):
        values["task"] = _name_of(values["task"])
    if way is not None:
        check_way(way)
    if "resume" in values:
        given = given_from(values)
        _check_own_way(Path(given["resume"]).expanduser(), way)
    else:
        given = given_for(way or VIRTUAL, values)
    console = Console() if show else Console(file=StringIO(), quiet=True)

    def hear(row: Row) -> None:
        if on_round is not None:
            on_round(row)

    try:
        return Result(run(console, given, hear, way or VIRTUAL).absolute())
    except PROMISED:
        raise
    except GrokfedError as error:
        raise RunFailedError(str(error)) from error


def _check_own_way(folder: Path, way: str | None) -> None:
    """Raise SettingsError if a run is to go on in another way than its own."""
    if way is None or not is_run(folder):  # what is no run is named where it is taken up
        return
    own = read_run(folder).way
    if own and own != way:
        raise SettingsError(f"way is {way!r}, and the run in {folder} is {own!r}; leave it out to go on with it")


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
