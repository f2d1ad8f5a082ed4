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
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import DataError, GrokfedError, SettingsError
from core.optim import DivergedError
from core.parameters import load_npz, save_npz
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism
from core.proven_bounds import largest_square, shortened
from core.randomness import Rng
from core.secagg.encoding import METRIC_SLOTS, CohortSum, Encoding
from core.task_identity import TaskIdentity
from core.tasks.own import own_code
from core.tasks.task import LocalTraining, Task
from core.training import Dataset, Sums
from core.update import Update

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
VALUE_BITS = 16

Cohort = Mapping[int, Dataset]
"""The data of a round's clients, by the client's number."""
AddUp = Callable[[Sequence[Update]], CohortSum]
"""Makes the sum that is opened of the updates of a cohort, which come in the cohort's order."""


def initial_model(task: Task, seed: int) -> FloatArray:
    """Return the model before round 1, shape (values,). Same seed, same bytes, on every machine."""
    with own_code(task, "the initial model"):
        return task.initial_model(seed)


def client_rng(seed: int, round_number: int, number: int) -> np.random.Generator:
    """Return the generator of one client's shuffling in one round, so that any round can be repeated exactly."""
    return np.random.default_rng([seed, round_number, number])


class LocalTrainer:
    """Trains copies of the global model on clients' data; one trainer serves any number of clients, one at a time."""

    def __init__(self, task: Task) -> None:
        self._task = task
        with own_code(task, "the model"):
            self._train = task.trainer()

    def update(self, model: FloatArray, data: Dataset, rng: Rng, local: LocalTraining | None = None) -> Update:
        """Train a copy of `model`, shape (values,), on one client's data and give the change.

        Args:
            local: how to train; by default as the task says.

        Raises TaskError if the code of a task of a user's own fails.
        """
        # a model that diverges is reported as an error
        with own_code(self._task, "training"), np.errstate(over="ignore", invalid="ignore"):
            return self._train(model, data, rng, local or self._task.local)

    def examples(self, data: Dataset) -> int:
        """Return how many examples training goes through in one pass, sequences of characters for instance."""
        return len(self._task.shuffled(data))


def client_update(task: Task, model: FloatArray, data: Dataset, rng: Rng, local: LocalTraining | None = None) -> Update:
    """Train a copy of `model`, shape (values,), on one client's data and give the change."""
    return LocalTrainer(task).update(model, data, rng, local)


def encode_update(
    encoding: Encoding, update: Update, mechanism: Mechanism | None, random_bytes: RandomBytes = os.urandom
) -> list[int]:
    """Return the plaintexts that a client encrypts. Raises as `slots_of_update`."""
    return encoding.pack(slots_of_update(encoding, update, mechanism, random_bytes))


def slots_of_update(
    encoding: Encoding,
    update: Update,
    mechanism: Mechanism | None,
    random_bytes: RandomBytes = os.urandom,
    largest_norm: float | None = None,
    clip_factor: float = 1.0,
) -> IntArray:
    """Return the numbers that a client packs, shape (leading_slots + values,); with a mechanism clipped and noisy.

    Then the sums over examples are 0: they would be exact, and tell of one client as much as the update may not.

    Args:
        largest_norm: the L2 norm that the round bounds each update to; longer ones are shortened.
        clip_factor: where the clip adapts, by what the mechanism's is multiplied in this round.

    Raises DivergedError for an update, or a loss, that is not finite; GrokfedError for noise that does not fit.
    """
    _require_finite(update)
    if mechanism is None:
        return encoding.slots_of(update if largest_norm is None else shortened(update, encoding, largest_norm))
    noisy = mechanism.protect(update.delta, random_bytes, clip_factor)
    if largest_norm is not None and int((noisy * noisy).sum()) > largest_square(largest_norm, encoding, mechanism):
        raise GrokfedError("the noise is longer than can be proven, as happens once in 10^12 rounds; nothing was sent")
    return encoding.slots_of_integers(noisy)


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
    with own_code(task, "judging a model"):
        return task.evaluate_model(model, data)


def next_model(model: FloatArray, cohort: CohortSum) -> FloatArray:
    """Return the published rule: add the mean update.

    Raises Refused(BAD_SUM) if clients count by their examples and none had any: a sum of nothing has no mean.
    """
    return model + mean_update(cohort)


def mean_update(cohort: CohortSum, mechanism: Mechanism | None = None) -> FloatArray:
    """Return the mean update of an opened sum, shape (values,). Raises as `next_model`.

    With a mechanism whose clip adapts, the last number is the share of updates that were within it.
    """
    mean = cohort.delta_sum / cohort.divisor
    if mechanism is not None and mechanism.half_bit:
        mean[-1] = mechanism.share_within(float(mean[-1]))
    return mean


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
    return task.named_weights(model)


def save_model(path: Path, task: Task, model: FloatArray) -> None:
    """Write a model as an .npz file of named arrays. Raises StorageError if that fails."""
    save_npz(path, named_weights(task, model))


def load_model(path: Path, task: Task) -> FloatArray:
    """Read what save_model() wrote, shape (values,). Raises DataError if it is not a model of this task."""
    arrays = load_npz(path)
    found = {name: array.shape for name, array in arrays.items()}
    if found != dict(task.layout()):
        raise DataError(f"{path} is not a model of the task {task.name!r}: it holds {found}")
    try:
        return task.vector_of(arrays)
    except ValueError as error:
        raise DataError(f"{path} is not a model of the task {task.name!r}: {error}") from error


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


def task_identity(task: Task) -> TaskIdentity:
    """Return what must agree of a task besides its name before updates are added."""
    shapes = task.layout()
    values = sum(prod(shape) for _, shape in shapes)
    source = b"" if task.source is None else task.source.digest
    return TaskIdentity(values, hashlib.sha256(repr(shapes).encode()).digest(), task.clip, source)


def identity_in_rounds(task: Task) -> TaskIdentity | None:
    """Return what a round's description says of a task besides its name; nothing for tasks of the project."""
    return None if task.source is None else task_identity(task)


def task_digest(task: Task) -> bytes:
    """Return SHA-256 of what must agree before updates are added: weights, shapes, clip, slots, source."""
    source = () if task.source is None else (task.source.digest.hex(),)
    said = (task.name, task.layout(), task.clip, VALUE_BITS, METRIC_SLOTS, *source)
    return hashlib.sha256(repr(said).encode()).digest()
