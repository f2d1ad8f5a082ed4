"""Federated averaging on a model of three weights: each number can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from recomputation import SPAM, plain_models

from core.errors import Reason, Refused
from core.federated import add_plaintexts, add_updates, client_rng, encoding_for, fed_avg
from core.losses import delta_rule
from core.nn import Linear
from core.optim import SGD
from core.secagg.encoding import CohortSum, Encoding, Update
from core.tasks.task import LocalTraining, Reading, Task
from simulation.in_process import play

START = np.zeros(3)


class Points:
    """Examples whose inputs all lie on one axis, with the target 1."""

    def __init__(self, axis: int, count: int = 1) -> None:
        self.inputs = np.eye(3)[[axis] * count]

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs[rows], np.ones((len(rows), 1))


# One step at the rate 1/4 moves the weight of the axis by (1 - weight) / 4 for each example.
AXES = Task(
    "axes",
    build=lambda rng: Linear(3, 1, bias=False, rng=rng),
    loss=delta_rule,
    correct=lambda outputs, targets: 0,
    read=lambda path: Reading(()),
    generate=lambda seed, number: (),
    generate_test=lambda seed, clients: (),
    prepare=lambda examples: Points(0),
    local=LocalTraining(0.25, optimiser=SGD),
    clip=2.0,
)


def encoding(count_cap: int = 0) -> Encoding:
    return encoding_for(AXES, 3, plaintext_bits=256, max_cohort=4, count_cap=count_cap)


def models(cohorts: Sequence[dict[int, Points]], count_cap: int = 0) -> list[list[float]]:
    averaged = fed_avg(AXES, START, cohorts, partial(client_rng, 0), partial(add_updates, encoding(count_cap)))
    return [model.tolist() for model in averaged]


def test_every_round_moves_the_model_by_the_mean_update() -> None:
    # Updates of round 1: 1/4 and 1/4, so half of that each; of round 2: (1 - 1/8) / 4 each.
    assert models([{1: Points(0), 2: Points(1)}] * 2) == [[1 / 8, 1 / 8, 0], [1 / 8 + 7 / 64, 1 / 8 + 7 / 64, 0]]


def test_a_round_is_of_its_own_cohort() -> None:
    assert models([{1: Points(0)}, {2: Points(2)}]) == [[1 / 4, 0, 0], [1 / 4, 0, 1 / 4]]


def test_with_a_cap_clients_count_by_their_examples_up_to_it() -> None:
    # Three examples move the weight by 3/4, and count two.
    (model,) = models([{1: Points(0), 2: Points(1, 3)}], count_cap=2)
    assert model == [0.25 / 3, 2 * 0.75 / 3, 0]


def test_updates_are_clipped_and_rounded_to_the_scale_of_the_protocol() -> None:
    # One step of the scale is 2^-14, and the largest change that can be proven is 31,726 steps.
    change = np.array([2.0**-16, 2.0**-14, 5.0])
    found = add_updates(encoding(), [Update(change, 1, 0.0, 0)])
    assert found.delta_sum.tolist() == [0, 2.0**-14, 31726 / 2**14]


def test_what_is_between_clients_and_sum_can_be_replaced() -> None:
    def twice(updates: Sequence[Update]) -> CohortSum:
        return add_plaintexts(encoding(), [encoding().encode(Update(2 * u.delta, 1, 0.0, 0)) for u in updates])

    (model,) = fed_avg(AXES, START, [{1: Points(0)}], partial(client_rng, 0), twice)
    assert model.tolist() == [1 / 2, 0, 0]


def test_a_sum_that_no_updates_give_is_refused() -> None:
    sent = [encoding().encode(Update(START, 1, 0.0, 0))] * 2
    with pytest.raises(Refused) as refused:
        add_plaintexts(encoding(), [sent[0], [2 * plaintext for plaintext in sent[1]]])
    assert refused.value.reason is Reason.BAD_SUM


def test_an_encrypted_federation_arrives_at_the_same_model_to_the_bit() -> None:
    federation = play(SPAM, clients=3, rounds=2, key_bits=256)
    assert federation.model is not None
    assert federation.model.tobytes() == plain_models([(1, 2, 3)] * 2)[-1].tobytes()
