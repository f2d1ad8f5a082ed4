"""Tensors as a reader of the book or of PyTorch expects them: names, numbers, comparisons, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradients import check_operation

from core.optim import SGD
from core.tensor import Tensor, concatenate, stack

ROWS = [[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]]


def leaf(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers, float), requires_grad=True)


# --- Nothing is cut off from the graph in silence ---


def untyped(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda x: Tensor(x),
        lambda x: Tensor([x, x]),
        lambda x: Tensor([x.sum(), 1.0]),
        lambda x: Tensor(x.sum()),
        lambda x: np.asarray(x),
        lambda x: np.array([x, x]),
    ],
)
def test_an_array_of_a_tensor_that_requires_a_gradient_is_refused(make):
    with pytest.raises(TypeError, match="would be cut off from its graph"):
        make(leaf(1, 2))


def test_tensors_without_gradient_can_be_made_into_one():
    assert Tensor([Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]).data.tolist() == [[1, 2], [3, 4]]
    x = Tensor(np.ones(2))
    twin = Tensor(x, requires_grad=True)
    twin.data += 1
    assert x.data.tolist() == [1, 1]


@pytest.mark.parametrize("data", [["a"], [object()], [None, 1.0], 1j, np.array(["2020"], "datetime64[D]")])
def test_what_holds_no_real_numbers_is_no_tensor(data):
    with pytest.raises(TypeError, match="a tensor holds real numbers, not"):
        Tensor(data)


@pytest.mark.parametrize("join", [concatenate, stack])
def test_one_tensor_is_not_taken_for_several(join):
    with pytest.raises(TypeError, match=r"not one of shape \(2,\): put it into a list"):
        join(untyped(leaf(1, 2)))


# --- Powers ---


@pytest.mark.parametrize("exponent", [np.array([2, 3]), np.array([2.0, 3.0]), Tensor([2, 3])])
def test_powers_by_arrays_have_gradients(exponent):
    x = leaf(3, 2)
    y = x**exponent
    y.sum().backward()
    assert y.data.tolist() == [9, 8]
    assert x.grad.tolist() == [6, 12]


def test_powers_of_a_number_have_gradients():
    x = leaf(0, 3)
    y = 2**x
    y.sum().backward()
    assert y.data.tolist() == [1, 8]
    np.testing.assert_allclose(x.grad, [np.log(2), 8 * np.log(2)])


def test_powers_of_two_tensors_by_finite_differences():
    check_operation(lambda a, b: a**b, (2, 3), (3,), low=0.5)


def test_a_power_of_zero_has_a_finite_slope_in_its_exponent():
    base, exponent = leaf(0, 0), leaf(0, 2)
    (base**exponent).sum().backward()
    assert base.grad.tolist() == [0, 0]
    assert exponent.grad.tolist() == [0, 0]


# --- As numbers and as text ---


def test_a_loss_is_a_number_where_one_is_wanted():
    loss = (leaf(1, 2) * 1.25).sum()
    assert (float(loss), int(loss)) == (3.75, 3)
    assert f"{loss:.3f}" == "3.750"
    assert f"{loss}" == "Tensor(3.75, requires_grad=True)"
    assert [10, 20, 30][Tensor(1)] == 20


def test_several_numbers_are_not_one():
    for convert in (float, int, lambda x: x.item(), lambda x: f"{x:.3f}"):
        with pytest.raises(ValueError, match=r"shape \(2,\) is not one number"):
            convert(leaf(1, 2))


def test_whether_several_numbers_are_true_is_ambiguous():
    assert Tensor([0.5])
    assert not Tensor(0)
    for several in (Tensor([1, 0]), Tensor([])):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(several)


def test_comparisons_go_entry_by_entry():
    x = leaf(1, 2, 3)
    for compared, expected in [
        (x < 2, [True, False, False]),
        (x <= np.array([1, 1, 3]), [True, False, True]),
        (x > 2, [False, False, True]),
        (np.array([1, 2, 2]) >= x, [True, True, False]),
        (x == Tensor([1, 0, 3]), [True, False, True]),
        (x != 2, [True, False, True]),
    ]:
        assert isinstance(compared, Tensor)
        assert not compared.requires_grad
        assert compared.data.tolist() == expected
    assert x[x > 1].data.tolist() == [2, 3]


def test_a_tensor_is_no_other_thing_and_stays_a_key():
    x, y = leaf(1), leaf(1)
    assert (x == None) is False  # noqa: E711
    assert x != "x"
    assert {x: "x", y: "y"}[y] == "y"


def test_a_tensor_is_walked_row_by_row():
    assert [row.data.tolist() for row in Tensor(ROWS)] == ROWS
    with pytest.raises(TypeError):
        list(Tensor(1.0))


# --- Along axes ---


def test_largest_smallest_and_their_places():
    x = Tensor(ROWS)
    assert (x.max().item(), x.min().item(), x.argmax().item(), x.argmin().item()) == (5, 0, 4, 3)
    assert x.max(axis=1).data.tolist() == [3, 5]
    assert x.min(dim=0).data.tolist() == [0, 1, 2]
    assert x.argmax(1).data.tolist() == [0, 1]
    assert x.argmin(dim=1, keepdim=True).data.tolist() == [[1], [0]]


def test_the_gradient_goes_to_the_smallest():
    x = Tensor(ROWS, requires_grad=True)
    x.min(axis=1).backward([1.0, 2.0])
    assert x.grad.tolist() == [[0, 1, 0], [2, 0, 0]]


def test_variance_is_that_of_a_sample_as_in_pytorch():
    x = Tensor([[1.0, 3.0], [2.0, 8.0]])
    assert x.var(axis=1).data.tolist() == [2, 18]
    assert x.var(1, correction=0).data.tolist() == [1, 9]
    assert x.var(dim=1, keepdim=True).shape == (2, 1)
    check_operation(lambda a: a.var(0), (3, 2))
    with pytest.raises(ValueError, match=r"too few numbers along axis 1 .* correction 1"):
        Tensor([[1.0]]).var(1)


def test_dim_and_keepdim_are_other_names():
    x = Tensor(ROWS)
    assert x.sum(dim=1, keepdim=True).data.tolist() == [[6], [9]]
    assert x.mean(dim=0).data.tolist() == x.mean(axis=0).data.tolist()
    assert x.softmax(dim=0).data.tolist() == x.softmax(axis=0).data.tolist()
    assert concatenate([x, x], dim=1).shape == stack([x, x], dim=1).reshape(2, 6).shape
    assert x.sum([0, 1]).item() == 15
    with pytest.raises(TypeError, match="dim is another name of axis"):
        x.sum(dim=0, axis=0)


def test_the_mean_of_no_rows_over_columns_is_no_mean_at_all():
    assert Tensor(np.zeros((0, 3))).mean(axis=1).shape == (0,)
    with pytest.raises(ValueError, match=r"\(0, 3\) has no mean"):
        Tensor(np.zeros((0, 3))).mean(axis=0)


# --- Shapes ---


def test_shapes_are_given_one_by_one_or_together():
    x = Tensor(np.arange(6.0))
    for changed in (x.reshape(2, 3), x.reshape((2, 3)), x.view(2, -1), x.view([2, 3]), x.reshape(3, 2).permute((1, 0))):
        assert changed.shape == (2, 3)
    assert x.broadcast_to((4, 6)).shape == (4, 6)


def test_axes_of_one_are_left_out_and_put_in():
    x = Tensor(np.zeros((1, 3, 1)))
    assert x.squeeze().shape == (3,)
    assert x.squeeze(0).shape == (3, 1)
    assert x.squeeze(dim=-1).shape == (1, 3)
    assert x.squeeze(1).shape == (1, 3, 1)
    assert x.unsqueeze(-1).shape == (1, 3, 1, 1)
    assert Tensor(1.0).squeeze(0).shape == ()
    with pytest.raises(IndexError, match="there is no axis 3 among 3"):
        x.squeeze(3)


def test_expand_means_what_it_means_in_pytorch():
    x = Tensor([[1.0], [2.0]])
    assert x.expand(2, 3).data.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert x.expand(4, -1, 3).shape == (4, 2, 3)
    with pytest.raises(ValueError, match="broadcast"):
        Tensor(ROWS).expand(2, 4)  # the book's: see stack_copies


def test_index_select_takes_an_axis_before_the_indices_as_in_pytorch():
    x = Tensor(ROWS, requires_grad=True)
    assert x.index_select([1, 0]).data.tolist() == [ROWS[1], ROWS[0]]
    columns = x.index_select(1, np.array([2, 2], np.uint8))
    assert columns.data.tolist() == [[2, 2], [4, 4]]
    columns.sum().backward()
    assert x.grad.tolist() == [[0, 0, 2], [0, 0, 2]]
    with pytest.raises(IndexError, match="indices from -1 to -1"):
        x.index_select(1, [-1])


def test_a_single_number_has_axes_to_reduce_and_swap_as_in_pytorch():
    x = Tensor(3.0)
    assert (x.sum(0).item(), x.softmax(-1).item(), x.transpose(-1, 0).item(), x.mean(dim=0).item()) == (3, 1, 3, 3)


def test_softmax_of_nothing_is_nothing_along_an_axis_that_is_there():
    assert Tensor(np.zeros((2, 0))).softmax(1).shape == (2, 0)
    with pytest.raises(IndexError, match="there is no axis 2 among 2"):
        Tensor(np.zeros((0, 3))).log_softmax(2)


def test_a_tensor_of_row_numbers_is_an_index():
    x = Tensor(ROWS)
    rows, columns = Tensor([1, 0]), Tensor([2, 0])
    assert x[rows].data.tolist() == [ROWS[1], ROWS[0]]
    assert x[rows, columns].data.tolist() == [4, 3]


# --- Types ---


@pytest.mark.parametrize("whole", [np.array([1, 2]), np.array([1, 2], np.uint8), np.array([True, False])])
def test_whole_numbers_take_the_float_type_of_what_they_meet(whole):
    x = Tensor(np.ones(2, np.float32), requires_grad=True)
    for result in (x * whole, whole - x.detach(), Tensor(whole) + x):
        assert result.dtype == np.float32


def test_a_single_number_takes_the_float_type_of_what_it_meets_and_keeps_its_gradient():
    single, x = Tensor(2.0, requires_grad=True), Tensor(np.ones(3, np.float32))
    product = single * x
    product.sum().backward()
    assert product.dtype == np.float32
    assert (single.grad, single.grad.dtype) == (3, np.float64)


# --- More than one backward pass ---


def test_a_graph_that_is_retained_can_be_walked_again():
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12]
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_a_graph_from_before_an_optimisers_step_is_refused():
    """Its derivatives would mix the parameter's numbers from before and after the step."""
    weight = leaf(3.0)
    first, second = (weight * weight).sum(), (weight**3).sum()
    optimiser = SGD([weight], lr=0.1)
    first.backward()
    optimiser.step()
    with pytest.raises(RuntimeError, match=r"shape \(1,\) was changed by an optimiser"):
        second.backward()
    (weight**3).sum().backward()


def test_a_gradient_of_another_shape_cannot_be_set():
    x = leaf(1, 2)
    with pytest.raises(ValueError, match=r"\(3,\) does not fit a tensor of shape \(2,\)"):
        x.grad = np.ones(3)
    x.grad = [1, 2]
    assert x.grad.dtype == np.float64


def test_a_kept_gradient_of_a_single_number_is_an_array():
    x = leaf(2.0)
    y = (x * 3).sum()
    y.retain_grad()
    (y + y).backward()
    assert isinstance(y.grad, np.ndarray)
