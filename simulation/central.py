"""The comparison that a federation has to stand: all mail in one place, the same model, as many passes as rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from core.errors import DataError, GrokfedError, SettingsError
from core.federated import LocalTrainer, evaluate_model, initial_model
from core.local_settings import LocalSettings
from core.tasks.task import GENERATED, Task
from core.training import Dataset, Sums
from simulation.plan import Plan

TRIED = 2
"""Clients whose data is joined before a run, to see that it can be."""


def check_central(task: Task, plan: Plan, seed: int, asked: LocalSettings | None = None) -> None:
    """Raise SettingsError if the data of a task's clients cannot be joined in one place.

    That of the project's tasks can; of an own one, the data of two clients is joined, and trained on once.
    """
    if task.source is None:
        return
    try:
        data = _in_one_place(task, replace(plan, sources=plan.sources[:TRIED]), seed)
        LocalTrainer(task).update(initial_model(task, seed), data, np.random.default_rng(0), task.local_in(asked, 1))
    except GrokfedError as error:
        raise SettingsError(
            f"--central cannot join the data of the clients of {task.name}: {error}; leave --central out"
        ) from error


def train_in_one_place(task: Task, plan: Plan, passes: int, seed: int, asked: LocalSettings | None = None) -> Sums:
    """Train one model on every client's examples together and judge it on the same test data.

    Args:
        asked: what the run changes in its clients' training; None for nothing.

    Raises DataError if the data cannot be joined.
    """
    data = _in_one_place(task, plan, seed)
    model, trainer = initial_model(task, seed), LocalTrainer(task)
    rng = np.random.default_rng([seed, 1])
    for number in range(1, passes + 1):
        model = model + trainer.update(model, data, rng, task.local_in(asked, number)).delta
    return evaluate_model(task, model, task.load_test(plan.test, seed, plan.clients).data)


def _in_one_place(task: Task, plan: Plan, seed: int) -> Dataset:
    return task.prepare(
        joined(
            task.generate(seed, number) if source == GENERATED else task.read_labelled(source).examples
            for number, source in enumerate(plan.sources, start=1)
        )
    )


def joined(parts: Iterable[Any]) -> Any:
    """Return the examples of several clients as one: arrays as an array, lists as a list.

    Raises DataError if they are neither, or their shapes differ.
    """
    parts = list(parts)
    if all(isinstance(part, np.ndarray) for part in parts):
        try:
            return np.concatenate(parts)
        except ValueError as error:
            raise DataError(f"their arrays do not fit together: {error}") from error
    for part in parts:
        if not isinstance(part, Sequence) or isinstance(part, str):
            raise DataError(f"each is a {type(part).__name__}; expected a list of examples, or an array")
    return [example for part in parts for example in part]
