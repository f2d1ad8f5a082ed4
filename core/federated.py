"""Where learning and protecting meet: federated averaging as pure functions (McMahan et al., AISTATS 2017).

    a client     update = train(model) - model, clipped and quantised by the encoding
    the server   model  = model + (sum of the updates) / (number of updates)

The parties call the pieces; `fed_avg` puts them together as the paper's Algorithm 1 does, without keys and messages:

    clients = {1: task.prepare(...), 2: task.prepare(...)}
    encoding = encoding_for(task, len(start), plaintext_bits=2016, max_cohort=2)
    for model in fed_avg(task, start, [clients] * rounds, partial(client_rng, seed), partial(add_updates, encoding)):
        print(evaluate_model(task, model, test).accuracy)

With privacy, the client's update is clipped as a whole instead and made noisy: see core/privacy/mechanism.py.

Every client counts the same, or, if a run says so, by its number of examples up to a cap. That number stays the
client's own secret either way: it travels inside the encrypted sum.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DataError, SettingsError
from core.optim import DivergedError
from core.parameters import from_vector, layout, load_npz, save_npz, to_vector
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism
from core.randomness import Rng
from core.secagg.encoding import METRIC_SLOTS, CohortSum, Encoding, Update
from core.tasks.task import Task, local_training
from core.training import Dataset, Sums, evaluate

FloatArray = npt.NDArray[np.float64]
VALUE_BITS = 16

Cohort = Mapping[int, Dataset]
"""The data of a round's clients, by the client's number."""
AddUp = Callable[[Sequence[Update]], CohortSum]
"""Makes the sum that is opened of the updates of a cohort, which come in the cohort's order."""


def initial_model(task: Task, seed: int) -> FloatArray:
    """Return the model before round 1, shape (values,). Same seed, same bytes, on every machine."""
    return to_vector(task.build(np.random.default_rng([seed, 0])))


def client_rng(seed: int, round_number: int, number: int) -> np.random.Generator:
    """Return the generator of one client's shuffling in one round, so that any round can be repeated exactly."""
    return np.random.default_rng([seed, round_number, number])


def client_update(task: Task, model: FloatArray, data: Dataset, rng: Rng) -> Update:
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
    """Return the plaintexts that a client encrypts, with a mechanism clipped and noisy.

    Then the sums over examples are 0: they would be exact, and tell of one client as much as the update may not.

    Raises DivergedError for an update, or a loss, that is not finite.
    """
    _require_finite(update)
    if mechanism is None:
        return encoding.encode(update)
    return encoding.encode_integers(mechanism.protect(update.delta, random_bytes))


def _require_finite(update: Update) -> None:
    """Raise DivergedError, before anything is encoded: clipped, an infinite number would look like another."""
    wrong = int(update.delta.size - np.isfinite(update.delta).sum())
    if wrong:
        raise DivergedError(
            f"the training diverged: {wrong} of the {update.delta.size} changes in this update are not finite; "
            "nothing was sent"
        )
    if not np.isfinite(update.loss):
        raise DivergedError(f"the training diverged: the loss is {update.loss}, which is not finite; nothing was sent")


def evaluate_model(task: Task, model: FloatArray, data: Dataset) -> Sums:
    """Judge a model, shape (values,), on data it was not trained on."""
    module = task.build(np.random.default_rng(0))
    from_vector(module, model)
    return evaluate(module, data, task.loss, task.correct)


def next_model(model: FloatArray, cohort: CohortSum) -> FloatArray:
    """Return the published rule: add the mean update.

    Raises Refused(BAD_SUM) if clients count by their examples and none had any: a sum of nothing has no mean.
    """
    return model + cohort.delta_sum / cohort.divisor


# ------------------------------------------------------------------------------------------------ the algorithm


def fed_avg(
    task: Task,
    model: FloatArray,
    cohorts: Iterable[Cohort],
    rng_of: Callable[[int, int], np.random.Generator],
    add_up: AddUp,
) -> Iterator[FloatArray]:
    """Yield the model after each round, shape (values,): FederatedAveraging, Algorithm 1 of McMahan et al. (2017).

    With `client_rng` and `add_updates` these are, to the bit, the models of encrypted and of plain runs.

    Args:
        model: before the first round, shape (values,).
        cohorts: the clients of each round; how they are selected is the caller's choice.
        rng_of: makes the generator of a client's shuffling, given the number of the round, from 1, and the client's.
        add_up: what is between the clients and the sum: the encoding, a privacy mechanism, an attack.
    """
    for number, cohort in enumerate(cohorts, start=1):
        model = federated_round(task, model, cohort, partial(rng_of, number), add_up)
        yield model


def federated_round(
    task: Task,
    model: FloatArray,
    cohort: Cohort,
    rng_of: Callable[[int], np.random.Generator],
    add_up: AddUp,
) -> FloatArray:
    """Play one round: every client updates the model on its own data, and the mean update makes the next model."""
    updates = [client_update(task, model, data, rng_of(client)) for client, data in cohort.items()]
    return next_model(model, add_up(updates))


def add_updates(encoding: Encoding, updates: Sequence[Update]) -> CohortSum:
    """Add up updates in the whole numbers of the protocol: clip, round to the one scale, weigh, add."""
    return add_plaintexts(encoding, [encoding.encode(update) for update in updates])


def add_plaintexts(encoding: Encoding, sent: Sequence[Sequence[int]]) -> CohortSum:
    """Add the clients' plaintexts as ciphertexts are added, and decode the sum.

    Raises Refused(BAD_SUM), as for a sum that was opened.
    """
    return encoding.decode([sum(column) for column in zip(*sent, strict=True)], len(sent))


# ------------------------------------------------------------------------------------------------ models and settings


def named_weights(task: Task, model: FloatArray) -> dict[str, npt.NDArray[Any]]:
    """Return the flat model, shape (values,), as named arrays in the shapes of the task's layers."""
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
    """Return the encoding: the task's clip decides the one scale, or the mechanism, if there is one.

    Raises SettingsError if a sum could overflow, or if clients with a mechanism are to count by their examples.
    """
    fraction_bits = VALUE_BITS - 1 - round(np.log2(task.clip))
    if mechanism is not None:
        fraction_bits = mechanism.fraction_bits
        if count_cap:
            raise SettingsError(f"count_cap is {count_cap}; with privacy it must be 0: counts would be summed exactly")
    return Encoding(values, plaintext_bits, max_cohort, VALUE_BITS, fraction_bits, count_cap)


def task_digest(task: Task) -> bytes:
    """Return SHA-256 of what must agree before updates are added: weights, shapes, clip, slots."""
    shapes = layout(task.build(np.random.default_rng(0)))
    return hashlib.sha256(repr((task.name, shapes, task.clip, VALUE_BITS, METRIC_SLOTS)).encode()).digest()
