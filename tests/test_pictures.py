"""Pictures show the numbers they were given, in scales that do not mislead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

import book.pictures
from book.pictures.activations import values_and_slopes, verdict
from book.pictures.bowls import slope_at
from book.pictures.heat import text_colour
from book.pictures.style import SIGNED
from core.errors import StorageError
from core.nn import Conv2d, Linear, LinearRecurrentCell, LSTMCell, ReLU, RNNCell, Sigmoid, Tanh
from core.optim import Move, hot_and_cold

pictures: Any = book.pictures  # matplotlib's types hide much of what there is to look at

STREETLIGHTS = [[1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1]]


def lines(axes: Axes) -> dict[str, np.ndarray]:
    """Return the points of the named lines, shape (n, 2)."""
    return {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def error(weight: float) -> float:
    return (2 * weight - 0.8) ** 2


def descent(weight: float, rate: float, steps: int) -> list[Move]:
    """Follow the delta rule for input 2 and target 0.8."""
    path = [Move(weight, error(weight))]
    for _ in range(steps):
        weight -= rate * 2 * (2 * weight - 0.8)
        path.append(Move(weight, error(weight)))
    return path


# --- Style and saving ---


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.word_map(["a", "b", "c"], np.eye(3), ["x", "x", "y"]),
        lambda: pictures.weight_pictures(linear(np.eye(9)), title="nine pixels"),
        lambda: pictures.activation_curves(),
    ],
)
def test_saving_a_picture_twice_gives_the_same_bytes(draw: Callable[[], Figure], tmp_path: Path) -> None:
    kept = []
    for name in ("first", "second"):
        figure = draw()
        kept += [[path.read_bytes() for path in pictures.save(figure, tmp_path / name)] for _ in range(2)]
    assert all(contents == kept[0] for contents in kept)
    assert kept[0][0].startswith(b"\x89PNG")
    assert b"<dc:date>" not in kept[0][1]


def test_a_dot_in_the_name_is_kept(tmp_path: Path) -> None:
    png, svg = pictures.save(pictures.new_figure(), tmp_path / "rate 0.5")
    assert (png.name, svg.name) == ("rate 0.5.png", "rate 0.5.svg")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        pictures.save(pictures.new_figure(), tmp_path / "file" / "picture")


def test_matplotlib_s_own_settings_stay_as_they_were() -> None:
    before = dict(mpl.rcParams)
    figure = pictures.curves({"a": [1, 2]}, "x", "y")
    assert dict(mpl.rcParams) == before
    assert figure.axes[0].xaxis.label.get_fontsize() == 10


def test_a_notebook_shows_a_returned_picture_without_pyplot() -> None:
    program = (
        "import sys; from book.pictures import curves; picture = curves({'a': [1, 2]}, 'x', 'y');"
        "assert picture._repr_png_()[:4] == b'\\x89PNG'; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])


def test_signed_colours_only_get_lighter_with_zero_a_neutral_grey() -> None:
    red, green, blue, _ = SIGNED(np.linspace(0, 1, 101)).T
    assert (np.diff(0.299 * red + 0.587 * green + 0.114 * blue) > 0).all()
    assert red[50] == pytest.approx(green[50], abs=0.01)
    assert blue[50] == pytest.approx(green[50], abs=0.01)
    assert (text_colour(0.0), text_colour(1.0)) == ("white", "black")


# --- Bowls ---


def test_over_correction_jumps_up_both_sides_of_the_bowl() -> None:
    path = descent(0.5, 1.0, 3)
    axes = pictures.error_bowl(error, path).axes[0]
    earlier, now = lines(axes)["earlier steps"], axes.lines[2].get_xydata()
    np.testing.assert_allclose(earlier, [[0.5, 0.04], [0.1, 0.36], [1.3, 3.24]])
    np.testing.assert_allclose(now, [[-2.3, 29.16]])
    low, high = axes.get_xlim()
    assert low < -2.3
    assert high > 0.4 + 2.7  # as far on the other side of the bottom at 0.4
    assert [text for text in texts(axes.figure) if text] == ["0", "1", "2", "3"]


def test_the_tangent_touches_the_bowl_with_the_error_s_slope() -> None:
    assert slope_at(error, 0.5) == pytest.approx(2 * 2 * (2 * 0.5 - 0.8))
    tangent = lines(pictures.error_bowl(error, [Move(0.5, error(0.5))]).axes[0])["slope 0.8"]
    (left, below), (right, above) = tangent
    assert (above - below) / (right - left) == pytest.approx(0.8)
    assert (above + below) / 2 == pytest.approx(0.04)


def test_a_bowl_shows_its_bottom_though_the_weight_is_far_from_it() -> None:
    axes = pictures.error_bowl(error, [Move(2.4, error(2.4))]).axes[0]
    curve = axes.lines[0].get_xydata()
    assert curve[:, 1].min() == pytest.approx(0, abs=0.01)
    assert curve[0, 1] > error(2.4)
    assert curve[-1, 1] > error(2.4)


def test_a_walk_between_two_places_is_numbered_once_at_each() -> None:
    path = hot_and_cold(error, 0.5, 10, 6)
    assert [text for text in texts(pictures.error_bowl(error, path)) if text] == ["0", "1"]


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one weight"):
        pictures.error_bowl(error, [])


def test_each_weight_has_its_bowl_and_the_frozen_one_is_marked_and_has_no_tangent() -> None:
    inputs = np.array([8.5, 0.65, 1.2])

    def of_all(weights: np.ndarray) -> float:
        return float((inputs @ weights - 1) ** 2)

    path = [[0.1, 0.2, -0.1], [0.1, 0.2273, -0.0496]]
    figure = pictures.error_bowls(of_all, path, ["toes", "wins", "fans"], frozen=[0])
    assert [axes.get_title() for axes in figure.axes] == ["toes (frozen)", "wins", "fans"]
    slopes = [any(name.startswith("slope") for name in lines(axes)) for axes in figure.axes]
    assert slopes == [False, True, True]
    np.testing.assert_allclose(lines(figure.axes[1])["now"], [[0.2273, of_all(np.array(path[1]))]])
    np.testing.assert_allclose(lines(figure.axes[2])["earlier"], [[-0.1, of_all(np.array(path[0]))]])
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_weights_without_any_error_still_have_bowls() -> None:
    figure = pictures.error_bowls(lambda weights: float(weights.sum() ** 2), [[0.0, 0.0]])
    assert [axes.get_title() for axes in figure.axes] == ["weight 0", "weight 1"]


def test_a_trace_has_a_panel_each_for_weight_error_and_prediction() -> None:
    path = descent(0.0, 0.1, 4)
    figure = pictures.descent_trace(path, [2 * move.weight for move in path], target=0.8)
    assert [axes.get_ylabel() for axes in figure.axes] == ["weight", "error", "prediction"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [move.error for move in path])
    assert list(lines(figure.axes[2])["target 0.8"][:, 1]) == [0.8, 0.8]
    assert len(pictures.descent_trace(path).axes) == 2


# --- Weights and pressure ---


def linear(weight: np.ndarray, bias: bool = True) -> Linear:
    layer = Linear(*weight.shape, bias=bias, rng=np.random.default_rng(1))
    layer.weight.data[...] = weight
    return layer


def test_weights_of_each_output_are_one_picture_on_one_scale_around_zero() -> None:
    weight = np.zeros((784, 10))
    weight[28 * 3 + 5, 7] = -2.0  # row 3, column 5 of output 7
    weight[0, 0] = 1.0
    figure = pictures.weight_pictures(linear(weight))
    shown = [axes.images[0] for axes in figure.axes[:10]]
    assert {image.get_clim() for image in shown} == {(-2.0, 2.0)}
    assert shown[7].get_array()[3, 5] == -2.0
    assert [axes.get_title() for axes in figure.axes[:10]] == [str(digit) for digit in range(10)]
    assert figure.axes[10].get_ylabel() == "weight"  # the bar of colours


def test_weights_that_make_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="6 weights an output do not make a picture of 2 x 2"):
        pictures.weight_pictures(linear(np.ones((6, 2))))
    assert pictures.weight_pictures(linear(np.ones((6, 2))), (2, 3)).axes[0].images[0].get_array().shape == (2, 3)


def test_a_score_is_the_sum_of_image_times_weights() -> None:
    layer = linear(np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.5, 0.0]]))
    assert layer.bias is not None
    layer.bias.data[0] = 0.25
    figure = pictures.score_picture(layer, [[1.0, 0.5], [1.0, 0.0]], 0)
    np.testing.assert_array_equal(figure.axes[2].images[0].get_array(), [[1, 1], [-1, 0]])
    assert figure.axes[2].get_title() == "= products, sum 1"
    assert figure.get_supxlabel() == "score 1.25 = sum 1 + bias 0.25"


def test_pressures_of_the_streetlights_sum_to_minus_one_three_and_zero() -> None:
    pressure = pictures.weight_pressure(STREETLIGHTS, [0, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(pressure.sums, [-1, 3, 0])
    np.testing.assert_array_equal(pressure.pushes[0], [-1, 0, -1])
    np.testing.assert_array_equal(pressure.pushes[1], [0, 1, 1])


def test_pressures_of_the_four_rows_cancel() -> None:
    np.testing.assert_array_equal(pictures.weight_pressure(STREETLIGHTS[:4], [1, 1, 0, 0]).sums, [0, 0, 0])


def test_targets_other_than_0_and_1_have_no_pressure() -> None:
    with pytest.raises(ValueError, match="0 .* or 1"):
        pictures.weight_pressure([[1, 0]], [0.5])
    with pytest.raises(ValueError, match=r"\(2,\)"):
        pictures.weight_pressure([[1, 0]], [1, 0])


def test_the_pressure_table_ends_in_the_sums() -> None:
    figure = pictures.pressure_table(STREETLIGHTS, [0, 1, 0, 1, 1, 0], ["left", "middle", "right"])
    left, right = figure.axes
    assert [text.get_text() for text in right.texts][-3:] == ["-1", "+3", "0"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["left", "middle", "right", "target"]
    assert len(left.texts) == 6 * 4


# --- Curves ---


def test_learning_curves_mark_the_best_pass_and_the_stop() -> None:
    series = {"training": [0.5, 0.8, 0.9, 1.0], "test": [0.4, 0.7, 0.6, 0.5]}
    axes = pictures.learning_curves(series, watched="test", stopped=4).axes[0]
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["training"], [[1, 0.5], [2, 0.8], [3, 0.9], [4, 1.0]])
    np.testing.assert_array_equal(drawn["best test: 0.7 at pass 2"], [[2, 0.7]])
    assert list(drawn["early stopping: pass 4"][:, 0]) == [4, 4]


def test_the_best_error_is_the_lowest_at_the_pass_it_was_measured() -> None:
    axes = pictures.learning_curves(
        {"validation": [3.0, 1.0, 2.0]}, watched="validation", best=np.argmin, passes=[0, 10, 20]
    ).axes[0]
    assert "best validation: 1 at pass 10" in lines(axes)


def test_curves_differ_in_dashes_and_marks_not_only_in_colour() -> None:
    axes = pictures.curves({"a": [1, 2], "b": [2, 1], "c": [1, 1]}, "step", "error").axes[0]
    assert len({line.get_linestyle() for line in axes.lines}) == 3
    assert len({line.get_marker() for line in axes.lines}) == 3
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "error")


def test_twenty_curves_still_differ_in_colour_or_dashes() -> None:
    axes = pictures.curves({str(number): [number, 0] for number in range(20)}, "x", "y").axes[0]
    assert len({(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in axes.lines}) == 20


def test_curves_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        pictures.curves({}, "x", "y")
    with pytest.raises(ValueError, match="nothing to draw"):
        pictures.activation_curves({})
    with pytest.raises(ValueError, match="no series 'test' to watch, only training"):
        pictures.learning_curves({"training": [1.0]}, watched="test")
    with pytest.raises(ValueError, match="2 values do not fit 1 places"):
        pictures.curves({"a": [1, 2]}, "x", "y", x=[1])


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
