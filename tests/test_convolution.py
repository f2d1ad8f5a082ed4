"""Convolution and pooling: shapes, gradients, and the plain loop as the test of the fast way."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients, check_operation, numbers

from core.nn import AvgPool2d, Conv2d, Flatten, KernelPool, MaxPool2d, Sequential, SumPool2d, Tanh
from core.ops import Array
from core.tensor import Tensor


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def convolve_one_by_one(images: Array, layer: Conv2d) -> Array:
    """Multiply every window with every kernel, one after the other."""
    padding, (down, right) = layer.padding, layer.stride
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    kernels, _, height, width = layer.weight.shape
    rows = (padded.shape[2] - height) // down + 1
    columns = (padded.shape[3] - width) // right + 1
    maps = np.zeros((len(images), kernels, rows, columns))
    for n, k, i, j in np.ndindex(*maps.shape):
        window = padded[n, :, i * down : i * down + height, j * right : j * right + width]
        maps[n, k, i, j] = (window * layer.weight.data[k]).sum() + layer.bias.data[k]
    return maps


SETTINGS = pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"),
    [(1, 1, 0), (3, 1, 0), (3, 1, 1), (3, 2, 1), (2, 2, 0), ((2, 3), 2, 2), (2, (1, 2), 0)],
)


@SETTINGS
def test_convolution_equals_the_plain_loop(kernel_size, stride, padding):
    layer = Conv2d(2, 3, kernel_size, stride=stride, padding=padding, rng=rng())
    layer.bias.data[...] = [1, 2, 3]
    images = numbers(2, 2, 5, 4)
    np.testing.assert_allclose(layer(images).data, convolve_one_by_one(images, layer), atol=1e-12)


@SETTINGS
def test_convolution_gradients(kernel_size, stride, padding):
    layer = Conv2d(2, 3, kernel_size, stride=stride, padding=padding, rng=rng())
    images = Tensor(numbers(2, 2, 5, 4), requires_grad=True)
    check_gradients(lambda: layer(images), [*layer.parameters(), images])


def test_stacked_convolutions_pass_gradients_on():
    model = Sequential(Conv2d(1, 2, 2, rng=rng()), Tanh(), Conv2d(2, 1, 2, bias=False, rng=rng()), Flatten())
    images = Tensor(numbers(1, 1, 4, 4), requires_grad=True)
    check_gradients(lambda: model(images), [*model.parameters(), images])


def test_a_kernel_of_three_on_eight_pixels_has_six_places():
    assert Conv2d(1, 1, 3, rng=rng())(np.zeros((1, 1, 8, 8))).shape == (1, 1, 6, 6)


def test_sixteen_kernels_on_a_digit_flatten_to_10816_numbers():
    maps = Conv2d(1, 16, 3, rng=rng())(np.zeros((2, 1, 28, 28)))
    assert maps.shape == (2, 16, 26, 26)
    assert Flatten()(maps).shape == (2, 10_816)


def test_no_images_give_no_maps():
    model = Sequential(Conv2d(1, 2, 3, rng=rng()), MaxPool2d(2), Flatten())
    assert model(np.zeros((0, 1, 8, 8))).shape == (0, 18)


def test_kernels_start_with_variance_two_over_their_entries():
    weight = Conv2d(4, 500, 5, rng=rng()).weight.data
    assert weight.var() == pytest.approx(2 / 100, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (8, 8), (1, 2, 8)])
def test_images_of_another_shape_than_the_kernels_expect_are_refused_with_both(shape):
    with pytest.raises(ValueError, match=r"kernels of shape \(5, 2, 3, 3\)") as error:
        Conv2d(2, 5, 3, rng=rng())(np.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "name"), [({"kernel_size": 0}, "kernel_size"), ({"stride": 0}, "stride"), ({"padding": -1}, "padding")]
)
def test_settings_that_cannot_work_are_refused_by_name(settings, name):
    with pytest.raises(ValueError, match=f"^{name} must be at least"):
        Conv2d(1, 1, **{"kernel_size": 3, **settings}, rng=rng())


# --- Pooling ---


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d, SumPool2d])
@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"stride": 3}, {"stride": (1, 2)}], ids=str)
def test_spatial_pooling_gradients(kind, settings):
    check_operation(kind(2, **settings), (2, 2, 5, 4))


def test_spatial_pooling_by_hand():
    image = [[[[1.0, 2, 5, 0], [3, 4, 0, 1], [9, 9, 9, 9]]]]  # the third row does not fill a window
    assert MaxPool2d(2)(image).data.tolist() == [[[[4, 5]]]]
    assert SumPool2d(2)(image).data.tolist() == [[[[10, 6]]]]
    assert AvgPool2d(2)(image).data.tolist() == [[[[2.5, 1.5]]]]


def test_windows_of_any_shape_lie_side_by_side():
    assert SumPool2d((1, 3))(np.ones((1, 1, 4, 6))).shape == (1, 1, 4, 2)


def test_overlapping_windows():
    assert MaxPool2d((1, 2), stride=1)([[[[1.0, 7, 2]]]]).data.tolist() == [[[[7, 7]]]]


def test_spatial_pooling_keeps_channels_apart():
    images = np.stack([np.full((4, 6), 1.0), np.full((4, 6), 2.0)])[None]
    np.testing.assert_array_equal(AvgPool2d(2)(images).data[0, :, 0, 0], [1, 2])
    assert AvgPool2d(2)(images).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_pooling_across_kernels_gradients(mode):
    check_operation(KernelPool(mode), (2, 3, 2, 2))


@pytest.mark.parametrize(("mode", "expected"), [("sum", [[11, 22]]), ("mean", [[5.5, 11]]), ("max", [[10, 20]])])
def test_pooling_across_kernels_by_hand(mode, expected):
    maps = np.array([[[[1.0, 2.0]], [[10.0, 20.0]]]])
    np.testing.assert_array_equal(KernelPool(mode)(maps).data[0], expected)


def test_an_unknown_way_to_pool_is_refused():
    with pytest.raises(ValueError, match='"sum", "mean" or "max"'):
        KernelPool("median")
