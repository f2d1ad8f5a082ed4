"""The file of a sweep: fixed settings, lists of settings to combine, and seeds. docs/results.md explains it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from core.errors import GrokfedError, SettingsError
from core.tasks.own import load_task
from results.columns import said
from results.runs import VIRTUAL
from simulation.plan import DEFAULT_CLIENTS, check_partition, divide
from simulation.settings import SimulationSettings, settings_of_parties
from simulation.values import given_for
from simulation.virtual.command import settings_of_virtual

KEYS = ("seeds", "way", "out", "run", "grid")
DECIDED = ("out", "resume", "seed", "virtual", "port")
"""Options that a sweep decides itself."""
MOST_RUNS = 10_000
LONGEST_NAME = 120


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        values: of the options in the grid, and the seed.
        settings: all of its settings.
    """

    values: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its folder's name, which does not change when the file gets more values."""
        text = "_".join(f"{option}-{said(value)}" for option, value in self.values.items())
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)
        if len(name) <= LONGEST_NAME and name == text:
            return name
        mark = hashlib.sha256(json.dumps(dict(self.values), sort_keys=True, allow_nan=False).encode()).hexdigest()[:8]
        return f"{name[:LONGEST_NAME]}-{mark}"

    def __str__(self) -> str:
        return ", ".join(f"{option} {said(value)}" for option, value in self.values.items())


@dataclass(frozen=True)
class Sweep:
    """What a file asks for.

    Attributes:
        grid: names of the options in it.
        points: all runs, in the order of the file.
    """

    way: str
    out: Path
    grid: tuple[str, ...]
    points: tuple[Point, ...]


def read_sweep(path: Path) -> Sweep:
    """Read the file, and check every run of it.

    Raises SettingsError, naming key and value, for what cannot work.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from error
    for key in content:
        if key not in KEYS:
            raise SettingsError(f"{path} has {key!r}; expected {', '.join(KEYS)}")
    run = _options(content, "run", path)
    grid = _grid(content, path, run)
    way = content.get("way", VIRTUAL)
    seeds = _list(content.get("seeds", [0]), "seeds", path)
    out = Path(_text(content.get("out", f"runs/{path.stem}"), "out", path))
    points = _points(run, grid, seeds, path)
    for point in points:
        _check(way, point, path)
    return Sweep(way, out, tuple(grid), points)


def _options(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Return one of the two tables, with dashes in the names of options."""
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: {name} is {table!r}; expected a table [{name}]")
    found = {option.replace("_", "-"): value for option, value in table.items()}
    for option in DECIDED:
        if option in found:
            instead = {"seed": "list them as seeds", "virtual": "say way", "out": "say out above the tables"}
            how = instead.get(option, "leave it out")
            raise SettingsError(f"{path}: [{name}] has {option} = {found[option]!r}; {how}")
    return found


def _grid(content: Mapping[str, Any], path: Path, run: Mapping[str, Any]) -> dict[str, list[Any]]:
    grid = _options(content, "grid", path)
    for option in grid:
        if option in run:
            raise SettingsError(f"{path}: {option} is in [run] and in [grid]; leave it out of one of them")
    return {option: _list(values, f"[grid] {option}", path) for option, values in grid.items()}


def _list(values: Any, name: str, path: Path) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise SettingsError(f"{path}: {name} is {values!r}; expected a list of one value or more")
    for place, value in enumerate(values):
        if value in values[:place]:
            raise SettingsError(f"{path}: {name} has {value!r} twice; leave one out")
    return values


def _text(value: Any, name: str, path: Path) -> str:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{path}: {name} is {value!r}; expected a text")
    return value


def _points(run: Mapping[str, Any], grid: Mapping[str, list[Any]], seeds: list[Any], path: Path) -> tuple[Point, ...]:
    count = len(seeds)
    for values in grid.values():
        count *= len(values)
    if count > MOST_RUNS:
        raise SettingsError(f"{path} asks for {count} runs; at most {MOST_RUNS} are run")
    found = []
    for combination in product(*grid.values()):
        chosen = dict(zip(grid, combination, strict=True))
        for seed in seeds:
            found.append(Point({**chosen, "seed": seed}, {**run, **chosen, "seed": seed}))
    return tuple(found)


def _check(way: Any, point: Point, path: Path) -> None:
    """Raise SettingsError for a run whose settings cannot work, as far as that shows before it starts."""
    try:
        given = given_for(way, point.settings)
        options = given.make(SimulationSettings)
        task = load_task(given["task"])
        clients = options.clients or DEFAULT_CLIENTS
        if options.data is None:
            divide(task, None, options.clients, options.partition, given["seed"], options.spam_label)
        else:
            _check_data(options.data, options.partition)
        if options.data is None or task.corpus is not None or options.clients is not None:
            settings_of = settings_of_virtual if way == VIRTUAL else settings_of_parties
            settings_of(given, options, task, clients)
    except GrokfedError as error:
        raise SettingsError(f"{path}: {point}: {error}") from error


def _check_data(data: Path, partition: str | None) -> None:
    if partition is not None:
        check_partition(partition)
    if not data.expanduser().exists():
        raise SettingsError(f"--data is {str(data)!r}, and there is nothing")
