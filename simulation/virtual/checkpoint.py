"""What a run with virtual clients needs to go on: its newest model and the rounds so far, in one file of its folder."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.commands import command_of
from core.errors import DataError
from core.finite_json import dumps
from core.parameters import load_npz, save_npz
from simulation.virtual.run import VirtualResult, VirtualRun

FILE = "checkpoint.npz"
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Checkpoint:
    """A run after some rounds.

    Attributes:
        vector: its model and what the server's rule remembers (VirtualRun.vector).
        results: the rounds.
        now: the simulated seconds that have passed.
    """

    vector: FloatArray
    results: tuple[VirtualResult, ...]
    now: float


def save_checkpoint(folder: Path, run: VirtualRun) -> None:
    """Write down where a run is, whole or not at all. Raises StorageError."""
    said = dumps({"results": [asdict(each) for each in run.results], "now": run.now})
    rounds = np.frombuffer(said.encode(), dtype=np.uint8)
    save_npz(folder / FILE, {"vector": run.vector, "rounds": rounds})


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Read where a run was; None if it was interrupted before its first round was over. Raises DataError."""
    path = folder / FILE
    if not path.exists():
        return None
    arrays = load_npz(path)
    damaged = f"{path} is damaged: the run cannot go on from it; {command_of('results')} repeat runs it again"
    try:
        vector = np.asarray(arrays["vector"], dtype=np.float64)
        said = json.loads(bytes(arrays["rounds"].astype(np.uint8)))
        found = Checkpoint(vector, tuple(_result(each) for each in said["results"]), float(said["now"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(damaged) from error
    numbers = list(range(1, len(found.results) + 1))
    if vector.ndim != 1 or not math.isfinite(found.now) or [each.round for each in found.results] != numbers:
        raise DataError(damaged)
    return found


def _result(said: dict[str, Any]) -> VirtualResult:
    known = {each.name for each in fields(VirtualResult)}
    if not set(said) <= known:
        raise ValueError
    values: dict[str, Any] = {name: math.nan if value is None else value for name, value in said.items()}
    return VirtualResult(**values)
