"""What a federation must arrive at, computed in this process without any server, key or ciphertext."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.federated import (
    add_updates,
    client_rng,
    client_update,
    encoding_for,
    fed_avg,
    federated_round,
    initial_model,
)
from core.protocol import digest
from core.robust import Grouping
from core.tasks import get_task
from core.training import Dataset
from core.wire.streams import model_bytes

FloatArray = npt.NDArray[np.float64]
SPAM = get_task("spam")
VALUES = len(initial_model(SPAM, 0))


@functools.cache
def spam_of(seed: int, number: int) -> Dataset:
    """The made-up mail of one client, ready to train on; made once for all tests."""
    return SPAM.prepare(SPAM.generate(seed, number))


def next_spam_model(
    model: FloatArray,
    round_number: int,
    groups: Sequence[Sequence[int]],
    *,
    load: Callable[[int, int], Dataset] = spam_of,
    grouping: Grouping | None = None,
) -> FloatArray:
    """The model after one round without any protocol, given the numbers of the contributors of each sum."""
    encoding = encoding_for(SPAM, VALUES, plaintext_bits=224, max_cohort=64)
    add_up, rng_of = partial(add_updates, encoding), partial(client_rng, 0, round_number)
    if grouping is None:
        (cohort,) = groups
        return federated_round(SPAM, model, {client: load(0, client) for client in cohort}, rng_of, add_up)
    train = partial(client_update, SPAM, model)
    sums = [add_up([train(load(0, client), rng_of(client)) for client in group]) for group in groups]
    return model + grouping.mean([each.delta_sum / each.contributors for each in sums])


def plain_models(cohorts: Sequence[Sequence[int]], seed: int = 0, count_cap: int = 0) -> list[FloatArray]:
    """The spam model after each round, given the numbers of the clients whose updates are in each round's sum."""
    encoding = encoding_for(SPAM, VALUES, plaintext_bits=224, max_cohort=64, count_cap=count_cap)
    data = [{client: spam_of(seed, client) for client in cohort} for cohort in cohorts]
    return list(
        fed_avg(SPAM, initial_model(SPAM, seed), data, partial(client_rng, seed), partial(add_updates, encoding))
    )


def contributors(database: Path) -> list[list[int]]:
    """The numbers of the clients in each completed round's sum, from an aggregator's database."""
    query = (
        "SELECT round, client FROM submissions JOIN attempts USING (run, round, attempt) "
        "WHERE state = 'completed' AND bytes_up IS NOT NULL ORDER BY round, client"
    )
    cohorts: dict[int, list[int]] = {}
    for number, client in _rows(database, query):
        cohorts.setdefault(number, []).append(int(client.rpartition("-")[2]))
    return [cohorts[number] for number in sorted(cohorts)]


def check_every_model(database: Path, seed: int = 0) -> list[list[int]]:
    """Assert that every round's model is, to the bit, the one that its contributors give; returns who they were."""
    cohorts = contributors(database)
    stored = [row[0] for row in _rows(database, "SELECT sha256 FROM models WHERE round > 0 ORDER BY round")]
    assert len(stored) == len(cohorts)
    assert stored == [digest(model_bytes(model)) for model in plain_models(cohorts, seed)]
    return cohorts


def _rows(database: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
