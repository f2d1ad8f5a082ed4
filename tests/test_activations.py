"""Activations: slopes, temperature, and what makes a good one."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_operation, numbers

from core.nn import Hardtanh, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from core.nn.activations import Properties, count_exponentials, examine, relu_slope, sigmoid_slope, tanh_slope
from core.tensor import Tensor


@pytest.mark.parametrize(
    "activation", [ReLU(), LeakyReLU(), Sigmoid(), Tanh(), Hardtanh(), Softmax(), Softmax(temperature=0.5)]
)
def test_gradients(activation):
    check_operation(activation, (2, 3))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [(ReLU(), [0, 0, 0.5, 3]), (LeakyReLU(0.1), [-0.3, 0, 0.5, 3]), (Hardtanh(), [-1, 0, 0.5, 1])],
)
def test_values_of_piecewise_linear_activations(activation, expected):
    np.testing.assert_allclose(activation([-3.0, 0.0, 0.5, 3.0]).data, expected)


@pytest.mark.parametrize(
    ("activation", "slope"), [(ReLU(), relu_slope), (Sigmoid(), sigmoid_slope), (Tanh(), tanh_slope)]
)
def test_the_slope_follows_from_the_output(activation, slope):
    x = Tensor([-2.0, 0.0, 0.5], requires_grad=True)
    y = activation(x)
    y.backward(np.ones(3))
    np.testing.assert_allclose(slope(y.data), x.grad)


def test_temperature_evens_out_or_sharpens():
    logits = np.log([1.0, 2.0, 1.0])
    np.testing.assert_allclose(Softmax(temperature=0.5)(logits).data, [1 / 6, 4 / 6, 1 / 6])
    np.testing.assert_allclose(Softmax(temperature=1e6)(logits).data, [1 / 3] * 3, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        Softmax(temperature)


# 1 / (1 + exp(-x)) is computed with two exponentials, so that neither can overflow.
EXPONENTIALS = [(ReLU(), 0), (LeakyReLU(), 0), (Hardtanh(), 0), (Tanh(), 1), (Sigmoid(), 2)]


@pytest.mark.parametrize(("activation", "exponentials"), EXPONENTIALS)
def test_every_activation_is_defined_monotonic_and_nonlinear(activation, exponentials):
    assert examine(activation) == Properties(True, monotonic=True, nonlinear=True, exponentials=exponentials)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x * x, Properties(True, monotonic=False, nonlinear=True, exponentials=0)),
        (lambda x: x * -3 + 1, Properties(True, monotonic=True, nonlinear=False, exponentials=0)),
        (lambda x: -x.relu(), Properties(True, monotonic=True, nonlinear=True, exponentials=0)),
        (lambda x: x.log(), Properties(False, monotonic=False, nonlinear=True, exponentials=1)),
    ],
    ids=["square", "line", "falling ramp", "logarithm"],
)
def test_other_functions_are_distinguished(function, expected):
    assert examine(function) == expected


@pytest.mark.parametrize(("activation", "exponentials"), EXPONENTIALS)
def test_cheap_means_without_exponentials(activation, exponentials):
    assert examine(activation).cheap == (exponentials == 0)


@pytest.mark.parametrize(
    ("function", "exponentials"),
    [
        (lambda x: x, 0),
        (lambda x: 2 - x / 3 + abs(x) ** 2, 0),
        (lambda x: x * 2.0 + 1, 0),
        (lambda x: x.sqrt(), 1),
        (lambda x: x**3, 1),
        (lambda x: x.relu().exp(), 1),
        (lambda x: (-x.relu()).exp() + x.clip(-1, 1).tanh(), 2),
        (lambda x: x * x.sigmoid(), 2),
        (lambda x: x.softplus().tanh() * x, 3),
        (lambda x: Tensor(np.sin(x.data) + np.exp(-x.data)), 2),
    ],
)
def test_exponentials_of_a_formula_are_counted_through_all_its_parts(function, exponentials):
    assert count_exponentials(function) == exponentials


def test_what_cannot_be_counted_is_not_called_cheap():
    found = examine(lambda x: Tensor(np.vectorize(lambda number: float(number) ** 2)(x.data)))
    assert found.exponentials is None
    assert not found.cheap


def test_softmax_works_on_the_last_axis():
    np.testing.assert_allclose(Softmax()(numbers(2, 3, 4)).data.sum(axis=-1), np.ones((2, 3)))
