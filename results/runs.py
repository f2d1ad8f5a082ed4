"""The runs that a folder holds, as programs read them: settings, state and rounds of each, without heavy imports.

    for run in list_runs(Path("runs")):
        print(run.name, run.state, run.rows()[-1:])

Each run's folder has run.json, written when the run starts and when it ends (results/recording.py). Folders of before
that, and folders with damaged files, are listed with what can be read; `problems` says what cannot.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.finite_json import finite

FILE = "run.json"
HISTORY = "history.jsonl"
TABLE = "history.csv"
MODEL = "model.npz"
REPORT = "report.md"
RUNNING, COMPLETED, FAILED, INTERRUPTED, UNKNOWN = "running", "completed", "failed", "interrupted", "unknown"
VIRTUAL = "virtual"
"""The way of runs with virtual clients, which sign nothing."""
STATES = (RUNNING, COMPLETED, FAILED, INTERRUPTED, UNKNOWN)
LARGEST_RECORD = 1 << 22
LARGEST_HISTORY = 1 << 28
"""Bytes; bounds for files of unknown origin."""
_RULE = ("run_settings", "server_rule")
_ROUNDS = ("run_settings", "rules")
IN_FORCE = {
    "clients": ("clients",),
    "scheme": ("run_settings", "scheme"),
    "threshold": (*_ROUNDS, "threshold"),
    "min-cohort": (*_ROUNDS, "min_cohort"),
    "round-seconds": (*_ROUNDS, "round_seconds"),
    "server-learning-rate": (*_RULE, "learning_rate"),
    "server-momentum": (*_RULE, "momentum"),
    "beta1": (*_RULE, "beta1"),
    "beta2": (*_RULE, "beta2"),
    "tau": (*_RULE, "tau"),
    "population": (*_RULE, "population"),
    "clip-quantile": (*_RULE, "clip_quantile"),
    "clip-rate": (*_RULE, "clip_rate"),
    "clip-count-noise": ("run_settings", "privacy", "count_noise"),
    "robust": ("run_settings", "robust"),
}
"""Where run.json has what a run used for an option that was left out; of others `training` may say it."""
MEDIAN = "median"
"""What decides between groups where nothing was asked (core/robust.py)."""
_TITLE = re.compile(r"# (?:Run \w+: )?(\S+), (\d+) of (\d+) rounds?\s")
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run's folder.

    Attributes:
        record: what run.json says; empty where there is none, or it is damaged.
        state: one of STATES; a run whose process was killed is "interrupted".
        problems: a sentence for each file that cannot be read.
    """

    folder: Path
    record: Mapping[str, Any]
    state: str
    problems: tuple[str, ...] = ()
    title: tuple[str, int, int] | None = field(default=None, repr=False)
    """Task, completed rounds and wanted rounds, as report.md says where there is no run.json."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name or self.folder.resolve().name

    @property
    def settings(self) -> dict[str, Any]:
        """Every option that the run was started with, by its name on the command line."""
        return _mapping(self.record.get("settings"))

    @property
    def settings_in_force(self) -> dict[str, Any]:
        """The same options; of those left at a default that follows from others or from the task, what the run used."""
        return {option: self._used(option) if value is None else value for option, value in self.settings.items()}

    def _used(self, option: str) -> Any:
        value: Any = self.record
        for entry in IN_FORCE.get(option, ("training", option)):
            value = _mapping(value).get(entry)
        if option == "robust" and value is None and self.settings.get("groups", 1) != 1:
            return MEDIAN
        return value

    @property
    def task(self) -> str:
        """What was learned; empty if not known."""
        said = _mapping(self.record.get("run_settings")).get("task") or self.settings.get("task")
        return str(said or (self.title[0] if self.title else ""))

    @property
    def way(self) -> str:
        """How it ran: processes, virtual or in-process; empty if not known."""
        return str(self.record.get("way", ""))

    @property
    def rounds(self) -> int | None:
        """How many rounds were wanted."""
        wanted = self.record.get("rounds")
        return wanted if isinstance(wanted, int) else (self.title[2] if self.title else None)

    @property
    def last_row(self) -> Row:
        """The newest completed round, by column; empty if there is none or it cannot be read."""
        return self._last[0]

    @property
    def rounds_done(self) -> int:
        """How many rounds are completed."""
        done = self.last_row.get("round", 0)
        return done if isinstance(done, int) else 0

    @cached_property
    def _last(self) -> tuple[Row, str]:
        """The newest row, and what is wrong with it."""
        path = self.folder / HISTORY
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - (1 << 16)))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return {}, ""
        except OSError as error:
            return {}, f"{path} cannot be read: {error.strerror}"
        if not lines:
            return {}, ""
        try:
            return _row(lines[-1], path, 0), ""
        except DataError:
            return {}, f"the last line of {path} is not a round"

    def rows(self) -> list[Row]:
        """Return all completed rounds, each by column. Raises DataError if the history is damaged."""
        path = self.folder / HISTORY
        if not path.exists() and (self.folder / TABLE).exists():
            return list(_rows_of_table(self.folder / TABLE))
        try:
            with path.open("rb") as file:
                raw = file.read(LARGEST_HISTORY + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        if len(raw) > LARGEST_HISTORY:
            raise DataError(f"{path} exceeds the limit of {LARGEST_HISTORY} bytes")
        lines = raw.splitlines()
        return [_row(line, path, number) for number, line in enumerate(lines, start=1)]

    def summary(self) -> dict[str, Any]:
        """Return what a list shows of it, for --json."""
        last = self.last_row
        return {
            "name": self.name,
            "folder": str(self.folder),
            "state": self.state,
            "way": self.way,
            "task": self.task,
            "clients": self.record.get("clients") or last.get("contributors"),
            "rounds": self.rounds,
            "rounds_done": self.rounds_done,
            "accuracy": last.get("accuracy"),
            "loss": last.get("loss"),
            "epsilon": last.get("epsilon"),
            "seed": self.settings.get("seed"),
            "started": self.record.get("started"),
            "wall_seconds": self.record.get("wall_seconds"),
            "cpu_seconds": self.record.get("cpu_seconds"),
            "problems": list(self.all_problems),
        }

    @property
    def all_problems(self) -> tuple[str, ...]:
        """What is wrong with its files, the last line of the history included."""
        return (*self.problems, *filter(None, [self._last[1]]))


def list_runs(folder: Path) -> list[Run]:
    """Return the runs in a folder, the oldest first by start; what is no run's folder is left out.

    Raises DataError if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            inside = [folder / entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        raise DataError(f"the runs folder {folder} cannot be read: {error.strerror}; pass --runs") from error
    runs = [read_run(each) for each in sorted(inside) if is_run(each)]
    return sorted(runs, key=lambda run: (str(run.record.get("started") or ""), run.name))


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return any((folder / name).exists() for name in (FILE, HISTORY, TABLE))


def read_run(folder: Path) -> Run:
    """Read one run's folder. Damaged files are named in its `problems`; DataError if it is no run's folder at all."""
    if not is_run(folder):
        raise DataError(f"{folder} is not the folder of a run: it has no {FILE} and no {HISTORY}")
    path = folder / FILE
    record = _record(path)
    if record is None:
        return _old(folder, (f"{path} is damaged: it is not the record of a run",))
    if not record:
        return _old(folder, ())
    state = record["state"]
    if state == RUNNING and not is_in_use(folder):
        state = INTERRUPTED
    return Run(folder, record, state)


def find_run(name: str, runs: Path) -> Run:
    """Return a run by its folder, by its name in the runs folder, or by the unique beginning of that.

    Raises DataError.
    """
    direct = Path(name).expanduser()
    for folder in (runs / name, direct):
        if folder.is_dir() and is_run(folder):
            return read_run(folder)
    if direct.is_dir() and os.sep in name:
        return read_run(direct)
    found = sorted(each.name for each in _named(runs, name) if is_run(each))
    if len(found) == 1:
        return read_run(runs / found[0])
    if not found:
        raise DataError(f"there is no run {name!r}: neither a folder nor the beginning of a name in {runs}")
    shown = ", ".join(found[:5]) + ", ..." * (len(found) > 5)
    raise DataError(f"{name!r} is the beginning of {len(found)} runs in {runs}: {shown}; write more of the name")


def is_in_use(folder: Path) -> bool:
    """Return whether a process that runs a simulation holds the folder (core/new_paths.py locks it)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


# ------------------------------------------------------------------------------------------------ helpers


def _named(runs: Path, beginning: str) -> list[Path]:
    if not runs.is_dir() or os.sep in beginning or not beginning:
        return []
    return [each for each in runs.iterdir() if each.name.startswith(beginning) and each.is_dir()]


def _record(path: Path) -> dict[str, Any] | None:
    """Return what run.json says; nothing if there is no such file, and None if it is damaged."""
    try:
        small = path.stat().st_size <= LARGEST_RECORD
        record = finite(json.loads(path.read_bytes())) if small else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.get("state") in STATES else None


def _old(folder: Path, problems: tuple[str, ...]) -> Run:
    """Return a run without run.json, with what its report says."""
    try:
        with (folder / REPORT).open(encoding="utf-8", errors="replace") as file:
            report = file.read(1 << 16)
    except OSError:
        return Run(folder, {}, UNKNOWN, problems)
    found = _TITLE.match(report)
    if found is None:
        return Run(folder, {}, UNKNOWN, problems)
    title = (found[1], int(found[2]), int(found[3]))
    if "it was stopped after" in report:
        state = INTERRUPTED
    elif "**The run failed:**" in report or "**The run ended early:**" in report:
        state = FAILED
    else:
        state = COMPLETED if title[1] == title[2] else UNKNOWN
    return Run(folder, {}, state, problems, title)


def _row(line: bytes, path: Path, number: int) -> Row:
    """Return one round; a number that is not finite, which earlier versions wrote as it is, is None."""
    try:
        row = finite(json.loads(line))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("round"), int):
        raise DataError(f"line {number} of {path} is not a round")
    return row


def _rows_of_table(path: Path) -> Iterator[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield finite({name: _number(value) for name, value in row.items() if name is not None})
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _number(text: Any) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text or None


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
