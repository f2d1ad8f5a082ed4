"""Compare runs: in what two of them differ, and means over runs that are alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import DataError, SettingsError
from results.columns import said
from results.runs import Row, Run

PLACES = ("out", "resume", "port", "workers", "engine", "ray-address")
"""Options that say where and how a run is computed, and not what."""
MADE = ("versions", "processor", "git_commit", "data", "task_package_sha256")
"""Entries of run.json that the bytes of a model may depend on, besides the settings."""
SUMMED = ("megabytes", "wall_seconds", "cpu_seconds")
"""Outcomes of a whole run, which are no columns of its history."""
OUTCOMES = ("accuracy", "loss", "megabytes", "wall_seconds")
Pair = list[Any]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    """Return the entries of two mappings that differ, with both values; None stands for an entry that is not there."""
    names = [*one, *(name for name in other if name not in one)]
    return {name: [one.get(name), other.get(name)] for name in names if one.get(name) != other.get(name)}


def made_differently(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    """Return what differs of versions, processor, commit and data of two records, by names such as `versions.numpy`."""
    return differences(_flat(one), _flat(other))


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for entry in MADE:
        value = record.get(entry)
        if entry == "data" and isinstance(value, dict):
            flat |= {f"data.{option}": each.get("sha256") for option, each in value.items() if isinstance(each, dict)}
        elif isinstance(value, dict):
            flat |= {f"{entry}.{name}": each for name, each in value.items()}
        else:
            flat[entry] = value
    return flat


@dataclass(frozen=True)
class Comparison:
    """In what two runs differ: settings, how they were computed, and outcomes, each with both values.

    Attributes:
        same_model: whether their models have the same bytes; None if one has no model.
    """

    settings: Mapping[str, Pair]
    made: Mapping[str, Pair]
    outcomes: Mapping[str, Pair]
    same_model: bool | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "settings": dict(self.settings),
            "made": dict(self.made),
            "outcomes": dict(self.outcomes),
            "same_model": self.same_model,
        }


def compare(one: Run, other: Run) -> Comparison:
    """Return in what two runs differ."""
    used = differences(one.settings_in_force, other.settings_in_force)
    settings = {name: pair for name, pair in used.items() if name not in PLACES}
    if one.way != other.way:
        settings = {"way": [one.way, other.way], **settings}
    digests = one.record.get("model_sha256"), other.record.get("model_sha256")
    same = digests[0] == digests[1] if all(digests) else None
    outcomes = {name: [one.last_row.get(name), other.last_row.get(name)] for name in ("round", "accuracy", "loss")}
    outcomes |= {name: [one.record.get(name), other.record.get(name)] for name in ("wall_seconds", "cpu_seconds")}
    outcomes |= {"state": [one.state, other.state]}
    return Comparison(settings, made_differently(one.record, other.record), outcomes, same)


# ------------------------------------------------------------------------------------------------ groups


@dataclass(frozen=True)
class Group:
    """Runs with the same values of some settings.

    Attributes:
        values: of these settings, by option.
    """

    values: Mapping[str, Any]
    runs: Sequence[Run]

    @property
    def name(self) -> str:
        """The values, for people."""
        return ", ".join(f"{option} {said(value)}" for option, value in self.values.items()) or "all runs"


def group_by(runs: Sequence[Run], options: Sequence[str]) -> list[Group]:
    """Return the runs in groups that used the same values of these settings, asked for or not; `way` counts as one.

    Raises SettingsError for a setting that none of the runs has.
    """
    known = {"way", *(option for run in runs for option in run.settings)}
    for option in options:
        if option not in known:
            raise SettingsError(f"--group-by is {option!r}, which no run has; known are {', '.join(sorted(known))}")
    groups: dict[str, Group] = {}
    for run in runs:
        used = {"way": run.way, **run.settings_in_force}
        values = {option: used.get(option) for option in options}
        key = json.dumps(values, sort_keys=True, default=str, allow_nan=False)
        before = groups.get(key)
        groups[key] = Group(values, [*(before.runs if before else ()), run])
    return list(groups.values())


def group_by_options(runs: Sequence[Run], options: str) -> list[Group]:
    """Return the runs in groups, as `group_by`, by options with commas between them."""
    return group_by(runs, [option.strip().removeprefix("--") for option in options.split(",") if option.strip()])


def outcome(run: Run, column: str) -> float | None:
    """Return one number of a finished run: a column of its last row, megabytes sent by all clients, or seconds."""
    if column in ("wall_seconds", "cpu_seconds"):
        return _as_number(run.record.get(column))
    if column == "megabytes":
        sent = [series("bytes", run.rows())[-1]] if run.last_row else []
        return sent[0] / 1e6 if sent else None
    return _as_number(run.last_row.get(column))


# ------------------------------------------------------------------------------------------------ series


def series(axis: str, rows: Sequence[Row]) -> list[float]:
    """Return the values of an axis or column by round: `seconds` and `bytes` (of all clients) since the start.

    Raises DataError for a column that the rows do not have.
    """
    make: dict[str, Callable[[Row], float]] = {
        "seconds": lambda row: float(row["round_s"]),
        "bytes": lambda row: float(row["bytes_up_per_client"]) * float(row["contributors"]),
    }
    try:
        if axis in make:
            return _since_the_start([make[axis](row) for row in rows])
        return [float(row[axis]) for row in rows]
    except (KeyError, TypeError, ValueError):
        if axis == "epsilon":
            raise DataError(
                "only runs with privacy (--noise-multiplier) have an epsilon, and not all of these do"
            ) from None
        columns = ", ".join(["seconds", "bytes", *(rows[0] if rows else ())])
        raise DataError(f"the history has no numbers {axis!r} in every round; known are {columns}") from None


def _since_the_start(values: Sequence[float]) -> list[float]:
    total, found = 0.0, []
    for value in values:
        total += value
        found.append(total)
    return found


def _as_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
