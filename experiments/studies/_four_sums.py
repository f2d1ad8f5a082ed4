"""Four sums of allowed cohorts that combine to one client's update, if all start from one model.

    v + A + B - (A + C) + (C + D) - (B + D) = v

With groups of half the minimum cohort, rounded up, every sum has enough clients, and any two differ by enough. Training
is the same for the same model, seed and round, so each client sends the same in each run that begins with that model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from book.run import Run
from core.data.text import Bags
from core.federated import client_update, encoding_for, initial_model
from core.secagg.scheme import PAILLIER, PublicKey
from core.tasks.spam import SPAM
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.roc import auc
from experiments.studies._columns import cells
from experiments.studies._mailroom import Mailroom
from experiments.studies.sum_leakage import KEY_BITS, MAILS, Training, by_use
from experiments.study import Row
from keyholder.difference import exposed_by

VICTIM = 0
SIGNS = (1, -1, 1, -1)
Cohort = tuple[int, ...]


def four_cohorts(min_cohort: int) -> tuple[Cohort, ...]:
    """Return the clients of the four sums, numbered from 0, which is the victim."""
    half = -(-min_cohort // 2)
    a, b, c, d = (tuple(range(1 + part * half, 1 + (part + 1) * half)) for part in range(4))
    return (VICTIM, *a, *b), (*a, *c), (*c, *d), (*b, *d)


def row_of(run: Run, room: Mailroom, training: Training, min_cohort: int, stream: int) -> Row:
    """Return what the four sums give if a model may be used again, and if each needs a model of its own."""
    cohorts = four_cohorts(min_cohort)
    allowed = [
        not exposed_by(frozenset(map(str, cohort)), [("run", 1, frozenset(map(str, other)))], min_cohort)
        for cohort in cohorts
        for other in cohorts
    ]
    found = [_repeat(run, room, training, cohorts, (stream, number)) for number in range(run.pick(10, 5))]
    return {
        "what": f"four sums of one model, {'allowed' if all(allowed) else 'refused'} as pairs; {training.name}",
        "clients": 1 + max(map(max, cohorts)),
        "min cohort": min_cohort,
        **cells(found),
    }


def _repeat(
    run: Run, room: Mailroom, training: Training, cohorts: Sequence[Cohort], stream: tuple[int, ...]
) -> Mapping[str, float]:
    start = initial_model(SPAM, run.seed)
    count = 1 + max(map(max, cohorts))
    encoding = encoding_for(SPAM, len(start), PublicKey(PAILLIER, KEY_BITS).plaintext_bits, count)
    clients: list[Bags] = [room.data_of(rows) for rows in room.deal(count, MAILS, run.rng(6, *stream))]
    used = set(clients[VICTIM].indices.tolist())

    def summed(model: FloatArray, cohort: Cohort, round_number: int) -> IntArray:
        """Return the sum of what a cohort sends in a round, as integers, shape (weights,)."""
        sent = [
            encoding.quantise(
                client_update(training.task, model, clients[i], run.rng(7, *stream, round_number, i)).delta
            )
            for i in cohort
        ]
        total: IntArray = np.sum(sent, axis=0)
        return total

    truth = summed(start, (VICTIM,), 1)
    again = _combined(lambda cohort, _: summed(start, cohort, 1), cohorts)
    models = [start]
    for number, cohort in enumerate(cohorts, start=1):
        step = summed(models[-1], cohort, number) * 2.0**-encoding.fraction_bits / len(cohort)
        models.append(models[-1] + step)
    once = _combined(lambda cohort, place: summed(models[place], cohort, place + 1), cohorts)
    moved = truth != 0
    return {
        "exact, off": float((again == truth)[moved].mean()),
        "exact, on": float((once == truth)[moved].mean()),
        "AUC, off": auc(*by_use(np.abs(again[:-1]).astype(np.float64), used)),
        "AUC, on": auc(*by_use(np.abs(once[:-1]).astype(np.float64), used)),
    }


def _combined(sum_of: Callable[[Cohort, int], IntArray], cohorts: Sequence[Cohort]) -> IntArray:
    """Add and subtract the four sums."""
    signed = [sign * sum_of(cohort, place) for place, (sign, cohort) in enumerate(zip(SIGNS, cohorts, strict=True))]
    total: IntArray = np.sum(signed, axis=0)
    return total
