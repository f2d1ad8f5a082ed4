"""Losses: values by hand, gradients, extreme logits, shapes."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_operation, numbers

from core.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    delta_rule,
    l1,
    mse,
    negative_sampling,
)
from core.tensor import Tensor

REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum"])


@REDUCTIONS
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
class TestGradients:
    def test_mse(self, shape, reduction):
        check_operation(lambda x: mse(x, numbers(*shape, seed=3), reduction), shape)

    def test_l1(self, shape, reduction):
        check_operation(lambda x: l1(x, numbers(*shape, seed=3, low=-1, high=1), reduction), shape)

    def test_binary_cross_entropy_with_logits(self, shape, reduction):
        targets = numbers(*shape, low=0, high=1)
        check_operation(lambda x: binary_cross_entropy_with_logits(x, targets, reduction), shape)

    def test_binary_cross_entropy(self, shape, reduction):
        targets = numbers(*shape, low=0, high=1)
        check_operation(lambda x: binary_cross_entropy(x.sigmoid(), targets, reduction), shape)

    def test_cross_entropy(self, shape, reduction):
        targets = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5
        check_operation(lambda x: cross_entropy(x, targets, reduction), (*shape, 5))


@REDUCTIONS
@pytest.mark.parametrize("valid", [None, [[1, 0], [1, 1], [0, 0]]], ids=["all", "some"])
def test_negative_sampling_gradients(valid, reduction):
    check_operation(lambda p, n: negative_sampling(p, n, valid, reduction), (3,), (3, 2))


def test_delta_rule_gradients():
    check_operation(lambda x: delta_rule(x, numbers(2, 3, seed=3)), (2, 3))


def test_mse_and_l1_by_hand():
    outputs = Tensor([1.0, 4.0])
    assert mse(outputs, [0, 2]).item() == 2.5
    assert mse(outputs, [0, 2], "sum").item() == 5
    assert l1(outputs, [3, 3]).item() == 1.5
    assert l1(outputs, [3, 3], "sum").item() == 3


def test_the_delta_rule_has_the_plain_difference_as_gradient():
    outputs = Tensor([1.0, 4.0], requires_grad=True)
    loss = delta_rule(outputs, [0, 2])
    loss.backward()
    assert loss.item() == 2.5
    np.testing.assert_array_equal(outputs.grad, [1, 2])


def test_negative_sampling_is_the_binary_cross_entropy_of_all_answers():
    positive, negative = numbers(3), numbers(3, 2)
    logits, labels = np.column_stack([positive, negative]), np.array([[1, 0, 0]] * 3)
    expected = binary_cross_entropy_with_logits(Tensor(logits), labels, "sum").item()
    assert negative_sampling(Tensor(positive), Tensor(negative), None, "sum").item() == pytest.approx(expected)
    assert negative_sampling(Tensor(positive), Tensor(negative)).item() == pytest.approx(expected / 3)


def test_a_draw_that_hits_the_true_word_does_not_count_against_it():
    word = Tensor([1.5], requires_grad=True)
    negative_sampling(word, word.reshape(1, 1), [[False]]).backward()
    np.testing.assert_allclose(word.grad, [1 / (1 + np.exp(-1.5)) - 1])


def test_negative_sampling_of_extreme_logits_is_exact():
    assert negative_sampling(Tensor([1000.0]), Tensor([[-1000.0]])).item() == 0
    assert negative_sampling(Tensor([-1000.0]), Tensor([[1000.0]])).item() == 2000


def test_negative_sampling_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2, 4\)"):
        negative_sampling(Tensor(np.zeros(3)), Tensor(np.zeros((2, 4))))


def test_binary_cross_entropy_by_hand():
    """An undecided logit costs log 2; probability 3/4 costs log 4 where the answer was no."""
    logits = Tensor([0.0, np.log(3)])
    assert binary_cross_entropy_with_logits(logits, [1, 0], "sum").item() == pytest.approx(np.log(2) + np.log(4))
    assert binary_cross_entropy_with_logits(logits, [1, 0]).item() == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_binary_cross_entropy_of_probabilities_by_hand():
    """1/2 costs log 2; 3/4 costs log 4 where the answer was no; being wrong for certain costs 100."""
    assert binary_cross_entropy([0.5, 0.75], [1, 0], "sum").item() == pytest.approx(np.log(2) + np.log(4))
    assert binary_cross_entropy(Tensor([0.0, 1.0]), [1, 0], "sum").item() == 200
    assert binary_cross_entropy(Tensor([0.0, 1.0]), [0, 1], "sum").item() == 0


@pytest.mark.parametrize("logits", [[-0.1, 0.5], [0.5, 1.1], [0.5, np.nan]], ids=str)
def test_logits_where_probabilities_are_due_are_refused(logits):
    with pytest.raises(ValueError, match=r"probabilities \(logits go to \w+_with_logits\) must be in 0 \.\.\. 1, not"):
        binary_cross_entropy(Tensor(logits), [0, 1])


def test_cross_entropy_by_hand():
    """Probabilities 1/2, 1/4, 1/4 and classes 0 and 2: log 2 and log 4."""
    logits = Tensor([np.log([2, 1, 1]), np.log([2, 1, 1]) + 7])
    assert cross_entropy(logits, [0, 2], "sum").item() == pytest.approx(np.log(8))
    assert cross_entropy(logits, [0, 2]).item() == pytest.approx(np.log(8) / 2)


def test_cross_entropy_takes_any_leading_shape():
    logits, targets = numbers(2, 3, 4), np.array([[0, 1, 2], [3, 0, 1]])
    flat = cross_entropy(Tensor(logits.reshape(6, 4)), targets.reshape(6))
    assert cross_entropy(Tensor(logits), targets).item() == pytest.approx(flat.item())


@pytest.mark.parametrize(
    ("logit", "target", "expected"), [(1000, 1, 0), (1000, 0, 1000), (-1000, 1, 1000), (-1000, 0, 0)]
)
def test_binary_cross_entropy_of_extreme_logits_is_exact(logit, target, expected):
    x = Tensor([float(logit)], requires_grad=True)
    loss = binary_cross_entropy_with_logits(x, [target])
    loss.backward()
    assert loss.item() == expected
    np.testing.assert_array_equal(x.grad, [np.sign(expected) * np.sign(logit)])


@pytest.mark.parametrize(("target", "expected"), [(0, 0), (1, 2000)])
def test_cross_entropy_of_extreme_logits_is_exact(target, expected):
    x = Tensor([[1000.0, -1000.0]], requires_grad=True)
    loss = cross_entropy(x, [target])
    loss.backward()
    assert loss.item() == expected
    np.testing.assert_array_equal(x.grad, [[0, 0]] if target == 0 else [[1, -1]])


def test_binary_cross_entropy_keeps_tiny_losses():
    assert binary_cross_entropy_with_logits(Tensor([50.0]), [1]).item() == pytest.approx(np.exp(-50), rel=1e-9)


@pytest.mark.parametrize("loss", [mse, l1, binary_cross_entropy, binary_cross_entropy_with_logits])
def test_outputs_and_targets_of_different_shapes_are_not_broadcast(loss):
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3,\)"):
        loss(Tensor(np.ones((3, 1))), np.ones(3))


def test_cross_entropy_needs_one_target_for_each_row():
    with pytest.raises(ValueError, match=r"\(3, 2\) need targets of shape \(3,\), not \(3, 2\)"):
        cross_entropy(Tensor(np.ones((3, 2))), np.ones((3, 2), int))


def test_cross_entropy_refuses_unknown_classes_and_probabilities():
    with pytest.raises(IndexError, match="targets from 0 to 2"):
        cross_entropy(Tensor(np.ones((2, 2))), [0, 2])
    with pytest.raises(TypeError, match="targets must be integers"):
        cross_entropy(Tensor(np.ones((2, 2))), [0.0, 1.0])


@pytest.mark.parametrize("targets", [[-1, 1], [0, 2], [0, np.nan]], ids=str)
def test_binary_targets_outside_zero_to_one_are_refused(targets):
    for loss in (binary_cross_entropy, binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=r"targets must be in 0 \.\.\. 1, not from"):
            loss(Tensor([0.0, 0.0]), targets)


@pytest.mark.parametrize("loss", [mse, l1, binary_cross_entropy, binary_cross_entropy_with_logits])
def test_an_unknown_reduction_is_refused(loss):
    with pytest.raises(ValueError, match="not 'none'"):
        loss(Tensor([1.0]), [1.0], "none")


@pytest.mark.parametrize("loss", [mse, l1, binary_cross_entropy, binary_cross_entropy_with_logits])
def test_losses_keep_float32(loss):
    assert loss(Tensor(np.ones(2, np.float32)), [0, 1]).dtype == np.float32
