"""Something to learn whose result is known beforehand: client i adds 1 to weight i, by the product's own training.

    output = weight[i],  loss = 1000 - output,  one step of gradient descent at rate 1:  weight[i] += 1

So every slot of an honest sum is 0 or 1, and says of each client whether it is in the sum, and whether twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.nn import Module, Parameter
from core.ops import Array
from core.optim import SGD
from core.tasks import TASKS
from core.tasks.task import LocalTraining, Reading, Task
from core.tensor import Tensor

CLIP = 2.0
MARK = 1.0
"""What a client adds to its own weight. With this clip it is sent exactly."""


class Slots(Module):
    """One weight a client, shape (slots,), all 0 at the start."""

    def __init__(self, slots: int) -> None:
        self.weight = Parameter(np.zeros(slots))

    def forward(self, choices: Array) -> Tensor:
        """Return the chosen weights, shape (batch, 1), for choices of shape (batch, slots) that are 0 or 1."""
        return Tensor(choices) @ self.weight.reshape(-1, 1)


@dataclass(frozen=True)
class OwnSlot:
    """The data of one client: a single example that chooses its own weight."""

    slots: int
    number: int

    def __len__(self) -> int:
        return 1

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return choices of shape (len(rows), slots), and targets that are ignored."""
        choices = np.zeros((len(rows), self.slots))
        choices[:, self.number - 1] = 1.0
        return choices, np.zeros(len(rows))


def slot_task(slots: int) -> Task:
    """Return the task for up to `slots` clients, numbered from 1."""
    return Task(
        name=f"slots-{slots}",
        build=lambda _rng: Slots(slots),
        loss=lambda outputs, _targets: 1000.0 - outputs.mean(),
        correct=lambda outputs, _targets: len(outputs),
        read=lambda _path: Reading([]),
        generate=lambda _seed, number: [number],
        generate_test=lambda _seed, _clients: [1],
        prepare=lambda numbers: _prepared(slots, numbers),
        local=LocalTraining(learning_rate=1.0, optimiser=SGD),
        clip=CLIP,
    )


def _prepared(slots: int, numbers: Sequence[Any]) -> OwnSlot:
    (number,) = numbers
    return OwnSlot(slots, number)


@contextmanager
def known(task: Task) -> Iterator[Task]:
    """Let every party of this process know the task for a while; key holders look tasks up by name."""
    TASKS[task.name] = task
    try:
        yield task
    finally:
        TASKS.pop(task.name, None)
