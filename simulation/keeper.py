"""Keep the record of one simulation: its folder, what it was started with, and how it ended (results/recording.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from core.errors import StorageError
from core.new_paths import new_folder, release
from core.settings.command_line import Given
from core.tasks.own import package_digest
from core.tasks.task import Task
from results.recording import RunRecord, as_json, ending_of
from results.runs import VIRTUAL
from server.settings import RunSettings
from simulation.values import IN_PROCESS, PROCESSES, known_options

__all__ = ["IN_PROCESS", "PROCESSES", "VIRTUAL", "Heard", "Keeper", "file_name", "ignored"]


Heard = Callable[[dict[str, Any]], None]
"""Told of each round when it is completed, as a row of the history by column."""


def ignored(_row: dict[str, Any]) -> None:
    """Hear of a round, and do nothing."""


class Keeper:
    """The folder and the record of one run. Leave it as a context manager, which notes how the run ended.

    Args:
        given: the options of the run.
        before: run.json of the interrupted run that goes on; None for a new run.
        folder: of that run.

    Attributes:
        folder: where results go, once the run has begun.
    """

    def __init__(self, given: Given, before: Mapping[str, Any] | None = None, folder: Path | None = None) -> None:
        self.folder = folder
        self.given = given
        self._before = before
        self._record: RunRecord | None = None

    @property
    def goes_on(self) -> bool:
        """Whether an interrupted run goes on."""
        return self._before is not None

    @property
    def way(self) -> str:
        """How the interrupted run that goes on was started; empty for a new run."""
        return "" if self._before is None else str(self._before["way"])

    def begin(self, way: str, settings: RunSettings, clients: int, task: Task) -> Path:
        """Make the folder of a run whose settings are known to work, or take up the old one; return it.

        Raises StorageError.
        """
        if self._before is not None and self.folder is not None:
            self._record = RunRecord.again(self.folder, self._before)
            return self.folder
        options = {entry.option: self.given[key] for key, entry in known_options().items()}
        wanted = options["out"] or Path("runs", time.strftime(f"{file_name(settings.task)}-%Y%m%d-%H%M%S"))
        self.folder = new_folder(wanted)
        more = {
            "clients": clients,
            "rounds": settings.rules.rounds,
            "run_settings": as_json(settings),
            "training": settings.training_options(task),
            "task_package_sha256": package_digest(self.given["task"]),
            "working_folder": str(Path.cwd()),
        }
        self._record = RunRecord(self.folder, way, options, more)
        return self.folder

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._record is None or self.folder is None:
            return
        try:
            with suppress(*(() if error is None else (StorageError,))):
                self._record.end(*ending_of(error))
        finally:
            release(self.folder)


def file_name(task: str) -> str:
    """Return a task's name as part of a folder's name: of `folder/my_task.py:DIGITS` it is DIGITS."""
    name = task.rpartition(":")[2] or task
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
