"""run.json: the one record of a run, written when it starts and again when it ends.

Between the two it says "running". A process that is killed leaves it so; readers then see that no process holds the
folder any more, and call the run interrupted (results/runs.py).
"""

from __future__ import annotations

import hashlib
import os
import resource
import time
from asyncio import CancelledError
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from core.errors import GrokfedError, StorageError
from core.finite_json import dumps
from results.machine import data_digests, git_commit, path_in, processor, versions
from results.runs import COMPLETED, FAILED, FILE, INTERRUPTED, MODEL, RUNNING

FORMAT = 1
NOT_DATA = ("out", "resume", "identity", "passphrase-file", "state")
"""Options whose paths are not data."""


class RunRecord:
    """The run.json of one run; it is there from the moment that this is made.

    Args:
        way: how it runs: processes, virtual or in-process.
        settings: every option, by its name on the command line.
        more: further entries: the numbers of clients and rounds, and settings that follow from the options.
    """

    def __init__(self, folder: Path, way: str, settings: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self._folder = folder
        self._started = time.monotonic()
        self._cpu = _cpu_seconds()
        self._content: dict[str, Any] = {
            "format": FORMAT,
            "state": RUNNING,
            "way": way,
            "settings": {option: as_json(absolute(value)) for option, value in settings.items()},
            **more,
            "seeds": {"seed": settings.get("seed")},
            "data": data_digests(settings, NOT_DATA),
            "versions": versions(),
            "processor": processor(),
            "git_commit": git_commit(),
            "started": now(),
            "ended": None,
            "wall_seconds": None,
            "cpu_seconds": None,
            "model_sha256": None,
            "message": "",
            "sessions": [],
        }
        self._write()

    @classmethod
    def again(cls, folder: Path, content: Mapping[str, Any]) -> RunRecord:
        """Take up the record of an interrupted run that now goes on."""
        record = cls.__new__(cls)
        record._folder, record._started, record._cpu = folder, time.monotonic(), _cpu_seconds()
        record._content = {**content, "state": RUNNING, "ended": None, "message": ""}
        record._content["sessions"] = [*content.get("sessions", []), {"resumed": now(), "versions": versions()}]
        record._write()
        return record

    def end(self, state: str, message: str = "") -> None:
        """Write how the run ended: completed, failed or interrupted; with the digest of its model, if there is one."""
        before = self._content
        self._content = before | {
            "state": state,
            "ended": now(),
            "wall_seconds": round((before["wall_seconds"] or 0.0) + time.monotonic() - self._started, 3),
            "cpu_seconds": round((before["cpu_seconds"] or 0.0) + _cpu_seconds() - self._cpu, 3),
            "model_sha256": model_digest(self._folder),
            "message": message,
        }
        self._write()

    def _write(self) -> None:
        """Write the file whole or not at all."""
        path = self._folder / FILE
        partial = path.with_name(f".{FILE}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(dumps(self._content, indent=1, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            raise StorageError(f"the record {path} cannot be written: {error.strerror}") from error


def ending_of(error: BaseException | None) -> tuple[str, str]:
    """Return the state of a run that ended with this error, or well without one, and its sentence."""
    if error is None:
        return COMPLETED, ""
    if isinstance(error, KeyboardInterrupt | SystemExit | CancelledError):
        return INTERRUPTED, ""
    return FAILED, str(error) if isinstance(error, GrokfedError) else f"an unexpected {type(error).__name__}"


def model_digest(folder: Path) -> str | None:
    """Return SHA-256 of model.npz in a run's folder, which is the same for the same model; None if there is none."""
    try:
        return hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    except OSError:
        return None


def as_json(value: Any) -> Any:
    """Return a setting, or a group of settings, as JSON has it; what its class hides from `repr` is left out."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in fields(value) if each.repr}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return value


def absolute(value: Any) -> Any:
    """Return a value that names a file or folder which is there with its full path; others as they are."""
    path = path_in(value)
    if path is None:
        return value
    if isinstance(value, Path) or Path(value).expanduser() == path:
        return type(value)(path.resolve())
    return f"{path.resolve()}:{value.rpartition(':')[2]}"


def now() -> str:
    """Return the time as ISO 8601, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cpu_seconds() -> float:
    """Return the processor seconds of this process and of those that it started and that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
