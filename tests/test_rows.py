"""Rows of tables: sums of bags of them, and gradients that go to a few; the fast ways equal the plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from core import tensor
from core.nn import nearest_rows
from core.ops import embedding_bag
from core.optim import SGD, Adam
from core.rows import RowGradient, add_to_rows
from core.tensor import Tensor

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# Bags of such lengths come short enough for one way of adding and long enough for the other; 40 are more than are
# multiplied at a time.
LENGTHS = pytest.mark.parametrize(
    "lengths",
    [[3, 1, 2], [0, 3, 0], [50], [20, 0, 60, 0], [17] * 40, [0] * 35 + [900]],
    ids=["short", "short and empty", "one long", "long and empty", "many long", "one long at the end"],
)


def make_bags(lengths, rows=30):
    """Row numbers of bags of these lengths, with repeats in and between bags; offsets; the bag of each entry."""
    indices = np.random.default_rng(1).integers(0, rows, sum(lengths))
    return indices, np.cumsum([0, *lengths[:-1]]), np.repeat(np.arange(len(lengths)), lengths)


def whole_numbers(*shape, dtype=np.float64):
    """Numbers whose sums are exact in any order."""
    return np.random.default_rng(2).integers(-9, 10, shape).astype(dtype)


@DTYPES
def test_row_gradients_add_up_repeated_rows_and_keep_their_dtype(dtype):
    rows = RowGradient((4, 2), np.array([1, 3, 1]), np.array([[1, 2], [3, 4], [10, 20]], dtype))
    np.testing.assert_array_equal(rows.dense(), [[0, 0], [11, 22], [0, 0], [3, 4]])
    assert rows.dense().dtype == dtype


@DTYPES
@pytest.mark.parametrize("row", [(), (1,), (2,), (3,), (16,), (2, 3)], ids=str)
def test_adding_to_rows_equals_adding_one_by_one(row, dtype):
    indices = np.array([4, 0, 4, 2, 4])
    table, values = whole_numbers(5, *row, dtype=dtype), whole_numbers(5, *row, dtype=dtype)
    expected = table.copy()
    for index, value in zip(indices, values, strict=True):
        expected[index] += value
    add_to_rows(table, indices, values)
    np.testing.assert_array_equal(table, expected)


def test_adding_nothing_changes_nothing():
    table = np.ones((3, 2))
    add_to_rows(table, np.zeros(0, np.int64), np.zeros((0, 2)))
    np.testing.assert_array_equal(table, np.ones((3, 2)))


def test_values_of_another_float_type_can_be_added():
    table = np.zeros((2, 2), np.float32)
    add_to_rows(table, np.array([1, 1]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(table, [[0, 0], [4, 6]])


@DTYPES
@LENGTHS
@pytest.mark.parametrize("width", [1, 3, 16, 40])
def test_sums_of_bags_equal_a_loop(lengths, width, dtype):
    indices, offsets, bags = make_bags(lengths)
    table = whole_numbers(30, width, dtype=dtype)
    sums, _ = embedding_bag(table, indices=indices, offsets=offsets)
    np.testing.assert_array_equal(sums, [table[indices[bags == bag]].sum(axis=0) for bag in range(len(lengths))])
    assert sums.dtype == dtype


@DTYPES
@LENGTHS
@pytest.mark.parametrize("width", [1, 3, 16, 40])
def test_gradients_of_bags_equal_a_loop(lengths, width, dtype):
    indices, offsets, bags = make_bags(lengths)
    table, g = whole_numbers(30, width, dtype=dtype), whole_numbers(len(lengths), width, dtype=dtype)
    _, (derivative,) = embedding_bag(table, indices=indices, offsets=offsets)
    expected = np.zeros_like(table)
    for index, bag in zip(indices, bags, strict=True):
        expected[index] += g[bag]
    gradient = derivative(g)
    np.testing.assert_array_equal(gradient.dense(), expected)
    moved = table.copy()
    gradient.add_to(moved, -0.5)
    np.testing.assert_array_equal(moved, table - expected / 2)


# --- Nearest rows ---

COMPASS = np.array([[1.0, 0], [5, 5], [0, 0.1], [-2, 0], [0, 0], [3, -1]])


def test_the_nearest_rows_point_the_same_way_whatever_their_length():
    rows, cosines = nearest_rows(COMPASS, [0, 7.0], 2)
    assert rows.tolist() == [2, 1]
    np.testing.assert_allclose(cosines, [1, np.sqrt(0.5)])


def test_the_words_asked_about_are_left_out():
    assert nearest_rows(COMPASS, COMPASS[0], 2, without=[0])[0].tolist() == [5, 1]


def test_by_distance_the_nearest_rows_lie_at_the_same_place():
    """From (1, 0) it is 3 to (-2, 0), 1 to (0, 0), and a little more to (0, 0.1)."""
    rows, distances = nearest_rows(COMPASS, COMPASS[0], 4, without=[0], by="distance")
    assert rows.tolist() == [4, 2, 5, 3]
    np.testing.assert_allclose(distances, [1, np.sqrt(1.01), np.sqrt(5), 3])


def test_another_measure_is_refused_by_name():
    with pytest.raises(ValueError, match='by is "cosine" or "distance", not \'angle\''):
        nearest_rows(COMPASS, COMPASS[0], 1, by="angle")


@pytest.mark.parametrize("count", [6, 99])
def test_all_rows_come_if_there_are_no_more(count):
    assert sorted(nearest_rows(COMPASS, [1.0, 1.0], count)[0].tolist()) == [0, 1, 2, 3, 4, 5]


def test_a_vector_of_zeros_is_as_near_to_all():
    assert nearest_rows(COMPASS, [0, 0], 6)[1].tolist() == [0] * 6


def test_a_vector_of_another_width_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(3,\) does not fit a table of shape \(6, 2\)"):
        nearest_rows(COMPASS, [1.0, 2, 3], 2)


# --- Row numbers of any integer type, tables in any order of memory ---

INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_gradient_of_a_look_up_goes_to_its_rows_whatever_type_their_numbers_have(dtype):
    """Row 100 of vectors of 20 begins at the 2,000th number, which neither int8 nor uint8 can count."""
    table = Tensor(np.zeros((128, 20)), requires_grad=True)
    table.index_select(np.array([100, 3, 100], dtype)).sum().backward()
    expected = np.zeros(128)
    expected[[3, 100]] = 1, 2
    np.testing.assert_array_equal(table.grad, np.repeat(expected[:, None], 20, axis=1))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("width", [1, 3, 16])
def test_bags_may_be_numbered_in_any_integer_type(dtype, width):
    """As many entries as make products of counts (width 16) and offsets in small types go wrong, if they can."""
    rows, offsets = np.tile(np.arange(0, 120, 5), 5), np.array([0, 40, 100])
    sums, gradients = [], []
    for numbers, starts in ((rows, offsets), (rows.astype(dtype), offsets.astype(dtype))):
        table = Tensor(np.random.default_rng(1).normal(size=(128, width)), requires_grad=True)
        bags = tensor.embedding_bag(table, numbers, starts)
        (bags * np.array([[1.0], [2.0], [3.0]])).sum().backward()
        sums.append(bags.data)
        gradients.append(table.grad)
    np.testing.assert_array_equal(*sums)
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("number", [np.uint64(2**64 - 1), np.uint64(2**63), np.int64(-1), np.uint8(4)])
def test_a_row_number_out_of_range_is_refused_and_never_wraps_around(number):
    with pytest.raises(IndexError, match=r"not all in 0 \.\.\. 3"):
        Tensor(np.zeros((4, 2))).index_select(np.array([number]))


LAYOUTS = {
    "columns first": np.asfortranarray,
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "every second column": lambda array: np.repeat(array, 2, axis=1)[:, ::2],
    "upside down": lambda array: array[::-1].copy()[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [1, 2, 3, 16])
def test_a_table_in_any_order_of_memory_learns_by_look_up(layout, dim):
    table = Tensor(np.zeros((40, dim)), requires_grad=True)
    table.data = LAYOUTS[layout](table.data)
    tensor.embedding_bag(table, [3, 7, 3], [0, 2]).sum().backward()
    table.index_select([7]).sum().backward()
    SGD([table], lr=1.0).step()
    expected = np.zeros((40, dim))
    expected[[3, 7]] = -2
    np.testing.assert_array_equal(table.data, expected)


def test_a_tensor_that_learns_lies_in_memory_row_by_row():
    assert Tensor(np.asfortranarray(np.ones((3, 4))), requires_grad=True).data.flags.c_contiguous


def test_a_table_of_vectors_without_numbers_has_a_gradient():
    table = Tensor(np.zeros((5, 0)), requires_grad=True)
    table.index_select([1, 2]).sum().backward()
    assert table.grad.shape == (5, 0)


class WholeAdam(Adam):
    """Adam that sees every gradient as one array."""

    def _update(self, position, parameter):
        _ = parameter.grad
        super()._update(position, parameter)


@DTYPES
@pytest.mark.parametrize("row", [(), (1,), (3,)], ids=str)
def test_adam_moves_looked_up_rows_as_if_the_gradient_were_whole(row, dtype):
    """Rows 0 to 8 of ten are looked up, some late, some twice; in step 2 two look-ups of one table add up."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(10, *row)).astype(dtype)
    ours, theirs = Tensor(start, requires_grad=True), Tensor(start, requires_grad=True)
    optimisers = Adam([ours], 0.1, eps=1e-4), WholeAdam([theirs], 0.1, eps=1e-4)
    for looked_up in ([[3, 1, 3]], [[1], [8, 3]], [[0, 8]], [[5, 5, 4]]):
        weights = [rng.normal(size=(len(rows), *row)).astype(dtype) for rows in looked_up]
        for table, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            for rows, weight in zip(looked_up, weights, strict=True):
                (table.index_select(rows) * weight).sum().backward()
            optimiser.step()
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert (ours.data[9] == start[9]).all()
    assert (ours.data[4] != start[4]).all()
    states = [optimiser.state_dict() for optimiser in optimisers]
    for name in states[1]:
        np.testing.assert_array_equal(states[0][name], states[1][name])
    assert states[0]["0.steps"] == 4


def test_adam_goes_on_with_rows_that_were_looked_up_when_a_whole_gradient_follows():
    start = np.ones((5, 1))
    ours, theirs = Tensor(start, requires_grad=True), Tensor(start, requires_grad=True)
    optimisers = Adam([ours], 0.1), WholeAdam([theirs], 0.1)
    for step in range(4):
        for table, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            (table.sum() if step == 2 else table.index_select([step])).sum().backward()
            optimiser.step()
    np.testing.assert_array_equal(ours.data, theirs.data)


def test_adam_forgets_looked_up_rows_when_a_state_is_loaded():
    table = Tensor(np.ones((5, 1)), requires_grad=True)
    optimiser = Adam([table], 0.1)
    fresh = optimiser.state_dict()
    table.index_select([2]).sum().backward()
    optimiser.step()
    optimiser.load_state_dict(fresh)
    assert set(optimiser.state_dict()) == {"lr"}


def test_adam_moves_a_single_number():
    number = Tensor(2.0, requires_grad=True)
    optimiser = Adam([number], 0.5)
    (number * 3.0).backward()
    optimiser.step()
    assert number.item() == pytest.approx(1.5)  # the first step has the length of the rate
