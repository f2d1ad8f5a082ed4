"""The second form of a task: any code that trains a vector, of PyTorch or scikit-learn for example.

    BLOBS = VectorTask(name="blobs", clip=1.0, initial=initial, update=update, evaluate=evaluate, generate=generate)

    initial(seed) -> vector                    the same for the same seed, on every machine
    update(vector, data, rng) -> Update        Update(delta, examples, loss, correct): what training changed
    evaluate(vector, data) -> Sums             Sums(examples, loss, correct)

`rng` is a NumPy generator, and the only source of chance. Loss is a sum over examples, and that of an update is of the
model as it came. A task with `local` has its `update` called with a fourth argument, a LocalTraining: its own settings,
changed by what the run asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from core.errors import SettingsError, TaskError
from core.local_settings import LocalSettings
from core.ops import Array
from core.parameters import Layout
from core.randomness import Rng
from core.tasks.task import FloatArray, LocalTraining, Task, Trainer
from core.training import Dataset, Sums
from core.update import Update

WEIGHTS = "weights"
"""The name of the vector in a file."""


def no_model(*_: object) -> NoReturn:
    """Refuse to be a model of the core, which a task of this form has none of."""
    raise TaskError("this task trains by its own code, and has no model of the core")


BY_ITSELF = LocalTraining(1.0, optimiser=no_model)
"""Stands for the settings of a task whose update takes none."""


@dataclass(frozen=True, kw_only=True)
class VectorTask(Task):
    """A task whose training is code of its author's, of three functions.

    Attributes:
        initial: makes the untrained model of a seed, shape (values,).
        update: trains a copy of a model on one client's data.
        evaluate: judges a model on data it was not trained on.
    """

    initial: Callable[[int], Any]
    update: Callable[..., Update]
    evaluate: Callable[[FloatArray, Any], Sums]
    local: LocalTraining = BY_ITSELF
    build: Callable[..., NoReturn] = no_model
    loss: Callable[..., NoReturn] = no_model
    correct: Callable[..., NoReturn] = no_model

    def initial_model(self, seed: int) -> FloatArray:
        """Return the model before round 1, shape (values,). Raises TaskError if `initial` gives something else."""
        found = self.initial(seed)
        vector = np.asarray(found)
        if vector.ndim != 1 or not vector.size:
            raise TaskError(
                f"initial({seed}) of the task {self.name} gives {_said(found)}; expected a vector, an array of shape "
                "(values,)"
            )
        if vector.dtype != np.float64:
            raise TaskError(
                f"initial({seed}) of the task {self.name} gives {_said(found)}; expected float64: np.asarray(vector, "
                "np.float64)"
            )
        return vector.copy()

    def trainer(self) -> Trainer:
        """Return what trains clients: `update`, and a look at what it gives."""

        def train(model: FloatArray, data: Dataset, rng: Rng, local: LocalTraining) -> Update:
            more = (local,) if self.takes_settings else ()
            update = self.update(model.copy(), data, rng, *more)
            self._check(update, len(model))
            return update

        return train

    def evaluate_model(self, model: FloatArray, data: Dataset) -> Sums:
        """Judge a model, shape (values,). Raises TaskError if `evaluate` gives something else than Sums."""
        sums = self.evaluate(model.copy(), data)
        if not isinstance(sums, Sums):
            raise TaskError(
                f"evaluate of the task {self.name} gives {_said(sums)}; expected Sums(examples, loss, correct)"
            )
        return sums

    @property
    def takes_settings(self) -> bool:
        """Whether `update` is called with a LocalTraining."""
        return self.local.optimiser is not no_model  # a copy of a task, in another process, has the same function

    @property
    def trains_by_steps(self) -> bool:
        """Whether each step can be corrected: not in code of the task's author."""
        return False

    def layout(self) -> Layout:
        """Return the one array there is, and its shape."""
        return ((WEIGHTS, self.initial_model(0).shape),)

    def vector_of(self, arrays: Mapping[str, Array]) -> FloatArray:
        """Return the vector among named arrays. Raises ValueError if it is not finite."""
        vector = np.asarray(arrays[WEIGHTS], np.float64)
        if not np.isfinite(vector).all():
            raise ValueError("it has numbers that are not finite")
        return vector

    def named_weights(self, model: FloatArray) -> dict[str, Array]:
        """Return the vector, by the one name that there is."""
        return {WEIGHTS: model}

    def local_in(self, asked: LocalSettings | None, round_number: int) -> LocalTraining:
        """Return how clients train in one round. Raises SettingsError if the task takes no such settings."""
        if asked is None:
            return self.local
        if not self.takes_settings:
            raise SettingsError(
                f"the task {self.name} trains by its own code and takes no settings of local training, and the run "
                f"asks for {asked.sentence}; leave that out, or give the task `local` (docs/own-task.md)"
            )
        if asked.optimiser is not None or asked.prox_mu:
            raise SettingsError(
                f"the task {self.name} trains by its own code, which knows neither --optimiser nor --prox-mu, and the "
                f"run asks for {asked.sentence}"
            )
        return super().local_in(asked, round_number)

    def _check(self, update: Update, values: int) -> None:
        if not isinstance(update, Update):
            raise TaskError(
                f"update of the task {self.name} gives {_said(update)}; expected Update(delta, examples, loss, correct)"
            )
        delta = np.asarray(update.delta)
        if delta.shape != (values,):
            raise TaskError(
                f"update of the task {self.name} gives a delta of shape {delta.shape}; expected {(values,)}, as the "
                "model has"
            )
        if delta.dtype != np.float64:
            raise TaskError(
                f"update of the task {self.name} gives a delta of {delta.dtype}; expected float64: np.asarray(delta, "
                "np.float64)"
            )


def _said(found: object) -> str:
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype} of shape {found.shape}"
    return f"a {type(found).__name__}"
