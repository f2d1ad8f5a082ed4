"""What `python -m client budget` says: what each data set has cost in privacy, in all runs, and what is left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

from client.budget import FILE, Budget
from core.errors import DataError
from core.policy import Policy
from core.wording import counted


@dataclass(frozen=True)
class Spending:
    """What one data set has cost.

    Attributes:
        epsilon: at `delta`; infinite if a round had no privacy.
        max_epsilon: None if there is no limit.
    """

    dataset: str
    epsilon: float
    delta: float
    max_epsilon: float | None
    rounds: int
    runs: int

    def __str__(self) -> str:
        where = f"{self.dataset}: {counted(self.rounds, 'round')} of {counted(self.runs, 'run')}"
        if self.epsilon == inf:
            return f"{where}, not all of them with privacy: no epsilon bounds what it has cost"
        said = f"{where}, epsilon {self.epsilon:.4g} at delta {self.delta:g}"
        if self.max_epsilon is None:
            return f"{said}; there is no max-epsilon in policy.toml"
        return f"{said}; {max(0.0, self.max_epsilon - self.epsilon):.4g} of {self.max_epsilon:g} left"


def spending(folder: Path, policy: Policy, dataset: str | None = None) -> list[Spending]:
    """Return what the data sets of a budget have cost, or the one of this name.

    Raises DataError if there is no budget in the folder, StorageError if it is damaged.
    """
    if not (folder / FILE).is_file():
        raise DataError(f"there is no budget in {folder}: no round was charged yet, or it is kept elsewhere")
    with closing(Budget(folder)) as budget:
        return [
            Spending(
                each.dataset, policy.epsilon_of(each.cost), policy.delta, policy.max_epsilon, each.rounds, each.runs
            )
            for each in budget.spent()
            if dataset in (None, each.dataset)
        ]


def as_text(lines: Sequence[Spending]) -> str:
    """Return one line for each data set."""
    return "\n".join(map(str, lines)) or "no round was charged yet"


def as_json(lines: Sequence[Spending]) -> str:
    """Return one JSON object; an epsilon that has no bound is null."""
    datasets = [asdict(each) | {"epsilon": None if each.epsilon == inf else each.epsilon} for each in lines]
    return json.dumps({"datasets": datasets}, indent=2, allow_nan=False)
