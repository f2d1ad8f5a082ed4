"""What a run's folder says, read for the page. Other programs write these files; nothing here changes them.

A run is a folder directly in the folder of runs. Files are opened only if they lie in it, are no links, and are not too
large; so nothing else on this machine can be read through the page.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SettingsError
from results.observed import FILE as EVENTS
from results.observed import Event, read_events
from results.runs import STATES

HISTORY, RECORD, DATABASE, LOCK = "history.jsonl", "record.jsonl", "server/aggregator.sqlite", "server/lock"
ABOUT = "run.json"
"""What the run was started with and how it ended; runs of before have none, and their databases say it."""
MARKS = (ABOUT, EVENTS, HISTORY, RECORD, DATABASE)
LONGEST_NAME = 200
LARGEST_HISTORY = 16 << 20
LARGEST_ABOUT = 1 << 22
MOST_RUNS = 1000
FRESH_SECONDS = 20.0
"""A run without a lock that can be looked at counts as going on if it wrote something this recently."""
Row = dict[str, Any]


class NoRunError(Exception):
    """There is no run of this name."""


@dataclass(frozen=True)
class Stored:
    """What the aggregator's database says of the last run in it."""

    run: str = ""
    settings: Row | None = None
    status: str = ""
    message: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name, which is the run's on the page."""
        return self.folder.name

    def file(self, name: str) -> Path | None:
        """Return a file of the run, or None: if it is missing, a link, in a linked folder, or no plain file."""
        path = self.folder
        for part in name.split("/"):
            path = path / part
            if path.is_symlink():
                return None
        return path if path.is_file() else None

    def history(self) -> list[Row]:
        """Return the completed rounds in order, a row each."""
        path = self.file(HISTORY)
        if path is None or path.stat().st_size > LARGEST_HISTORY:
            return []
        rows: list[Row] = []
        with suppress(OSError, ValueError):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if isinstance(row, dict):
                    rows.append(row)
        return rows

    def events(self, offset: int = 0) -> Iterator[tuple[Event, int]]:
        """Yield what an observer was told, from a place in the file on, each with the place after it."""
        path = self.file(EVENTS)
        return iter(()) if path is None else read_events(path, offset)

    def last_event(self) -> Event | None:
        """Return the last thing that an observer was told."""
        path = self.file(EVENTS)
        if path is None:
            return None
        start = max(0, path.stat().st_size - (1 << 16))
        with suppress(OSError, ValueError), path.open("rb") as file:
            file.seek(start)
            lines = file.read().split(b"\n")[:-1]
            event = json.loads(lines[-1]) if lines else None
            return event if isinstance(event, dict) else None
        return None

    def stored(self) -> Stored:
        """Return what the database says of the last run in it; nothing, if it cannot be read."""
        rows = self.query("SELECT run, settings, status, sentence FROM runs ORDER BY rowid DESC LIMIT 1")
        if not rows:
            return Stored()
        run, settings, status, message = rows[0]
        with suppress(ValueError):
            said = json.loads(settings)
            said.get("rules", {}).pop("selection_secret", None)
            return Stored(str(run), said, str(status), str(message))
        return Stored()

    def about(self) -> Row | None:
        """Return what run.json says; nothing where there is none, and None if it is damaged."""
        path = self.file(ABOUT)
        if path is None:
            return {}
        with suppress(OSError, ValueError, RecursionError):
            said = json.loads(path.read_bytes()) if path.stat().st_size <= LARGEST_ABOUT else None
            return said if isinstance(said, dict) and said.get("state") in STATES else None
        return None

    def query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query to the aggregator's database, read only; none if it cannot be read."""
        path = self.file(DATABASE)
        if path is None:
            return []
        address = f"{path.resolve().as_uri()}?mode=ro"
        with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True, timeout=0.2)) as database:
            return database.execute(query, values).fetchall()
        return []

    @property
    def going_on(self) -> bool:
        """Whether a process works on this run now."""
        held = [_is_locked(path) for path in (self.file(LOCK), self.folder) if path is not None]
        if None not in held:
            return any(held)
        return self.file(DATABASE) is not None and time.time() - self.changed < FRESH_SECONDS

    @property
    def changed(self) -> float:
        """When something of it was written last, in seconds since 1970."""
        times = [path.stat().st_mtime for name in MARKS if (path := self.file(name)) is not None]
        return max(times, default=0.0)

    @property
    def began(self) -> float:
        """When its folder was made, as far as its files tell."""
        paths = (self.file(name) for name in ("logs/server.log", "federation/registrar/roster.json", *MARKS))
        return min((path.stat().st_mtime for path in paths if path is not None), default=self.folder.stat().st_mtime)


class RunsFolder:
    """The folder of runs, which need not be there yet. Raises SettingsError for a file."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise SettingsError(
                f"--runs is {folder}, which is no folder; expected the folder that holds the runs' folders"
            )
        self.folder = folder

    def all(self) -> list[RunRecord]:
        """Return all runs, those last changed first, at most MOST_RUNS."""
        try:
            names = [entry.name for entry in os.scandir(self.folder) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []
        found = [record for name in names if (record := self._record(name)) is not None]
        return sorted(found, key=lambda record: record.changed, reverse=True)[:MOST_RUNS]

    def find(self, name: str) -> RunRecord:
        """Return the run of this name. Raises NoRunError for what is none, wherever it would lead."""
        record = self._record(name)
        if record is None:
            raise NoRunError(f"there is no run {name[:LONGEST_NAME]!r}")
        return record

    def _record(self, name: str) -> RunRecord | None:
        if not 0 < len(name) <= LONGEST_NAME or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            return None
        folder = self.folder / name
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                return None
        except OSError:
            return None
        record = RunRecord(folder)
        return record if any(record.file(mark) for mark in MARKS) else None


def _is_locked(path: Path) -> bool | None:
    """Return whether a process holds the lock on a file; None where the system does not say. Nothing is locked here."""
    try:
        found, inode = Path("/proc/locks").read_text(encoding="ascii"), path.stat().st_ino
    except OSError:
        return None
    return any(
        words[5].rpartition(":")[2] == str(inode) for line in found.splitlines() if len(words := line.split()) > 5
    )
