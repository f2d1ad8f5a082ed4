"""Arrays as a dataset, and its three parts."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.arrays import ArrayDataset
from core.errors import DataError
from core.losses import mse
from core.nn import Linear
from core.optim import SGD
from core.training import evaluate, train_epoch


def numbered(examples: int) -> ArrayDataset:
    return ArrayDataset(np.arange(examples)[:, None], np.arange(examples) * 10)


def test_examples_are_taken_by_row() -> None:
    inputs, targets = numbered(5).batch(np.array([3, 1]))
    assert (inputs.tolist(), targets.tolist()) == ([[3], [1]], [30, 10])
    assert len(ArrayDataset([[1.0, 2.0]], [1.0])) == 1


def test_a_split_deals_every_example_to_exactly_one_part() -> None:
    parts = numbered(100).split(validation=0.2, test=0.3, rng=0)
    assert [len(part) for part in (parts.training, parts.validation, parts.test)] == [50, 20, 30]
    dealt = np.concatenate([part.arrays[1] for part in parts])
    assert sorted(dealt.tolist()) == [number * 10 for number in range(100)]
    assert (parts.training.arrays[0][:, 0] * 10 == parts.training.arrays[1]).all()


def test_a_split_is_random_and_repeats_with_its_seed() -> None:
    first, again, other = (numbered(50).split(rng=seed).test.arrays[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_part_of_no_share_is_empty() -> None:
    assert [len(part) for part in numbered(3).split(validation=0, test=0, rng=0)] == [3, 0, 0]


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.1), (0.1, 1.0), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_on_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="leave none for training"):
        numbered(10).split(validation=validation, test=test, rng=0)


def test_too_few_examples_for_three_parts_are_refused() -> None:
    with pytest.raises(DataError, match="4 examples are too few"):
        numbered(4).split(validation=0.1, test=0.1, rng=0)


@pytest.mark.parametrize(("inputs", "targets"), [([1, 2], [1]), (1, 2), ([], 1)])
def test_arrays_of_different_lengths_are_no_dataset(inputs: object, targets: object) -> None:
    with pytest.raises(DataError, match="no rows in common"):
        ArrayDataset(inputs, targets)


def test_a_pair_of_arrays_is_no_dataset_and_the_error_says_what_makes_one() -> None:
    model = Linear(1, 1, rng=0)
    pair: object = (np.ones((3, 1)), np.ones((3, 1)))
    for use in (
        lambda data: train_epoch(model, data, mse, SGD(model.parameters(), 0.1), 2, 0),
        lambda data: evaluate(model, data, mse, lambda outputs, targets: 0),
    ):
        with pytest.raises(TypeError, match=r"not a tuple: ArrayDataset\(inputs, targets\) makes one"):
            use(pair)
        use(ArrayDataset(*pair))
