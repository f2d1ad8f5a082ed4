"""A task of exactly 10,000 weights and next to no training, to time what a federation costs besides learning.

python -m benchmarks.ten_thousand simulation --task ten-thousand ...     (started by benchmarks/rounds.py)
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import stopwatch
from core.losses import mse
from core.nn import Module, Parameter
from core.tasks import TASKS
from core.tasks.task import LocalTraining, Reading, Task
from core.tensor import Tensor, as_tensor
from simulation import processes
from simulation.fork_server import run_party

NAME = "ten-thousand"
WEIGHTS = 10_000
EXAMPLES = 32
FloatArray = npt.NDArray[np.float64]


class Row(Module):
    """One output: inputs @ weights, for inputs of shape (examples, 10,000)."""

    def __init__(self) -> None:
        self.weights = Parameter(np.zeros(WEIGHTS))

    def forward(self, inputs: FloatArray) -> Tensor:
        return (as_tensor(inputs) * self.weights).sum(axis=1)


@dataclass(frozen=True)
class Points:
    """Random inputs, shape (examples, 10,000), each of about unit length, and what they should give."""

    inputs: FloatArray
    targets: FloatArray

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        return self.inputs[rows], self.targets[rows]


def _prepare(seeds: Sequence[int]) -> Points:
    inputs = np.random.default_rng(list(seeds)).normal(0, WEIGHTS**-0.5, (EXAMPLES, WEIGHTS))
    return Points(inputs, inputs.sum(axis=1))


TEN_THOUSAND = Task(
    name=NAME,
    build=lambda _rng: Row(),
    loss=mse,
    correct=lambda outputs, targets: int((abs(outputs - targets) < 0.5).sum()),
    read=lambda _path: Reading([]),
    generate=lambda seed, number: [seed, number],
    generate_test=lambda seed, _clients: [seed, 0],
    prepare=_prepare,
    local=LocalTraining(learning_rate=0.01),
    clip=1.0,
)


if __name__ == "__main__":
    TASKS[NAME] = TEN_THOUSAND  # every party has to know it, so every party is started through here
    processes.PREFIX = ("benchmarks.ten_thousand",)
    if sys.argv[1] == "simulation":
        del sys.argv[1]
        runpy.run_module("simulation", run_name="__main__", alter_sys=True)
    else:
        if folder := os.environ.get(stopwatch.FOLDER):
            stopwatch.begin(Path(folder), sys.argv[1])
        sys.exit(run_party(sys.argv[1:]))
