"""The record of a run of this aggregator, in its folder of results, unless the simulation that started it keeps one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType

from core.errors import StorageError
from core.new_paths import claim_again, release
from core.settings.command_line import Given
from core.settings.setting import entries_of
from core.tasks.task import Task
from results.recording import RunRecord, as_json, ending_of
from results.runs import COMPLETED, FILE, read_run
from server.settings import Places, RunSettings

WAY = "server"


class Keeper:
    """Keeps run.json from the moment that the folder is known; a context manager, which notes how the run ended."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._folder: Path | None = None
        self._record: RunRecord | None = None

    def begin(self, folder: Path, settings: RunSettings, task: Task) -> None:
        """Write the record, or take up that of an earlier process of this run. Raises StorageError."""
        if not claim_again(folder):
            return
        self._folder = folder
        before = read_run(folder) if (folder / FILE).exists() else None
        entries = (*entries_of(Places), *entries_of(RunSettings))
        options = {entry.option: self._given[entry.key] for entry in entries}
        more = {
            "clients": settings.rules.target,
            "rounds": settings.rules.rounds,
            "run_settings": as_json(settings),
            "training": settings.training_options(task),
        }
        if before is not None and before.record and before.state != COMPLETED:
            asked = {**before.record["settings"], "clients": settings.rules.target}
            self._record = RunRecord.again(folder, {**before.record, **more, "settings": asked})
        else:
            self._record = RunRecord(folder, WAY, options, more)

    def completed(self) -> None:
        """Note that the run is over, and its results written; the program may stay to hand out the model."""
        self._end(None)

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        record, self._record = self._record, None
        if record is None or self._folder is None:
            return
        try:
            with suppress(*(() if error is None else (StorageError,))):
                record.end(*ending_of(error))
        finally:
            release(self._folder)
