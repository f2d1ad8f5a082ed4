"""Primitives: values that can be checked by hand, and every derivative against finite differences."""

from __future__ import annotations

import operator
from functools import partial

import numpy as np
import pytest
from gradients import PAIRS, check_operation, numbers

from core import ops
from core.nn import Hardtanh, windows
from core.tensor import Tensor, apply, concatenate, embedding_bag, stack


@pytest.mark.parametrize("shapes", PAIRS)
@pytest.mark.parametrize(
    ("operation", "low"),
    [(operator.add, -2), (operator.sub, -2), (operator.mul, -2), (operator.truediv, 0.5)],
)
def test_operations_on_two_arrays(operation, low, shapes):
    check_operation(operation, *shapes, low=low)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize(
    ("operation", "low"),
    [
        *((operation, -2) for operation in (operator.neg, abs, Tensor.exp, Tensor.relu)),
        *((operation, -2) for operation in (Tensor.sigmoid, Tensor.tanh, Tensor.softplus)),
        (lambda a: a.leaky_relu(0.1), -2),
        (lambda a: a.clip(-1, 1), -2),
        *((operation, 0.5) for operation in (Tensor.sqrt, Tensor.log)),
        *((lambda a, exponent=exponent: a**exponent, 0.5) for exponent in (0, 1, 2, 3, -1, 0.5)),
    ],
)
def test_operations_on_one_array(operation, low, shape):
    check_operation(operation, shape, low=low)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, -2, (0, 2), (-3, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("reduction", [Tensor.sum, Tensor.mean, Tensor.max])
def test_reductions(reduction, keepdims, axis):
    check_operation(lambda a: reduction(a, axis, keepdims), (2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    ("operation", "shapes"),
    [
        (lambda axis, a: a.softmax(axis), [(3, 4)]),
        (lambda axis, a: a.log_softmax(axis), [(3, 4)]),
        (lambda axis, a: a.stack_copies(axis, 4), [(2, 3)]),
        (lambda axis, a, b: concatenate([a, b, a], axis), [(2, 3), (2, 3)]),
        (lambda axis, a, b: stack([a, b], axis), [(2, 3), (2, 3)]),
    ],
    ids=["softmax", "log_softmax", "stack_copies", "concatenate", "stack"],
)
def test_operations_along_an_axis(operation, shapes, axis):
    check_operation(partial(operation, axis), *shapes)


def test_joining_works_on_the_first_axis_by_default():
    a, b = Tensor([[1.0, 2.0]]), Tensor([[3.0, 4.0]])
    assert concatenate([a, b]).data.tolist() == [[1, 2], [3, 4]]
    assert concatenate([a, b], 1).data.tolist() == [[1, 2, 3, 4]]
    assert stack([a, b]).data.tolist() == [[[1, 2]], [[3, 4]]]


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, -1, 2)])
def test_reshape(shape):
    check_operation(lambda a: a.reshape(*shape), (2, 3, 4))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (-1, 0, 1)])
def test_permute(axes):
    check_operation(lambda a: a.permute(*axes), (2, 3, 4))


@pytest.mark.parametrize("shape", [(4, 2, 3), (5, 4, 2, 3)])
def test_broadcast_to(shape):
    check_operation(lambda a: a.broadcast_to(*shape), (4, 1, 3))


@pytest.mark.parametrize(
    "index",
    [1, -1, slice(1, 3), (slice(None), 2), (..., 0), (None, 1), [0, 2, 0], (np.array([1, 1]), np.array([2, 2]))],
    ids=str,
)
def test_getitem_of_entries_taken_once_and_twice(index):
    check_operation(lambda a: a[index], (3, 4))


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 4)),
        ((3,), (3, 4)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (6, 3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 4)),
    ],
)
def test_matmul(shapes):
    check_operation(lambda a, b: a @ b, *shapes)
    a, b = (numbers(*shape) for shape in shapes)
    np.testing.assert_allclose((Tensor(a) @ b).data, a @ b)


@pytest.mark.parametrize("a", [(2, 3), (3,)])
@pytest.mark.parametrize("b", [(2, 4), (4,), (5, 2, 3)])
def test_matmul_of_shapes_that_do_not_fit_names_both(a, b):
    with pytest.raises(ValueError, match="matrix product") as error:
        Tensor(np.ones(a)) @ np.ones(b)
    assert str(a) in str(error.value)
    assert str(b) in str(error.value)


