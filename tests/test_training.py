"""Loops: batches, passes, sums, early stopping, on models small enough to follow by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.losses import binary_cross_entropy_with_logits, mse
from core.nn import Dropout, Linear, Module, Parameter, Sequential
from core.ops import Array
from core.optim import SGD, DivergedError, ExponentialDecay
from core.tensor import Tensor
from core.training import EarlyStopping, Pass, Plan, Sums, evaluate, minibatches, train, train_epoch


class Pairs:
    """Inputs and targets in two arrays, for the tests."""

    def __init__(self, inputs: Array, targets: Array) -> None:
        self.inputs, self.targets = np.asarray(inputs), np.asarray(targets)
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: Array) -> tuple[Array, Array]:
        self.asked.append(rows.tolist())
        return self.inputs[rows], self.targets[rows]


class Guess(Module):
    """Answers with the same number whatever is asked."""

    def __init__(self, number: float = 0.0) -> None:
        self.number = Parameter([number])

    def forward(self, inputs: Array) -> Tensor:
        return self.number.broadcast_to(len(inputs))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def close(outputs: Array, targets: Array) -> int:
    return int((abs(outputs - targets) < 0.5).sum())


# --- Batches ---


def test_minibatches_take_every_row_once_and_use_the_short_last_batch():
    batches = [rows.tolist() for rows in minibatches(7, 3, rng())]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert sorted(row for batch in batches for row in batch) == list(range(7))


def test_minibatches_are_shuffled_by_the_generator_alone():
    def order(seed: int) -> list[int]:
        return np.concatenate(list(minibatches(50, 8, rng(seed)))).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != list(range(50))


def test_no_rows_make_no_batches():
    assert list(minibatches(0, 3, rng())) == []


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 example, not 0"):
        list(minibatches(3, 0, rng()))


# --- Sums ---


def test_sums_add_up_and_divide_by_the_examples_seen():
    both = Sums(2, 3.0, 1) + Sums(6, 1.0, 5)
    assert both == Sums(8, 4.0, 6)
    assert both.accuracy == 0.75
    assert both.mean_loss == 0.5


def test_sums_over_nothing_have_no_accuracy():
    with pytest.raises(ValueError, match="over no examples"):
        _ = Sums(0, 0.0, 0).accuracy


# --- One pass ---


def test_one_step_for_each_batch():
    """Batches of 2 and 1 with target 1: the guess moves by 0.25 * 2 * (1 - guess) twice."""
    model, data = Guess(), Pairs(np.zeros(3), np.ones(3))
    loss = train_epoch(model, data, mse, SGD(model.parameters(), lr=0.25), 2, rng())
    assert model.number.item() == pytest.approx(0.75)
    assert loss == pytest.approx((2 * 1.0 + 1 * 0.25) / 3)
    assert [len(rows) for rows in data.asked] == [2, 1]


def test_a_pass_trains_in_training_mode_even_after_an_evaluation():
    class Probe(Guess):
        def forward(self, inputs: Array) -> Tensor:
            modes.append(self.training)
            return super().forward(inputs)

    modes: list[bool] = []
    model = Sequential(Probe(), Dropout(0.5, rng=rng())).eval()
    train_epoch(model, Pairs(np.zeros(2), np.ones(2)), mse, SGD(model.parameters(), lr=0.1), 1, rng())
    assert modes == [True, True]
    assert all(module.training for module in model.modules())


def test_a_batch_larger_than_the_data_trains_on_all_of_it():
    model, data = Guess(), Pairs(np.zeros(3), np.array([0.0, 1.0, 2.0]))
    train_epoch(model, data, mse, SGD(model.parameters(), lr=0.5), 100, rng())
    assert model.number.item() == pytest.approx(1)


def test_a_pass_over_no_examples_changes_nothing():
    model = Guess(5.0)
    assert train_epoch(model, Pairs(np.zeros(0), np.zeros(0)), mse, SGD(model.parameters(), lr=1), 4, rng()) == 0
    assert model.number.item() == 5


def test_equal_seeds_train_equal_models():
    def trained() -> Array:
        model = Linear(2, 1, rng=rng(3))
        data = Pairs(rng(4).normal(size=(20, 2)), rng(5).normal(size=(20, 1)))
        train_epoch(model, data, mse, SGD(model.parameters(), lr=0.1), 3, rng(6))
        return model.weight.data

    np.testing.assert_array_equal(trained(), trained())


def test_training_that_diverges_is_reported():
    model, data = Guess(), Pairs(np.zeros(40), np.ones(40))
    with pytest.raises(DivergedError, match="training diverged: the loss of step 4"):
        train_epoch(model, data, mse, SGD(model.parameters(), lr=6.0), 1, rng())


def test_an_overflow_is_reported_as_divergence_not_as_a_warning():
    model, data = Guess(1e200), Pairs(np.zeros(1), np.ones(1))
    with pytest.raises(DivergedError, match="step 1 is inf"):
        train_epoch(model, data, mse, SGD(model.parameters(), lr=1.0), 1, rng())


def test_a_linear_model_learns_a_line():
    model = Linear(1, 1, rng=rng())
    inputs = np.linspace(-1, 1, 40)[:, None]
    data, optimiser = Pairs(inputs, 3 * inputs + 2), SGD(model.parameters(), lr=0.1)
    for _ in range(60):
        train_epoch(model, data, mse, optimiser, 4, rng(1))
    assert (model.weight.item(), model.bias.item()) == pytest.approx((3, 2), abs=1e-3)


# --- Evaluation ---


def test_evaluation_sums_over_batches_of_different_sizes():
    data = Pairs(np.zeros(5), np.array([0.0, 0.0, 0.0, 2.0, 2.0]))
    assert evaluate(Guess(0.0), data, mse, close, batch_size=2) == Sums(5, 8.0, 3)
    assert data.asked == [[0, 1], [2, 3], [4]]


def test_evaluation_drops_nothing_records_nothing_and_keeps_the_mode():
    class Probe(Guess):
        def forward(self, inputs: Array) -> Tensor:
            outputs = super().forward(inputs)
            assert not self.training
            assert not outputs.requires_grad
            return outputs

    for mode in (True, False):
        model = Sequential(Probe(1.0), Dropout(0.5, rng=rng())).train(mode)
        assert evaluate(model, Pairs(np.zeros(50), np.ones(50)), mse, close).mean_loss == 0
        assert all(module.training == mode for module in model.modules())


def test_evaluation_of_nothing_is_zero_sums():
    assert evaluate(Guess(), Pairs(np.zeros(0), np.zeros(0)), mse, close) == Sums(0, 0.0, 0)


# --- Early stopping ---


def test_stopping_waits_for_its_patience_and_restores_the_best_weights():
    model = Guess()
    stopping = EarlyStopping(model, patience=2)
    verdicts = []
    for number, loss in enumerate([5.0, 3.0, 4.0, 3.0]):
        model.number.data[...] = number
        verdicts.append(stopping.should_stop(loss))
    assert verdicts == [False, False, False, True]
    stopping.restore()
    assert model.number.item() == 1


def test_a_patience_of_one_stops_at_the_first_pass_that_is_no_better():
    stopping = EarlyStopping(Guess(), patience=1)
    assert [stopping.should_stop(loss) for loss in (5, 4, 4)] == [False, False, True]


def test_a_new_best_loss_renews_the_patience():
    stopping = EarlyStopping(Guess(), patience=2)
    assert [stopping.should_stop(loss) for loss in (5, 6, 4, 5, 3, 3, 3)] == [False] * 6 + [True]


def test_training_stops_at_the_best_validation_loss():
    """Training pulls the guess from 0 towards 1, but the validation part wants 0.5."""
    model = Guess()
    curve = train(
        model,
        Pairs(np.zeros(1), np.ones(1)),
        Pairs(np.zeros(2), np.full(2, 0.5)),
        mse,
        close,
        SGD(model.parameters(), lr=0.125),
        Plan(passes=50, batch_size=1, patience=3),
        rng(),
    )
    # guesses 1/4, 7/16, 37/64, ...: the second is nearest to 1/2
    assert model.number.item() == pytest.approx(7 / 16)
    assert len(curve) == 2 + 3
    assert curve[0].training_loss == pytest.approx(1)
    assert curve[1].validation.mean_loss == pytest.approx(1 / 256)


def test_divergence_is_seen_across_passes_of_one_step():
    model, data = Guess(), Pairs(np.zeros(1), np.ones(1))
    with pytest.raises(DivergedError, match="step 4"):
        train(
            model, data, data, mse, close, SGD(model.parameters(), lr=6.0), Plan(20, batch_size=1, patience=20), rng()
        )


def test_a_patience_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 pass, not 0"):
        EarlyStopping(Guess(), patience=0)


def test_training_works_on_logits_and_classes():
    model = Linear(2, 1, rng=rng())
    inputs = rng(1).normal(size=(200, 2))
    targets = (inputs[:, :1] > inputs[:, 1:]).astype(float)
    data, optimiser = Pairs(inputs, targets), SGD(model.parameters(), lr=1.0)
    for _ in range(20):
        train_epoch(model, data, binary_cross_entropy_with_logits, optimiser, 10, rng(2))
    sums = evaluate(model, data, binary_cross_entropy_with_logits, lambda out, y: int(((out > 0) == (y > 0.5)).sum()))
    assert sums.accuracy > 0.97


# --- Schedules, clipping, training accuracy ---


def trained(**options: Any) -> tuple[Guess, list[Pass]]:
    """Two passes over two examples that want 1, at a rate of 0.25: the guess goes from 0 to 3/4 to 15/16."""
    model = Guess()
    data = Pairs(np.zeros(2), np.ones(2))
    optimiser = SGD(model.parameters(), lr=0.25)
    if decay := options.pop("decay", None):
        options["schedule"] = ExponentialDecay(optimiser, decay)
    curve = train(model, data, data, mse, close, optimiser, Plan(2, 1, patience=5, **options), rng=0)
    return model, curve


def test_the_learning_curve_says_how_often_training_was_right():
    """Guesses 0, 1/2, 3/4 and 7/8 before the four steps: within 1/2 of 1 from the third on."""
    _, curve = trained()
    assert [point.training_accuracy for point in curve] == [0, 1]
    assert curve[0].training_loss == pytest.approx((1 + 1 / 4) / 2)
    assert curve[0].validation.accuracy == 1


def test_the_schedule_takes_a_step_after_each_pass():
    """At half the rate in the second pass the guess goes on from 3/4 by a quarter of what is missing, twice."""
    model, _ = trained(decay=0.5)
    assert model.number.item() == pytest.approx(1 - 1 / 4 * (3 / 4) ** 2)


def test_gradients_are_clipped_before_each_step():
    """The gradients -2 and -3/2 ... are cut to -1 until the guess is within 1/2."""
    model, _ = trained(max_norm=1.0)
    assert model.number.item() == pytest.approx(1 - 1 / 4 * 1 / 2)


@pytest.mark.parametrize("bad", [None, "0", 1.5, True, np.random.RandomState(0)])
def test_what_is_no_source_of_randomness_is_refused_and_the_error_says_what_is(bad):
    for use in (
        lambda: list(minibatches(3, 1, bad)),
        lambda: Linear(2, 2, rng=bad),
        lambda: Dropout(rng=bad),
    ):
        with pytest.raises(TypeError, match=r"rng is a seed such as 0, or np.random.default_rng\(0\), not"):
            use()


def test_a_seed_does_for_a_generator():
    seeded = [rows.tolist() for rows in minibatches(9, 2, 3)]
    assert seeded == [rows.tolist() for rows in minibatches(9, 2, rng(3))]
