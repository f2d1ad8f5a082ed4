"""The comparison that a federation has to stand: all mail in one place, the same model, as many passes as rounds."""

from __future__ import annotations

import numpy as np

from core.federated import LocalTrainer, evaluate_model, initial_model
from core.local_settings import LocalSettings
from core.tasks.task import GENERATED, Task
from core.training import Sums
from simulation.plan import Plan


def train_in_one_place(task: Task, plan: Plan, passes: int, seed: int, asked: LocalSettings | None = None) -> Sums:
    """Train one model on every client's examples together and judge it on the same test data.

    Args:
        asked: what the run changes in its clients' training; None for nothing.
    """
    examples = [
        example
        for number, source in enumerate(plan.sources, start=1)
        for example in (task.generate(seed, number) if source == GENERATED else task.read_labelled(source).examples)
    ]
    data = task.prepare(examples)
    model, trainer = initial_model(task, seed), LocalTrainer(task)
    rng = np.random.default_rng([seed, 1])
    for number in range(1, passes + 1):
        model = model + trainer.update(model, data, rng, task.local_in(asked, number)).delta
    return evaluate_model(task, model, task.load_test(plan.test, seed, plan.clients).data)
