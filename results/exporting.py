"""Runs for other programs: one CSV file, an SQLite database, or event files that TensorBoard reads."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from core.errors import StorageError
from core.finite_json import dumps
from core.new_paths import numbered
from results.comparing import series
from results.events import FILE, write_events
from results.runs import Row, Run


def export_csv(path: Path, runs: Sequence[Run]) -> int:
    """Write one line a round of every run, with the run's name, state and settings. Returns the number of lines.

    Raises DataError for a damaged history, StorageError if the file cannot be written.
    """
    lines = [_line(run, row) for run in runs for row in run.rows()]
    columns = list(dict.fromkeys(name for line in lines for name in line))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return len(lines)


def _line(run: Run, row: Row) -> dict[str, Any]:
    settings = {f"setting:{option}": _plain(value) for option, value in run.settings_in_force.items()}
    return {"run": run.name, "state": run.state, "way": run.way, **row, **settings}


def export_sqlite(path: Path, runs: Sequence[Run]) -> int:
    """Write the tables runs, settings (one line an option) and rounds (one line a round). Returns the rounds.

    Raises DataError for a damaged history, StorageError.
    """
    rows = [(run.name, row) for run in runs for row in run.rows()]
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in ("run", *columns))
    try:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(
                "CREATE TABLE runs (run TEXT PRIMARY KEY, state TEXT, way TEXT, task TEXT, started TEXT, "
                "wall_seconds REAL, cpu_seconds REAL, model_sha256 TEXT, record TEXT)"
            )
            database.execute("CREATE TABLE settings (run TEXT, option TEXT, value, PRIMARY KEY (run, option))")
            database.execute(f"CREATE TABLE rounds ({quoted})")
            database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_of_run, runs))
            settings = [
                (run.name, option, _plain(value)) for run in runs for option, value in run.settings_in_force.items()
            ]
            database.executemany("INSERT INTO settings VALUES (?, ?, ?)", settings)
            marks = ", ".join("?" * (1 + len(columns)))
            values = [(name, *(_plain(row.get(column)) for column in columns)) for name, row in rows]
            database.executemany(f"INSERT INTO rounds VALUES ({marks})", values)  # noqa: S608  only question marks
    except sqlite3.Error as error:
        raise StorageError(f"the database {path} cannot be written: {error}") from error
    return len(rows)


def _of_run(run: Run) -> tuple[Any, ...]:
    numbers = (run.record.get("wall_seconds"), run.record.get("cpu_seconds"), run.record.get("model_sha256"))
    return (run.name, run.state, run.way, run.task, run.record.get("started"), *numbers, dumps(run.record))


def export_tensorboard(folder: Path, runs: Sequence[Run]) -> int:
    """Write one folder a run with an event file: every number of the history, by round. Returns the rounds.

    A run that was exported there before gets a folder with a number.
    Raises DataError for a damaged history, StorageError.
    """
    total = 0
    for run in runs:
        rows = run.rows()
        if not rows:
            continue
        start = _started(run)
        times = (
            [start + seconds for seconds in series("seconds", rows)] if "round_s" in rows[0] else [start] * len(rows)
        )
        write_events(
            _free(folder / run.name), [(at, row["round"], _numbers(row)) for at, row in zip(times, rows, strict=True)]
        )
        total += len(rows)
    return total


def _free(wanted: Path) -> Path:
    return next(folder for folder in numbered(wanted) if not (folder / FILE).exists())


def _numbers(row: Row) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "round"
    }


def _started(run: Run) -> float:
    try:
        return datetime.fromisoformat(str(run.record["started"])).timestamp()
    except (KeyError, ValueError):
        return run.folder.stat().st_mtime


def _plain(value: Any) -> Any:
    return dumps(value) if isinstance(value, dict | list | bool) else value
