"""The comparison that a federation has to stand: all mail in one place, the same model, as many passes as rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.tasks.task import GENERATED, Task, local_training
from core.training import Sums, evaluate
from simulation.plan import Plan


def train_in_one_place(task: Task, plan: Plan, passes: int, seed: int) -> Sums:
    """Train one model on every client's examples together and judge it on the same test data."""
    examples = [
        example
        for number, source in enumerate(plan.sources, start=1)
        for example in (task.generate(seed, number) if source == GENERATED else task.read(Path(source)).examples)
    ]
    data = task.prepare(examples)
    model = task.build(np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1])
    for _ in range(passes):
        local_training(task, model, data, rng)
    return evaluate(model, task.load_test(plan.test, seed, plan.clients).data, task.loss, task.correct)
