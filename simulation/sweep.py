"""Run all runs of a sweep in parallel, skip those that are finished, and compare them in one table and one picture."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import GrokfedError, RunFailedError, SettingsError, StorageError
from core.wording import counted
from results.comparing import group_by
from results.ordering import Orders
from results.pictures import draw_curves, draw_last
from results.recording import absolute, as_json
from results.runs import COMPLETED, FAILED, VIRTUAL, Run, is_run, read_run
from results.tables import table_of, write_table
from simulation.sweep_file import DECIDED, Point, Sweep
from simulation.unchanged import Digest, changed_since, sha256_of, unlike
from simulation.values import given_for, known_options

TABLE, PICTURE = "table.csv", "picture.png"
MOST_CURVES = 7
"""Groups that are drawn as curves; of more, only the last rounds are."""
IGNORED = (*DECIDED, "workers")
"""Options that say nothing of what a run computes; the seed is in the name of its folder."""
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What came of a sweep.

    Attributes:
        rows: of the table, one for each combination of the grid.
        failed: why runs failed, by their folders' names.
    """

    folder: Path
    runs: list[Run] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: int = 0


def run_sweep(sweep: Sweep, workers: int, say: Say) -> Outcome:
    """Run what is not finished, and write table.csv and picture.png into the sweep's folder.

    Args:
        workers: runs at the same time.
        say: shows one line.

    Raises SettingsError if the folder has runs with other settings, data or task; StorageError.
    """
    try:
        sweep.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the sweep cannot be written to {sweep.out}: {error.strerror}") from error
    outcome, digest = Outcome(sweep.out), cache(sha256_of)
    waiting: list[tuple[Point, dict[str, Any]]] = []
    for point in sweep.points:
        order = _order(sweep, point, digest)
        if order is None:
            outcome.skipped += 1
        else:
            waiting.append((point, order))
    if outcome.skipped:
        say(f"{outcome.skipped} of {counted(len(sweep.points), 'run')} are finished")
    _run_all(sweep, waiting, workers, outcome, say)
    _compare(sweep, outcome)
    return outcome


def _order(sweep: Sweep, point: Point, digest: Digest) -> dict[str, Any] | None:
    """Return the settings to run a point with, or to go on with; None if it is finished."""
    folder = sweep.out / point.name
    fresh = {**point.settings, "out": str(folder.absolute())}
    if sweep.way == VIRTUAL:
        fresh.setdefault("workers", 1)
    if not (folder.is_dir() and is_run(folder)):
        return fresh
    run = read_run(folder)
    _check_same(sweep, point, run)
    if run.state != COMPLETED and sweep.way != VIRTUAL and run.state == FAILED:
        shutil.rmtree(folder)  # it has the record of this very run, and nothing that could go on
        return fresh
    if change := changed_since(run.record, digest):
        raise SettingsError(f"{folder} is of a run with other data: {change}; give another --out, or remove it")
    if run.state == COMPLETED:
        return None
    return {"resume": str(folder.absolute())}


def _check_same(sweep: Sweep, point: Point, run: Run) -> None:
    """Raise SettingsError if the run in a point's folder was started with other settings."""
    given = given_for(sweep.way, point.settings)
    for key, entry in known_options().items():
        if entry.option in IGNORED:
            continue
        wanted, found = as_json(absolute(given[key])), run.settings.get(entry.option)
        if run.way != sweep.way or wanted != found:
            name, old, new = (entry.option, found, wanted) if run.way == sweep.way else ("way", run.way, sweep.way)
            raise SettingsError(
                f"{run.folder} was run with {name} {old}, and the file says {new}; give another out, or remove it"
            )


# ------------------------------------------------------------------------------------------------ running


def _run_all(
    sweep: Sweep, waiting: Sequence[tuple[Point, Mapping[str, Any]]], workers: int, outcome: Outcome, say: Say
) -> None:
    """Run all that wait, several at a time; interrupted, end those that run, and raise what interrupted."""
    jobs: queue.SimpleQueue[tuple[Point, Mapping[str, Any]]] = queue.SimpleQueue()
    for job in waiting:
        jobs.put(job)
    done: queue.SimpleQueue[tuple[Point, str]] = queue.SimpleQueue()
    orders = [Orders(Path.cwd(), quiet=True) for _ in range(min(workers, len(waiting)))]
    threads = [threading.Thread(target=_work, args=(sweep.way, each, jobs, done), daemon=True) for each in orders]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, len(waiting) + 1):
            point, error = done.get()
            if error:
                outcome.failed[point.name] = error
            say(f"{number} of {len(waiting)}: {point}: {error or _said_of(sweep.out / point.name)}")
    finally:
        with suppress(queue.Empty):
            while True:
                jobs.get_nowait()
        for each in orders:
            each.close()


def _work(
    way: str,
    orders: Orders,
    jobs: queue.SimpleQueue[tuple[Point, Mapping[str, Any]]],
    done: queue.SimpleQueue[tuple[Point, str]],
) -> None:
    while True:
        try:
            point, settings = jobs.get_nowait()
        except queue.Empty:
            return
        try:
            orders.run(way, settings)
        except (GrokfedError, OSError, ValueError) as error:
            done.put((point, str(error) or "its process ended"))
        else:
            done.put((point, ""))


def _said_of(folder: Path) -> str:
    run = read_run(folder)
    seconds = run.record.get("wall_seconds") or 0.0
    return (
        f"accuracy {run.last_row.get('accuracy') or 0.0:.2%} after {counted(run.rounds_done, 'round')}, {seconds:.1f} s"
    )


# ------------------------------------------------------------------------------------------------ comparing


def _compare(sweep: Sweep, outcome: Outcome) -> None:
    """Write the table and the picture of all completed runs. Raises RunFailedError if there are none."""
    folders = [sweep.out / point.name for point in sweep.points]
    runs = [read_run(folder) for folder in folders if folder.is_dir() and is_run(folder)]
    outcome.runs = [run for run in runs if run.state == COMPLETED]
    if not outcome.runs:
        raise RunFailedError(
            f"no run of the sweep is completed; the first failed: {next(iter(outcome.failed.values()))}"
        )
    if change := unlike(run.record for run in outcome.runs):
        raise SettingsError(f"the runs in {sweep.out} are not of the same data: {change}; give another --out")
    groups = group_by(outcome.runs, sweep.grid)
    outcome.rows = table_of(groups)
    write_table(sweep.out / TABLE, outcome.rows)
    if len(groups) <= MOST_CURVES:
        draw_curves(sweep.out / PICTURE, groups)
    else:
        draw_last(sweep.out / PICTURE, groups)
