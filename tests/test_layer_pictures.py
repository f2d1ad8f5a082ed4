"""Pictures of chapters 9 to 14 show what is so: activations, kernels, words and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

import book.pictures
from book.pictures.activations import values_and_slopes, verdict
from core.nn import Conv2d, LinearRecurrentCell, LSTMCell, ReLU, RNNCell, Sigmoid, Tanh

pytestmark = pytest.mark.slow

pictures: Any = book.pictures  # matplotlib's types hide much of what there is to look at


def lines(axes: Axes) -> dict[str, np.ndarray]:
    """Return the points of the named lines, shape (n, 2)."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# --- Activations ---


@pytest.mark.parametrize(
    ("activation", "outputs", "slopes"),
    [
        (ReLU(), [0, 0, 1], [0, 0, 1]),
        (Sigmoid(), [0.26894142, 0.5, 0.73105858], [0.19661193, 0.25, 0.19661193]),
        (Tanh(), [-0.76159416, 0, 0.76159416], [0.41997434, 1, 0.41997434]),
    ],
)
def test_slopes_come_from_a_backward_pass(activation: ReLU, outputs: list[float], slopes: list[float]) -> None:
    found = values_and_slopes(activation, [-1.0, 0.0, 1.0])
    np.testing.assert_allclose(found[0], outputs, atol=1e-8)
    np.testing.assert_allclose(found[1], slopes, atol=1e-8)


def test_each_activation_has_a_panel_with_its_verdict() -> None:
    figure = pictures.activation_curves({"square": lambda x: x * x, "relu": ReLU()})
    assert [axes.get_title() for axes in figure.axes] == ["square", "relu"]
    assert "NOT monotonic" in figure.axes[0].get_xlabel()
    assert figure.axes[1].get_xlabel() == "input\ndefined everywhere\nmonotonic\nnonlinear\ncheap"
    assert set(lines(figure.axes[1])) >= {"output", "slope"}
    assert verdict(lambda x: x * 2.0).splitlines()[2:] == ["NOT nonlinear", "cheap"]


def test_bars_of_softmax_sum_to_one_and_even_out_when_hot() -> None:
    axes = pictures.softmax_bars([1, 2, 4], (0.5, 1, 5)).axes[0]
    heights = np.array([[bar.get_height() for bar in bars] for bars in axes.containers])
    np.testing.assert_allclose(heights.sum(axis=1), 1)
    np.testing.assert_allclose(heights[1], np.exp([1, 2, 4]) / np.exp([1, 2, 4]).sum())
    assert heights[0, 2] > heights[1, 2] > heights[2, 2] > 1 / 3


# --- Kernels ---


def corner_finder() -> Conv2d:
    """One kernel that answers with the sum of its window, one with minus its upper left entry."""
    layer = Conv2d(1, 2, 2, rng=np.random.default_rng(1))
    layer.weight.data[...] = np.array([[[[1, 1], [1, 1]]], [[[-1, 0], [0, 0]]]])
    return layer


def test_kernels_and_maps_are_on_one_scale_around_zero() -> None:
    image = np.arange(9.0).reshape(3, 3) / 8
    kernels = pictures.kernel_pictures(corner_finder())
    assert {axes.images[0].get_clim() for axes in kernels.axes[:2]} == {(-1.0, 1.0)}
    maps = pictures.kernel_maps(corner_finder(), image)
    np.testing.assert_allclose(maps.axes[1].images[0].get_array(), np.array([[8, 12], [20, 24]]) / 8)
    np.testing.assert_allclose(maps.axes[2].images[0].get_array(), np.array([[0, -1], [-3, -4]]) / 8)
    assert {axes.images[0].get_clim() for axes in maps.axes[1:3]} == {(-3.0, 3.0)}


def test_the_strongest_answers_are_found_best_image_first() -> None:
    images = np.zeros((3, 4, 4))
    images[1, 2:4, 1:3] = 1
    images[2, 0, 3] = 0.5
    found = pictures.strongest_answers(corner_finder(), images, kernel=0, count=2)
    assert found == [pictures.Answer(1, 2, 1, 4.0), pictures.Answer(2, 0, 2, 0.5)]
    figure = pictures.strongest_picture(corner_finder(), images, 0, count=2)
    above, below = figure.axes[1], figure.axes[4]
    assert above.get_title() == "answer 4"
    assert above.patches[0].get_xy() == (0.5, 1.5)
    np.testing.assert_array_equal(below.images[0].get_array(), np.ones((2, 2)))


