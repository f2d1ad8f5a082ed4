"""The results of a run while it runs: each round's row is on the disk as soon as the round is over, and stays there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import structlog

from core.errors import StorageError
from core.finite_json import dumps
from core.new_paths import numbered
from core.protocol import RoundResult
from server.results import FILES, make_results_folder, row
from server.settings import RunSettings

log = structlog.get_logger()
HISTORY = "history.jsonl"


class Recorder:
    """Keeps history.jsonl of one run up to date, in a folder that has the results of no other run.

    Attributes:
        folder: `wanted`, or the first of `wanted`-2, `wanted`-3, ... without another run's results.

    Args:
        before: the rounds completed by an earlier process of the same run, whose results are taken up again.
    """

    def __init__(self, wanted: Path, settings: RunSettings, before: Sequence[RoundResult]) -> None:
        self._settings = settings
        lines = [self._line(result) for result in before]
        self.folder = next(folder for folder in numbered(wanted) if _is_free(folder, lines))
        make_results_folder(self.folder)
        try:
            if _lines(self.folder / HISTORY) != lines:
                partial = self.folder / f".{HISTORY}.partial"
                partial.write_text("".join(lines), encoding="utf-8")
                partial.replace(self.folder / HISTORY)
        except OSError as error:
            raise StorageError(f"the results cannot be written to {self.folder}: {error.strerror}") from error

    def add(self, result: RoundResult) -> None:
        """Append one completed round, durably. A full disk is only logged: the store has the round too."""
        try:
            with (self.folder / HISTORY).open("a", encoding="utf-8") as file:
                file.write(self._line(result))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.warning("history not written", file=str(self.folder / HISTORY), why=error.strerror)

    def _line(self, result: RoundResult) -> str:
        return dumps(row(result, self._settings)) + "\n"


def _is_free(folder: Path, lines: Sequence[str]) -> bool:
    """Return whether the folder has no results, or those of this very run: the first of its rows, and nothing else."""
    if not any((folder / name).exists() for name in FILES):
        return True
    found = _lines(folder / HISTORY)
    return bool(lines) and bool(found) and found == list(lines[: len(found)])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError:
        return []
