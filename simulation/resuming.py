"""`--resume`: which run is to go on, with the settings it was started with, if nothing contradicts them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.commands import command_of
from core.errors import DataError, SettingsError
from core.new_paths import claim_again
from core.settings.command_line import Given
from results.recording import RunRecord, absolute, as_json
from results.runs import COMPLETED, FAILED, FILE, RUNNING, read_run
from simulation.keeper import IN_PROCESS, PROCESSES, Keeper
from simulation.unchanged import changed_since
from simulation.values import given_from, known_options

FREE = ("resume", "workers", "engine", "ray_address", "port")
"""Options that may be others when a run goes on: its model does not depend on them."""


def keeper_for(given: Given) -> Keeper:
    """Return the keeper of a new run; with --resume, that of the interrupted one, with its settings.

    Raises DataError or SettingsError, in one sentence, if that run cannot go on.
    """
    folder = given["resume"]
    if folder is None:
        return Keeper(given)
    folder = Path(folder).expanduser()
    record = _unfinished(folder)
    resumed = given_from({**record["settings"], "resume": str(folder)}, f"{folder / FILE}: ")
    given = _merged(given, resumed, folder)
    if change := changed_since(record):
        raise DataError(f"the run in {folder} cannot go on: {change}")
    if not claim_again(folder):
        raise DataError(f"the run in {folder} is still going on; end it first")
    return Keeper(given, record, folder)


def _unfinished(folder: Path) -> dict[str, Any]:
    """Return the record of a run that can go on."""
    if not folder.is_dir():
        raise DataError(f"--resume is {str(folder)!r}; there is no such folder")
    run = read_run(folder)
    if not run.record or not run.settings:
        why = run.problems[0] if run.problems else f"it has no {FILE}, which says what it was started with"
        raise DataError(f"the run in {folder} cannot go on: {why}")
    if run.state == COMPLETED:
        raise SettingsError(f"the run in {folder} is completed; {command_of('results')} repeat {folder} runs it again")
    if run.state == RUNNING:
        raise SettingsError(f"the run in {folder} is still going on; end it first")
    if run.way == PROCESSES:
        _check_parties(folder, run.record)
    if run.way == IN_PROCESS:
        _check_state(folder, run.rounds_done)
    return dict(run.record)


def _check_parties(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise SettingsError if the aggregator's own run has ended."""
    from simulation.going_on import ending_of

    status, message = ending_of(folder)
    if status == COMPLETED:  # it was killed between its last round and the last line of its record
        RunRecord.again(folder, record).end(COMPLETED)
        raise SettingsError(f"the run in {folder} is completed: only its record was not, and is now")
    if status == FAILED:
        raise SettingsError(f"the run in {folder} failed, and cannot go on: {message}")


def _check_state(folder: Path, rounds_done: int) -> None:
    """Raise SettingsError if a run in one process has failed, or the folder with the state of its parties is gone."""
    from simulation.going_on import ending_of
    from simulation.together import PARTIES

    status, message = ending_of(folder / PARTIES)
    if status == FAILED:
        raise SettingsError(f"the run in {folder} failed, and cannot go on: {message}")
    if rounds_done and not (folder / PARTIES).exists():
        raise SettingsError(f"the run in {folder} cannot go on: the state of its parties, {folder / PARTIES}, is gone")


def _merged(given: Given, resumed: Given, folder: Path) -> Given:
    """Return the run's own settings, with what may be others. Raises SettingsError for what contradicts them."""
    values = dict(resumed.values)
    for key in given.typed & known_options().keys():
        if key in FREE:
            values[key] = given[key]
            continue
        old, new = as_json(absolute(values[key])), as_json(absolute(given[key]))
        if old != new:
            option = known_options()[key].option
            raise SettingsError(
                f"--{option} is {new}, and the run in {folder} was started with {old}; leave it out to go on with it"
            )
    return Given(values, given.typed)
