"""Chapters 8 to 10 in their quick form, and the parts they are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.chapters import chapter_08, chapter_09, chapter_10, get_chapter
from book.chapters.digits import (
    QUICK_SIZES,
    Curve,
    Digits,
    Recipe,
    choose,
    follow,
    load_digits,
    squared_error,
)
from book.finding import Finding, Verdict
from book.run import Run
from core.data.mnist import Images
from core.nn import Dropout, Flatten, Linear, Module, Sequential
from core.tensor import Tensor
from core.training import Sums

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "shared" / "data"
needs_mnist = pytest.mark.skipif(not (DATA / "train-images-idx3-ubyte.gz").is_file(), reason="MNIST is not here")


def quick(tmp_path: Path, data: Path | None = None) -> Run:
    return Run(tmp_path, data, quick=True, say=lambda _line: None)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def missed(findings: list[Finding]) -> list[str]:
    return [finding.what for finding in findings if finding.verdict(comparable=False) is Verdict.MISSED]


QUESTIONS = {
    8: ("training accuracy", "early stopping", "dropout", "batches of 1000", "weight decay", "averaged"),
    9: ("x times x", "temperature 10", "tanh and softmax", "pixels", "sigmoid, squared error"),
    10: ("positions", "16 kernels", "lowest on test", "minus dense", "second convolution"),
}
PICTURES = {
    8: {"overfitting", "dropout", "batch-sizes"},
    9: {"activations", "softmax-temperature", "learning-curves", "sigmoid-or-softmax"},
    10: {"kernels", "kernel-maps", "strongest-answers", "convolution-or-dense"},
}


@pytest.fixture(scope="module", params=[8, 9, 10])
def form(request, tmp_path_factory) -> tuple[int, list[Finding], Path]:
    """The quick form of a chapter: its number, findings and folder."""
    folder = tmp_path_factory.mktemp(f"chapter-{request.param}")
    return request.param, list(get_chapter(request.param).run(quick(folder))), folder


class TestQuickForms:
    def test_no_goal_that_holds_anywhere_is_missed(self, form):
        assert missed(form[1]) == []

    def test_accuracies_are_shares(self, form):
        accuracies = [f.value for f in form[1] if "on test" in f.what and isinstance(f.value, float)]
        assert accuracies
        assert all(0 < accuracy < 1 for accuracy in accuracies)

    def test_all_questions_are_asked(self, form):
        number, findings, _ = form
        names = "\n".join(finding.what for finding in findings)
        assert [part for part in QUESTIONS[number] if part not in names] == []

    def test_the_pictures_are_there(self, form):
        number, _, folder = form
        assert {path.stem for path in folder.glob("*.png")} == PICTURES[number]

    def test_the_same_seed_gives_the_same_findings(self, tmp_path):
        digits = load_digits(quick(tmp_path))
        first, second = (list(chapter_08.weight_decay(quick(tmp_path), digits)) for _ in range(2))
        assert first == second


class TestDigits:
    def test_drawn_digits_come_in_three_parts_of_known_sizes(self, tmp_path):
        said: list[str] = []
        digits = load_digits(Run(tmp_path, quick=True, say=said.append))
        assert tuple(map(len, (digits.training, digits.validation, digits.test))) == QUICK_SIZES
        assert said == ["digits drawn by the project, not MNIST"]

    @needs_mnist
    def test_the_first_thousand_are_the_book_s_and_validation_follows_them(self, tmp_path):
        digits = load_digits(Run(tmp_path, DATA))
        assert np.bincount(digits.training.labels).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
        assert (len(digits.validation), len(digits.test)) == (3_000, 10_000)
        assert not any(
            (image == digits.training.images).all(axis=(1, 2)).any() for image in digits.validation.images[:50]
        )

    def test_the_loss_is_half_the_squared_error_of_an_image_on_average(self):
        outputs = Tensor(np.zeros((4, 10), np.float32))
        assert squared_error(outputs, np.array([1, 2, 3, 4])).item() == pytest.approx(0.5)

    def test_a_step_on_it_is_the_delta_rule(self):
        outputs = Tensor(np.full((1, 10), 0.25), requires_grad=True)
        squared_error(outputs, np.array([3])).backward()
        assert outputs.grad.tolist() == [[0.25] * 3 + [-0.75] + [0.25] * 6]


def curve(*accuracies: float, passes: tuple[int, ...] = ()) -> Curve:
    sums = tuple(Sums(100, 0.0, round(100 * accuracy)) for accuracy in accuracies)
    return Curve(Module(), passes or tuple(range(1, len(sums) + 1)), sums, sums)


class TestCurve:
    def test_the_fall_is_from_the_best_to_the_last(self):
        assert curve(0.5, 0.9, 0.7).fall == pytest.approx(0.2)

    def test_the_lowest_later_on_leaves_out_the_first_passes(self):
        assert curve(0.1, 0.5, 0.6, 0.9, passes=(5, 10, 15, 20)).lowest_after(10) == 0.6

    def test_the_lowest_of_a_short_curve_is_its_end(self):
        assert curve(0.1, 0.3).lowest_after(10) == 0.3


def two_kinds(count: int, seed: int) -> Images:
    """Black images are 1, white ones 0: anything learns that."""
    labels = np.random.default_rng(seed).integers(0, 2, count)
    return Images(np.broadcast_to(labels[:, None, None], (count, 28, 28)).astype(np.float32), labels)


def linear(rng: np.random.Generator) -> Module:
    return Sequential(Flatten(), Linear(784, 10, rng=rng, dtype=np.float32))


EASY = Digits(two_kinds(40, 1), two_kinds(40, 2), two_kinds(40, 3))


def returned(findings):
    """Run a generator of findings to its end and return what it returns."""
    try:
        while True:
            next(findings)
    except StopIteration as stop:
        return stop.value


class TestRecipes:
    def test_a_run_is_measured_every_few_passes_and_at_the_end(self, tmp_path):
        found = follow(quick(tmp_path), EASY, Recipe(linear, squared_error, 0.002, 10), 5, name="easy", every=2)
        assert found.passes == (2, 4, 5)
        assert found.last == 1.0

    def test_the_one_that_learns_is_chosen_over_one_that_diverges(self, tmp_path):
        recipes = {name: Recipe(linear, squared_error, float(name), 10) for name in ("1000", "0.002")}
        assert returned(choose(quick(tmp_path), EASY, recipes, 5, "rate")) == "0.002"

    def test_the_choice_does_not_look_at_the_test_part(self, tmp_path):
        recipes = {name: Recipe(linear, squared_error, float(name), 10) for name in ("0.00001", "0.002")}
        upside_down = Digits(EASY.training, EASY.validation, Images(EASY.test.images, 1 - EASY.test.labels))
        assert returned(choose(quick(tmp_path), upside_down, recipes, 5, "rate")) == "0.002"


class TestChapter8:
    @pytest.mark.parametrize(("dropped", "varies"), [(0.5, True), (0.0, False)])
    def test_hidden_units_are_dropped_in_training_only(self, dropped: float, varies: bool):
        model = chapter_08.network(50, dropped)(np.random.default_rng(1))
        images = np.ones((1, 28, 28), np.float32)
        assert (model(images).data.tolist() != model(images).data.tolist()) is varies
        model.eval()
        assert model(images).data.tolist() == model(images).data.tolist()

    def test_recipes_hand_on_how_much_is_dropped(self):
        for recipe in (chapter_08.row_by_row(40, 0.25), chapter_08.in_batches(0.1, 0.25)):
            layers = recipe.build(np.random.default_rng(1)).modules()
            assert [layer.p for layer in layers if isinstance(layer, Dropout)] == [0.25]

    def test_an_ensemble_answers_with_the_mean(self):
        members = [lambda inputs, factor=factor: Tensor(inputs) * factor for factor in (1.0, 2.0, 6.0)]
        assert chapter_08.Ensemble(members)([1.0, -2.0]).data.tolist() == [3.0, -6.0]

    @needs_mnist
    def test_a_few_passes_over_100_images_learn_them_better_than_others(self, tmp_path):
        run = Run(tmp_path, DATA, quick=True)
        digits = load_digits(run)
        digits = Digits(digits.training.first(100), digits.validation, digits.test)
        found = follow(run, digits, chapter_08.row_by_row(40), 20, name="by heart")
        assert found.training[-1].accuracy > 0.95
        assert 0.4 < found.last < 0.8


class TestChapter9:
    def test_the_square_is_found_not_monotonic(self):
        found = by_name(list(chapter_09.properties()))
        assert any(
            what.startswith("x times x is defined everywhere, not monotonic, nonlinear, cheap") for what in found
        )
        assert any(what.startswith("tanh is defined everywhere, monotonic, nonlinear, not cheap") for what in found)
        assert found["x times x is monotonic (1 yes, 0 no)"].value == 0
        assert missed(list(found.values())) == []

    def test_sigmoid_is_far_off_where_softmax_is_right(self):
        sigmoid, softmax = chapter_09.one_large_logit()
        assert (sigmoid.value, softmax.value) == (pytest.approx(9 * 0.5**2), pytest.approx(0, abs=1e-40))

    def test_a_low_temperature_makes_softmax_surer(self):
        *at_temperatures, at_base_2 = [finding.value for finding in chapter_09.temperatures()]
        assert at_temperatures == sorted(at_temperatures, reverse=True)
        assert at_base_2 == pytest.approx(16 / 30)


class TestChapter10:
    def test_windows_number_side_minus_kernel_plus_one(self):
        assert [finding.value for finding in chapter_10.shapes()] == [6, 26, 676, 10_816]

    def test_kernels_start_as_many_times_as_wide_as_asked(self):
        usual, wide = (
            next(chapter_10.convolutional(width, 0.01, 20).build(np.random.default_rng(1)).parameters()).data
            for width in (1.0, 3.0)
        )
        assert usual.std() > 0.1
        assert wide == pytest.approx(3 * usual)

    def test_the_network_has_kernels_a_bias_each_and_one_last_layer(self):
        model = chapter_10.convolutional(1.0, 0.01, 20).build(np.random.default_rng(1))
        assert [p.shape for p in model.parameters()] == [(16, 1, 3, 3), (16,), (10_816, 10), (10,)]
        assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
        assert model(np.zeros((2, 28, 28), np.float32)).shape == (2, 10)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_quick_form_of_chapter_10_shows_that_kernels_beat_a_dense_network(tmp_path, seed):
    """As the notebook of the chapter says."""
    run = Run(tmp_path, None, True, seed, lambda _line: None)
    digits = chapter_10.load_digits(run)
    width = returned(chapter_10.choose_width(run, digits))
    setting = returned(chapter_10.choose_setting(run, digits, width))
    recipe = chapter_10.convolutional(width, *setting)
    convolution = chapter_10.follow(run, digits, recipe, 5, name="convolution", stream=2)
    findings = {found.what: found.value for found in chapter_10.against_dense(run, digits, convolution, setting[1])}
    assert findings["last pass: convolution minus dense"] > 0.03
