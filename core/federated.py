"""Where learning and protecting meet: federated averaging as pure functions (McMahan et al., AISTATS 2017).

    a client     update = train(model) - model, clipped and quantised by the encoding
    the server   model  = model + (sum of the updates) / (number of updates)

With privacy, the client's update is clipped as a whole instead and made noisy: see core/privacy/mechanism.py.

Every client counts the same, or, if a run says so, by its number of examples up to a cap. That number stays the
client's own secret either way: it travels inside the encrypted sum.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DataError, SettingsError
from core.parameters import from_vector, layout, load_npz, save_npz, to_vector
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism
from core.secagg.encoding import METRIC_SLOTS, CohortSum, Encoding, Update
from core.tasks.task import Task, local_training
from core.training import Dataset, Sums, evaluate

FloatArray = npt.NDArray[np.float64]
VALUE_BITS = 16


def initial_model(task: Task, seed: int) -> FloatArray:
    """The model before round 1, shape (values,). Same seed, same bytes, on every machine."""
    return to_vector(task.build(np.random.default_rng([seed, 0])))


def client_rng(seed: int, round_number: int, number: int) -> np.random.Generator:
    """The generator of one client's shuffling in one round, so that any round can be repeated exactly."""
    return np.random.default_rng([seed, round_number, number])


def client_update(task: Task, model: FloatArray, data: Dataset, rng: np.random.Generator) -> Update:
    """Train a copy of `model`, shape (values,), on one client's data and give the change."""
    module = task.build(np.random.default_rng(0))
    from_vector(module, model)
    with np.errstate(over="ignore", invalid="ignore"):  # a model that diverges is reported as an error
        sums = local_training(task, module, data, rng)
    counts = (sums.correct, sums.positives, sums.true_positives)
    return Update(to_vector(module) - model, sums.examples, sums.loss, *counts)


def encode_update(
    encoding: Encoding, update: Update, mechanism: Mechanism | None, random_bytes: RandomBytes = os.urandom
) -> list[int]:
    """The plaintexts that a client encrypts, with a mechanism clipped and noisy.

    Then the sums over examples are 0: they would be exact, and tell of one client as much as the update may not.
    """
    if mechanism is None:
        return encoding.encode(update)
    return encoding.encode_integers(mechanism.protect(update.delta, random_bytes))


def evaluate_model(task: Task, model: FloatArray, data: Dataset) -> Sums:
    """Judge a model, shape (values,), on data it was not trained on."""
    module = task.build(np.random.default_rng(0))
    from_vector(module, model)
    return evaluate(module, data, task.loss, task.correct)


def next_model(model: FloatArray, cohort: CohortSum) -> FloatArray:
    """The published rule: add the mean update; nothing if clients count by their examples and none had any."""
    return model + cohort.delta_sum / cohort.divisor if cohort.divisor else model


def named_weights(task: Task, model: FloatArray) -> dict[str, npt.NDArray[Any]]:
    """The flat model, shape (values,), as named arrays in the shapes of the task's layers."""
    module = task.build(np.random.default_rng(0))
    from_vector(module, model)
    return {name: parameter.numpy() for name, parameter in module.named_parameters()}


def save_model(path: Path, task: Task, model: FloatArray) -> None:
    """Write a model as an .npz file of named arrays. Raises StorageError if that fails."""
    save_npz(path, named_weights(task, model))


def load_model(path: Path, task: Task) -> FloatArray:
    """Read what save_model() wrote, shape (values,). Raises DataError if it is not a model of this task."""
    arrays = load_npz(path)
    module = task.build(np.random.default_rng(0))
    found = {name: array.shape for name, array in arrays.items()}
    if found != dict(layout(module)):
        raise DataError(f"{path} is not a model of the task {task.name!r}: it holds {found}")
    try:
        module.load_state_dict(arrays)
    except ValueError as error:
        raise DataError(f"{path} is not a model of the task {task.name!r}: {error}") from error
    return to_vector(module)


def encoding_for(
    task: Task,
    values: int,
    plaintext_bits: int,
    max_cohort: int,
    count_cap: int = 0,
    mechanism: Mechanism | None = None,
) -> Encoding:
    """The encoding: the task's clip decides the one scale, or the mechanism, if there is one.

    Raises SettingsError if a sum could overflow, or if clients with a mechanism are to count by their examples.
    """
    fraction_bits = VALUE_BITS - 1 - round(np.log2(task.clip))
    if mechanism is not None:
        fraction_bits = mechanism.fraction_bits
        if count_cap:
            raise SettingsError(f"count_cap is {count_cap}; with privacy it must be 0: counts would be summed exactly")
    return Encoding(values, plaintext_bits, max_cohort, VALUE_BITS, fraction_bits, count_cap)


def task_digest(task: Task) -> bytes:
    """SHA-256 of what two parties must agree on before their numbers can be added: weights, shapes, clip, slots."""
    shapes = layout(task.build(np.random.default_rng(0)))
    return hashlib.sha256(repr((task.name, shapes, task.clip, VALUE_BITS, METRIC_SLOTS)).encode()).digest()
