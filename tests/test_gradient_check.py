"""The checker of gradients: right ones pass, wrong ones are named."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import book.gradient_check
from book.gradient_check import GradientError, check_gradients, gradient_gap
from core.ops import Array
from core.tensor import Tensor, apply


def leaf(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers), requires_grad=True)


def square(a: Array, *, slope: float) -> tuple[Array, tuple[object]]:
    """a * a with a slope that may be wrong."""
    return a * a, (lambda g: g * slope * a,)


def test_the_gap_is_how_far_the_slope_is_off():
    """The slope of 3 * 3 is 6; who takes 2.5 times 3 for it is off by 1.5."""
    x = leaf(3.0)
    assert gradient_gap(lambda: apply(square, x, slope=2.5), [x]) == pytest.approx(1.5)
    assert gradient_gap(lambda: apply(square, x, slope=2.0), [x]) < 1e-8


def test_a_wrong_slope_is_named_by_its_place():
    right, wrong = leaf(1.0), leaf(0.0, 3.0)
    with pytest.raises(GradientError, match=r"tensor 1, entry \(1,\): the gradient is .*, the finite difference"):
        check_gradients(lambda: apply(square, wrong, slope=2.5) * right, [right, wrong])


def test_a_slope_that_is_no_number_is_wrong():
    x = leaf(3.0)
    with pytest.raises(GradientError, match="nan"):
        check_gradients(lambda: apply(square, x, slope=float("nan")), [x])


def test_entries_mixed_up_are_found_though_their_sum_is_right():
    def swapped(a: Array) -> tuple[Array, tuple[object]]:
        return 2 * a, (lambda g: 2 * g[::-1],)

    x = leaf(1.0, 2.0)
    with pytest.raises(GradientError):
        check_gradients(lambda: apply(swapped, x), [x])


def test_checking_leaves_the_numbers_as_they_were_and_forgets_old_gradients():
    x = leaf(0.1, 0.7)
    x.grad = np.full(2, 9.0)
    check_gradients(lambda: (x * x).sum(), [x])
    assert x.data.tolist() == [0.1, 0.7]
    assert x.grad.tolist() == [0.2, 1.4]


def test_a_tensor_that_has_no_part_in_the_result_is_refused():
    x, other = leaf(1.0), leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"tensor 1, of shape \(2,\), got no gradient"):
        gradient_gap(lambda: x * 2, [x, other])


def test_the_example_in_the_module_is_true():
    assert doctest.testmod(book.gradient_check).failed == 0
