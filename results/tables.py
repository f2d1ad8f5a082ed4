"""A table of groups of runs: the mean of each outcome over a group's runs, with its 95 % interval."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from core.errors import SettingsError, StorageError
from core.finite_json import dumps, finite
from results.columns import aligned
from results.comparing import OUTCOMES, SUMMED, Group, outcome
from results.intervals import over_seeds
from results.runs import Run


def columns_of(runs: Sequence[Run], columns: str) -> list[str]:
    """Return the names of outcomes that stand in one option, with commas between them.

    Raises SettingsError for one that none of the runs has.
    """
    names = [name.strip() for name in columns.split(",") if name.strip()]
    known = [*dict.fromkeys([*SUMMED, *(name for run in runs for name in run.last_row)])]
    for name in names:
        if name not in known:
            raise SettingsError(f"--columns is {name!r}, which no run has; known are {', '.join(known)}")
    return names


def table_of(groups: Sequence[Group], columns: Sequence[str] = OUTCOMES) -> list[dict[str, Any]]:
    """Return one row a group: its settings, how many runs, and for each outcome its mean and half its interval.

    The half is None for a single run.
    """
    return [_row(group, columns) for group in groups]


def _row(group: Group, columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {**group.values, "runs": len(group.runs)}
    for column in columns:
        found = [value for run in group.runs if (value := outcome(run, column)) is not None]
        interval = over_seeds(found) if found else None
        row[column] = None if interval is None else round(interval.mean, 6)
        row[f"{column}_half"] = None if interval is None or isnan(interval.half) else round(interval.half, 6)
    return row


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as aligned columns for people: `mean ± half` in one cell."""
    headings = [name for name in rows[0] if not name.endswith("_half")] if rows else []
    cells = [[_cell(row, name) for name in headings] for row in rows]
    return aligned(headings, cells)


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as CSV. Raises StorageError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: _plain(value) for name, value in row.items()} for row in finite(rows))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _plain(value: Any) -> Any:
    return dumps(value) if isinstance(value, dict | list) else value


def _cell(row: dict[str, Any], name: str) -> str:
    value, half = row[name], row.get(f"{name}_half")
    if value is None:
        return "-"
    if f"{name}_half" not in row:
        return f"{value:g}" if isinstance(value, float) else str(value)
    shown = f"{value:.4g}"
    return shown if half is None else f"{shown} ± {half:.2g}"