def test_elementwise_shapes_that_do_not_fit_are_both_named():
    with pytest.raises(ValueError, match=r"\(2,3\) \(2,\)"):
        Tensor(np.ones((2, 3))) + np.ones(2)


# --- Values and slopes where rounding or a kink could go wrong ---


@pytest.mark.parametrize("extreme", [-1000.0, 1000.0])
@pytest.mark.parametrize("operation", [ops.sigmoid, ops.softplus, ops.tanh, ops.softmax, ops.log_softmax])
def test_extreme_numbers_give_finite_values_and_slopes(operation, extreme):
    value, (derivative,) = operation(np.array([extreme, 0.0]))
    assert np.isfinite(value).all()
    assert np.isfinite(derivative(np.ones(2))).all()


def test_softmax_works_on_the_last_axis_by_default():
    rows = Tensor(np.log([[1.0, 3.0], [2.0, 2.0]]))
    np.testing.assert_allclose(rows.softmax().data, [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(rows.log_softmax().data, np.log([[0.25, 0.75], [0.5, 0.5]]))
    np.testing.assert_allclose(rows.softmax(0).data, [[1 / 3, 3 / 5], [2 / 3, 2 / 5]])


def test_sigmoid_and_softmax_of_one_large_logit():
    logits = np.array([0.0] * 9 + [100.0])
    np.testing.assert_allclose(ops.softmax(logits)[0], [0] * 9 + [1], atol=1e-40)
    np.testing.assert_allclose(ops.sigmoid(logits)[0], [0.5] * 9 + [1])


# --- Slopes where they jump ---


def test_relu_and_absolute_are_flat_at_exactly_zero():
    for operation in (ops.relu, ops.absolute):
        _, (derivative,) = operation(np.array([-1.0, 0.0, 2.0]))
        assert derivative(np.ones(3))[1] == 0


def test_clip_has_slope_1_at_exactly_its_ends_where_nothing_is_cut_off():
    a = Tensor([-1.5, -1, -0.5, 1, 1.5], requires_grad=True)
    a.clip(-1, 1).sum().backward()
    np.testing.assert_array_equal(a.grad, [0, 1, 1, 1, 0])


def test_hardtanh_is_flat_at_exactly_its_ends():
    a = Tensor([-1.5, -1, -0.5, 1, 1.5], requires_grad=True)
    Hardtanh()(a).sum().backward()
    np.testing.assert_array_equal(a.grad, [0, 0, 1, 0, 0])


def test_entries_that_share_the_maximum_share_its_gradient():
    _, (derivative,) = ops.max(np.array([[3.0, 1.0, 3.0], [0.0, 5.0, 2.0]]), axis=1)
    np.testing.assert_array_equal(derivative(np.array([1.0, 1.0])), [[0.5, 0, 0.5], [0, 1, 0]])


# --- Sums over axes, by hand ---


def test_sum_over_each_axis_of_two_rows():
    rows = Tensor([[1.0, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(rows.sum(0).data, [5, 7, 9])
    np.testing.assert_array_equal(rows.sum(1).data, [6, 15])
    np.testing.assert_array_equal(rows.sum(-1).data, [6, 15])


def test_stacking_four_copies_along_axis_two_copies_each_entry_four_times():
    expanded = Tensor([[1.0, 2, 3], [4, 5, 6]]).stack_copies(2, 4)
    np.testing.assert_array_equal(expanded.data, np.repeat([[1, 2, 3], [4, 5, 6]], 4).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("shape", "expected"), [((3,), [2, 2, 2]), ((1, 3), [[2, 2, 2]]), ((2, 1), [[3], [3]]), ((), 6)]
)
def test_unbroadcast_sums_what_was_repeated(shape, expected):
    np.testing.assert_array_equal(ops.unbroadcast(np.ones((2, 3)), shape), expected)


# --- Images ---


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_pad(padding):
    check_operation(lambda a: apply(windows.pad, a, padding=padding), (1, 2, 3, 2))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 2), (5, 4)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1), (1, 3)])
def test_patches(size, stride):
    check_operation(lambda a: apply(windows.patches, a, size=size, stride=stride), (2, 2, 5, 4))


def test_patches_of_a_small_image():
    image = np.arange(12.0).reshape(1, 1, 3, 4)
    cut, _ = windows.patches(image, size=(2, 2), stride=(2, 2))
    np.testing.assert_array_equal(cut[0, 0, :, :, 0, 0], [[0, 1], [4, 5]])
    np.testing.assert_array_equal(cut[0, 0, :, :, 0, 1], [[2, 3], [6, 7]])


@pytest.mark.parametrize("shape", [(3, 4), (1, 1, 1, 9)])
def test_images_that_hold_no_window_are_refused(shape):
    with pytest.raises(ValueError, match=r"do not hold a window of shape \(2, 2\)"):
        windows.patches(np.zeros(shape), size=(2, 2), stride=(1, 1))


# --- Tables of rows ---


@pytest.mark.parametrize("indices", [2, [0, 2, 2], [[1, 2, 3], [2, 3, 4]]], ids=str)
@pytest.mark.parametrize("row", [(), (1,), (3,), (2, 2)])
def test_embedding_with_repeated_indices(indices, row):
    check_operation(lambda table: table.index_select(indices), (5, *row))


def test_looking_up_rows_of_the_identity_counts_them():
    table = Tensor(np.eye(5), requires_grad=True)
    table.index_select([[1, 2, 3], [2, 3, 4]]).sum().backward()
    np.testing.assert_array_equal(table.grad[:, 0], [0, 1, 2, 2, 1])


BAGS = pytest.mark.parametrize(
    ("indices", "offsets"),
    [
        ([0, 1, 1, 4], [0, 2]),
        ([0, 1, 1, 4], [0, 0, 3, 4, 4]),  # the first, the fourth and the last bag are empty
        ([2], [0]),
        ([], [0, 0]),
        ([], []),
    ],
)


@BAGS
@pytest.mark.parametrize("dim", [1, 3])
def test_embedding_bag(indices, offsets, dim):
    check_operation(lambda table: embedding_bag(table, indices, offsets), (5, dim))


@BAGS
def test_embedding_bag_with_weights(indices, offsets):
    check_operation(lambda table, weights: embedding_bag(table, indices, offsets, weights), (5, 3), (len(indices),))


@BAGS
def test_embedding_bag_equals_summing_bag_by_bag(indices, offsets):
    table = numbers(5, 3)
    ends = [*offsets, len(indices)][1:]
    bags = [indices[start:end] for start, end in zip(offsets, ends, strict=True)]
    expected = [sum((table[row] for row in bag), start=np.zeros(3)) for bag in bags]
    result = embedding_bag(Tensor(table), indices, offsets).data
    np.testing.assert_allclose(result, np.reshape(expected, (len(offsets), 3)), atol=1e-12)


@pytest.mark.parametrize("offsets", [[1], [0, 3, 2], [0, 5], [-1, 0]], ids=str)
def test_offsets_that_do_not_cut_the_indices_into_bags_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets must rise from 0 to at most 4"):
        embedding_bag(Tensor(np.eye(5)), [0, 1, 2, 3], offsets)


def test_indices_without_a_single_bag_are_refused():
    with pytest.raises(ValueError, match="offsets must rise"):
        embedding_bag(Tensor(np.eye(5)), [0, 1], [])


def test_bags_that_are_not_flat_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(1, 2\) and offsets of shape \(1,\)"):
        embedding_bag(Tensor(np.eye(5)), [[0, 1]], [0])


def test_weights_of_another_length_than_the_indices_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) do not fit indices of shape \(2,\)"):
        embedding_bag(Tensor(np.eye(5)), [0, 1], [0], Tensor(np.ones(3)))


@pytest.mark.parametrize("row", [-1, 5])
def test_row_numbers_outside_the_table_are_refused(row):
    with pytest.raises(IndexError, match=r"not all in 0 \.\.\. 4"):
        Tensor(np.eye(5)).index_select([0, row])


def test_row_numbers_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match="indices must be integers, not float64"):
        Tensor(np.eye(5)).index_select([0.0, 1.0])
