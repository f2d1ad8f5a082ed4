"""Check a run's public record, with the registrar's key, and its model against the last one of the record."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.commands import command_of
from core.errors import DataError, SettingsError
from core.federated import load_model
from core.identity.party import read_card
from core.tasks import known_task
from core.tasks.own import load_task
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes
from core.wording import counted
from results.record import FILE, RoundRecord, read_record
from results.runs import FILE as RUN
from results.runs import VIRTUAL, read_run
from results.verifying import VerifiedRound, WrongRecordError, verify

KEY_BYTES = 32


@dataclass(frozen=True)
class Trust:
    """The registrar's public key, and where it is from."""

    key: bytes
    source: str


@dataclass(frozen=True)
class Holds:
    """A record that holds: its rounds, whether model.npz is the last of them, and whom that rests on."""

    rounds: tuple[VerifiedRound, ...]
    model: bool
    trust: Trust

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        key, model = self.trust.key.hex(), self.model
        return {
            "rounds": len(self.rounds),
            "holds": True,
            "model": model,
            "registrar": key,
            "message": self.sentences[0],
        }

    @property
    def sentences(self) -> tuple[str, str]:
        """What holds, and under which key, for people."""
        contributions = counted(sum(each.contributors for each in self.rounds), "contribution")
        last = (
            "model.npz is the last of them" if self.model else "there is no model.npz to compare with the last of them"
        )
        return (
            f"{counted(len(self.rounds), 'round')} with {contributions}: all signatures, sums and models hold; {last}",
            f"the registrar's key is {self.trust.key.hex()}, {self.trust.source}",
        )


def check(folder: Path, registrar: str | None, task: str | None = None) -> Holds:
    """Recompute a run from its public record. Raises WrongRecordError at what does not hold; DataError, SettingsError.

    Args:
        registrar: the registrar's public key in hexadecimal digits, or a party's folder; None: of the run's own folder.
        task: where the own task is that the run trained, if it is one.
    """
    _require_signers(folder)
    own = None if task is None else load_task(task)
    trust = trusted(folder, registrar)
    path = folder / FILE
    rounds = tuple(verify(read_record(path), trust.key, workers=os.cpu_count() or 1, own=own))
    return Holds(rounds, _check_model(folder, path, rounds[-1], own), trust)


def _require_signers(folder: Path) -> None:
    """Raise SettingsError for a run of virtual clients, which leaves no record that could be verified."""
    if (folder / RUN).exists() and not (folder / FILE).exists() and read_run(folder).way == VIRTUAL:
        raise SettingsError(
            f"{folder} is a run with virtual clients, in which no one signs anything: it has no {FILE}, so there is "
            f"nothing to verify; {command_of('results')} repeat runs it again and compares the models"
        )


def trusted(folder: Path, given: str | None) -> Trust:
    """Return the registrar's key as given, or of the run's own folder. Raises SettingsError."""
    if given is None:
        own = folder / "federation" / "server"
        if not own.exists():
            raise SettingsError(
                f"--registrar is needed: the public key of the run's registrar; {folder} has no federation folder to "
                "take it from"
            )
        return Trust(read_card(own).registrar, f"from {own}; compare it with the one that the registrar shows")
    if Path(given).is_dir():
        return Trust(read_card(Path(given)).registrar, f"from {given}")
    try:
        key = bytes.fromhex(given)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(f"--registrar is {given!r}; expected 64 hexadecimal digits, or a party's folder")
    return Trust(key, "as given")


def _check_model(folder: Path, path: Path, last: VerifiedRound, own: Task | None) -> bool:
    """Compare model.npz with the last model of the record; False if there is none. Raises WrongRecordError."""
    model = folder / "model.npz"
    if not model.exists():
        return False
    task = known_task(_task_of(next(read_record(path))), own)
    # through the arrays of the file, which may be of fewer digits than the vector that is averaged
    if not np.array_equal(load_model(model, task), task.vector_of(task.named_weights(last.model))):
        raise WrongRecordError(f"{model} is not the model of round {last.round} in {path.name}")
    return True


def _task_of(record: RoundRecord) -> str:
    order = pb.OpenSum()
    order.ParseFromString(record.order)
    if not order.list.round.description:
        raise DataError("the record has no description")
    return description_from_bytes(order.list.round.description).task
