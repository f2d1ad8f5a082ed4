"""Run a run again with the same settings, and say whether its model has the same bytes, or what differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.commands import command_of
from core.errors import DataError
from results.comparing import PLACES, made_differently
from results.ordering import Orders
from results.recording import model_digest
from results.runs import FILE, Run, read_run


@dataclass(frozen=True)
class Repetition:
    """A run that was run again.

    Attributes:
        same: whether both models have the same bytes.
        differs: what differs of versions, processor, commit and data, each with both values.
        reasons: why the models of two such runs differ even on one machine; none if they are the same.
    """

    run: Run
    again: Run
    same: bool
    differs: dict[str, list[Any]]
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What came of it, for people."""
        if self.same:
            return f"the same bytes: the model of {self.again.folder} is that of {self.run.folder}"
        said = [f"{name} was {old or 'none'}, and is {new or 'none'}" for name, (old, new) in self.differs.items()]
        return f"other bytes than the model of {self.run.folder}: {'; '.join([*said, *self.reasons])}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        folders = {"run": str(self.run.folder), "again": str(self.again.folder)}
        return {**folders, "same": self.same, "differs": self.differs, "reasons": list(self.reasons)}


def repeat(run: Run, out: Path | None = None) -> Repetition:
    """Run it again, with the output to people on standard error.

    Raises DataError if its record does not say what it was started with, or it has no model; RunFailedError.
    """
    if not run.settings or not run.way:
        why = run.all_problems[0] if run.problems else f"it has no {FILE}, which says what it was started with"
        raise DataError(f"{run.folder} cannot be run again: {why}")
    before = model_digest(run.folder) if run.state != "completed" else run.record.get("model_sha256")
    if run.state != "completed" or not before:
        raise DataError(
            f"{run.folder} cannot be compared with: it is {run.state}, and only completed runs have a model"
        )
    settings = {option: value for option, value in run.settings.items() if option not in PLACES}
    if out is not None:
        settings["out"] = str(out.expanduser().absolute())
    with Orders(_working_folder(run)) as orders:
        again = read_run(orders.run(run.way, settings))
    same = again.record.get("model_sha256") == before
    differs = made_differently(run.record, again.record)
    return Repetition(run, again, same, differs, () if same else _reasons(run, differs))


def _working_folder(run: Run) -> Path:
    """Return the folder that relative paths of its settings are meant from, if it is still there."""
    folder = Path(str(run.record.get("working_folder", "")))
    return folder if folder.is_dir() else Path.cwd()


def _reasons(run: Run, differs: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    settings = run.settings
    if settings.get("clip-norm") is not None:
        found.append("the noise of differential privacy is drawn afresh for every run")
    if run.way == "processes" and settings.get("cohort") and settings.get("over-selection", 1) != 1:
        found.append("with --over-selection those updates count that come first, which time decides")
    if ":" in (task := str(settings.get("task"))):
        found.append(
            f"the task {task} is your own code, which may not be deterministic: "
            f"{command_of('simulation')} check-task {shlex.quote(task)} looks for that"
        )
    if not found and not differs:
        found.append("nothing that is recorded differs, which is a fault of ours")
    return tuple(found)
