"""How clients train in a run, where it is asked to be other than the task says: part of each round's description.

The schedule multiplies the learning rate in round r, counted from 1:

    constant           1
    cosine:R           (1 + cos(pi (r - 1) / R)) / 2, which comes near 0 in round R
    step:N:FACTOR      FACTOR^floor((r - 1) / N)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Annotated

from core.errors import SettingsError
from core.settings.setting import Bounds, Setting, Settings

CONSTANT = "constant"
LARGEST_RATE, MOST_STEPS, LARGEST_BATCH, LARGEST_MU = 1e6, 1_000_000, 1 << 24, 1e6
SCHEDULES = "constant, cosine, or step:N:FACTOR, such as step:5:0.5"


class OptimiserName(StrEnum):
    """How weights follow their gradients."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAM = "adam"


@dataclass(frozen=True, kw_only=True)
class LocalSettings(Settings):
    """What a run changes in its clients' training; what is None is as the task says.

    Raises SettingsError when made with values that cannot work.
    """

    learning_rate: Annotated[
        float | None,
        Setting("Learning rate of clients; default the task's.", bounds=Bounds(above=0, at_most=LARGEST_RATE)),
    ] = None
    lr_schedule: Annotated[
        str | None,
        Setting(
            "How the learning rate changes over rounds: constant, cosine (to 0 at the end), or step:N:FACTOR (times "
            "FACTOR every N rounds)."
        ),
    ] = None
    local_epochs: Annotated[
        int | None,
        Setting(
            "Passes of a client over its data in a round; default the task's.",
            "passes",
            Bounds(at_least=1, at_most=MOST_STEPS),
        ),
    ] = None
    local_steps: Annotated[
        int | None,
        Setting(
            "Batches that a client trains on in a round, instead of passes.",
            "batches",
            Bounds(at_least=1, at_most=MOST_STEPS),
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        Setting("Examples in a batch; default the task's.", "examples", Bounds(at_least=1, at_most=LARGEST_BATCH)),
    ] = None
    optimiser: Annotated[
        OptimiserName | None,
        Setting("How clients' weights follow their gradients, momentum at 0.9; default the task's."),
    ] = None
    prox_mu: Annotated[
        float,
        Setting(
            "FedProx: pull clients' weights back to the global model by the gradient of MU/2 |w - w_global|^2; 0: no.",
            bounds=Bounds(at_least=0, at_most=LARGEST_MU),
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_epochs is not None and self.local_steps is not None:
            raise SettingsError(
                f"--local-epochs is {self.local_epochs} and --local-steps is {self.local_steps}; give one of the two"
            )
        if self.lr_schedule is not None:
            rate_factor(self.lr_schedule, 1)

    @classmethod
    def if_asked(
        cls,
        learning_rate: float | None,
        lr_schedule: str | None,
        local_epochs: int | None,
        local_steps: int | None,
        batch_size: int | None,
        optimiser: OptimiserName | None,
        prox_mu: float,
    ) -> LocalSettings | None:
        """Return what the options change; None if they change nothing. Raises SettingsError as the class does."""
        made = cls(
            learning_rate=learning_rate,
            lr_schedule=None if lr_schedule == CONSTANT else lr_schedule,
            local_epochs=local_epochs,
            local_steps=local_steps,
            batch_size=batch_size,
            optimiser=optimiser,
            prox_mu=prox_mu,
        )
        return None if made == cls() else made

    def over(self, rounds: int) -> LocalSettings:
        """Return the same with a schedule that knows its end, where it needs one."""
        return replace(self, lr_schedule=f"cosine:{rounds}") if self.lr_schedule == "cosine" else self

    def rate(self, own: float, round_number: int) -> float:
        """Return the learning rate of a round, counted from 1, of a task whose own it is."""
        base = own if self.learning_rate is None else self.learning_rate
        return base if self.lr_schedule is None else base * rate_factor(self.lr_schedule, round_number)

    @property
    def sentence(self) -> str:
        """What was asked, for people: learning-rate 0.1, local-epochs 2."""
        said = {name.replace("_", "-"): value for name, value in asdict(self).items() if value not in (None, 0.0)}
        return ", ".join(f"{name} {value}" for name, value in said.items())


def rate_factor(schedule: str, round_number: int) -> float:
    """Return what a schedule multiplies the learning rate by. Raises SettingsError if there is no such schedule."""
    name, *numbers = schedule.split(":")
    try:
        if name == CONSTANT and not numbers:
            return 1.0
        if schedule == "cosine":
            return 1.0  # the run's rounds are not known yet: `over` says them
        if name == "cosine" and len(numbers) == 1 and (rounds := int(numbers[0])) > 0:
            return (1 + math.cos(math.pi * min(round_number - 1, rounds) / rounds)) / 2
        if name == "step" and len(numbers) == 2:
            every, factor = int(numbers[0]), float(numbers[1])
            if every > 0 and 0 < factor <= 1:
                return float(factor ** ((round_number - 1) // every))
    except ValueError:
        pass
    raise SettingsError(f"--lr-schedule is {schedule!r}; expected {SCHEDULES}")
