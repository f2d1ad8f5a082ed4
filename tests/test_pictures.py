"""Pictures of chapters 3 to 8 show what is so: style, bowls, weights and curves."""

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
from matplotlib.figure import Figure

import book.pictures
from book.pictures.bowls import slope_at
from book.pictures.heat import text_colour
from book.pictures.style import SIGNED
from core.errors import StorageError
from core.nn import Linear
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