def test_windows_of_padded_and_strided_kernels_stand_where_the_kernel_stood() -> None:
    layer = Conv2d(1, 1, 3, stride=2, padding=1, rng=np.random.default_rng(1))
    layer.weight.data[...] = 1
    image = np.zeros((5, 5))
    image[4, 4] = 1
    figure = pictures.strongest_picture(layer, image, 0, count=1)
    assert figure.axes[1].patches[0].get_xy() == (2.5, 2.5)
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), [[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_images_with_the_wrong_number_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 channels are needed"):
        pictures.kernel_maps(corner_finder(), np.zeros((1, 3, 8, 8)))


# --- Words ---


def test_principal_axes_keep_what_differs_most_and_say_how_much() -> None:
    vectors = np.array([[3.0, 1, 5], [-3, 1, 5], [3, -1, 5], [-3, -1, 5]])
    points, shares = pictures.principal_axes(vectors)
    np.testing.assert_allclose(points, vectors[:, :2], atol=1e-12)
    np.testing.assert_allclose(shares, [0.9, 0.1])
    figure = pictures.word_map(["a", "b", "c", "d"], vectors)
    assert figure.axes[0].get_xlabel() == "principal axis 1 (90.0% of the variance)"


def test_two_dimensions_are_drawn_as_they_are() -> None:
    vectors = [[0.6, 0.1], [0.5, 0.0], [0.0, 0.8], [0.1, 1.0]]
    axes = pictures.word_map(["king", "man", "woman", "queen"], vectors).axes[0]
    (dots,) = (part for part in axes.collections if isinstance(part, PathCollection))
    np.testing.assert_array_equal(dots.get_offsets(), vectors)
    assert sorted(texts(axes.figure)) == ["king", "man", "queen", "woman"]


def test_labels_never_overlap_and_those_left_out_are_counted() -> None:
    rng = np.random.default_rng(2)
    words = [f"word{number}" for number in range(120)]
    figure = pictures.word_map(words, rng.normal(size=(120, 2)))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(box.overlaps(other) for number, box in enumerate(boxes) for other in boxes[:number])
    assert 0 < len(boxes) < 120
    assert figure.axes[0].get_title("right").startswith(f"{120 - len(boxes)} of 120 words")


def test_words_in_a_crowd_keep_their_labels_by_lines_that_lead_to_them() -> None:
    crowd = [[0, 0], [0.01, 0], [0, 0.01], [0.01, 0.01], [0.005, -0.01], [-0.01, 0.005]]
    words = ["one", "two", "three", "four", "five", "six", "far", "off"]
    axes = pictures.word_map(words, [*crowd, [1, 1], [-1, 1]]).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == sorted(words)
    starts = [line.get_xydata()[0] for line in axes.lines]
    assert sorted(map(tuple, np.round(starts, 6).tolist())) == sorted(map(tuple, crowd))


def test_vectors_as_strips_share_a_scale_around_zero() -> None:
    axes = pictures.vector_strips(["good", "bad"], [[0.5, -1, 0], [0, 2, 0]]).axes[0]
    assert axes.images[0].get_clim() == (-2.0, 2.0)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "bad"]
    with pytest.raises(ValueError, match="do not fit 3 words"):
        pictures.vector_strips(["a", "b", "c"], [[1, 2], [3, 4]])


def test_vectors_as_lines_start_at_dimension_0() -> None:
    axes = pictures.vector_lines(["good", "bad"], [[0.5, -1, 0], [0, 2, 0]]).axes[0]
    np.testing.assert_array_equal(lines(axes)["bad"], [[0, 0], [1, 2], [2, 0]])


# --- Gradients and updates ---


def test_the_identity_passes_the_same_gradient_back_to_every_step() -> None:
    norms = pictures.input_gradient_norms(LinearRecurrentCell(4), np.zeros((5, 1, 4)))
    np.testing.assert_allclose(norms, 2.0)  # four ones


def test_a_transition_of_one_half_halves_the_gradient_at_each_step_back() -> None:
    cell = LinearRecurrentCell(1)
    cell.transition.data *= 0.5
    np.testing.assert_allclose(pictures.input_gradient_norms(cell, np.zeros((4, 1, 1))), [0.125, 0.25, 0.5, 1])


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell])
def test_gradients_of_every_cell_reach_every_step(kind: type[RNNCell] | type[LSTMCell]) -> None:
    rng = np.random.default_rng(1)
    norms = pictures.input_gradient_norms(kind(3, 4, rng=rng), rng.normal(size=(6, 2, 3)))
    assert norms.shape == (6,)
    assert (norms > 0).all()


def test_gradient_norms_are_side_by_side_on_one_logarithmic_scale() -> None:
    figure = pictures.gradient_norms({"RNN": [1e-6, 1e-3, 1], "LSTM": [0, 0.1, 1]})
    assert [axes.get_title() for axes in figure.axes] == ["RNN", "LSTM"]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), [[2, 0.1], [3, 1]])


def test_the_words_that_moved_most_come_first_in_the_update() -> None:
    updates = np.array([[0.1, -3.0, 0.0, 1.0], [0.2, 0.5, 0.0, 2.0]])
    axes = pictures.update_heatmap(updates, ["the", "offer", "of", "win"], top=2).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["offer", "win"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["client 1", "client 2"]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[-3.0, 0.5], [1.0, 2.0]])
    assert axes.images[0].get_clim() == (-3.0, 3.0)


def test_updates_of_word_vectors_are_shown_by_their_length() -> None:
    axes = pictures.update_heatmap([[[3.0, 4.0], [0.0, 1.0]]], ["a", "b"]).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[5.0], [1.0]])
    assert axes.images[0].get_clim()[0] == 0


def test_updates_that_do_not_fit_the_words_are_refused() -> None:
    with pytest.raises(ValueError, match="2 clients and 3 words"):
        pictures.update_heatmap(np.zeros((2, 4)), ["a", "b", "c"])
