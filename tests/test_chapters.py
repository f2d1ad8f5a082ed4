"""The book's own numbers, chapter by chapter: figures that depend on no random numbers come out exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.chapters import chapter_05
from book.chapters.babi_lines import ceiling, read_lines
from book.chapters.chapter_05 import predictions
from book.chapters.chapter_06 import deep
from book.chapters.chapter_13 import FIRST, SECOND, padded, summed_errors, word_errors
from book.chapters.chapter_14 import load, state_gradients
from book.chapters.character_models import NextCharacter, text_perplexity
from book.chapters.sentence_models import EveryNextWord
from book.chapters.small_networks import errors, errors_row_by_row, linear
from book.data.toys import baseball, streetlights, streetlights_deep
from book.data.vocabulary import one_hot
from book.run import Run
from core.errors import DataError
from core.losses import mse
from core.nn import LSTM, RNN, LinearRecurrentCell, ReLU, Sequential, Sigmoid, Tanh
from core.optim import hot_and_cold
from core.tasks.babi import TRAIN_FILE
from core.tensor import Tensor

pytestmark = pytest.mark.slow

GAME = baseball().inputs[0]
STREETLIGHTS, WALK = streetlights()
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def exactly(figures: object) -> object:
    return pytest.approx(np.array(figures), rel=1e-6)


class TestChapter3ForwardPropagation:
    def test_one_input(self):
        assert linear([[0.1]])([[8.5]]).item() == exactly(0.85)

    def test_several_inputs(self):
        assert (Tensor(GAME) @ [0.1, 0.2, 0]).item() == exactly(0.98)

    def test_several_outputs(self):
        assert (Tensor([0.3, 0.2, 0.9]) * 0.65).data == exactly([0.195, 0.13, 0.585])

    def test_several_inputs_and_outputs(self):
        rows = [[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]
        assert (Tensor(rows) @ GAME).data == exactly([0.555, 0.98, 0.965])

    def test_stacked_layers(self):
        hidden = linear(np.transpose([[0.1, 0.2, -0.1], [-0.1, 0.1, 0.9], [0.1, 0.4, 0.1]]))
        output = linear(np.transpose([[0.3, 1.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]))
        assert Sequential(hidden, output)(GAME).data == exactly([0.2135, 0.145, 0.5065])


class TestChapter4GradientDescent:
    def test_hot_and_cold_reaches_the_goal(self):
        path = hot_and_cold(lambda weight: (weight * 0.5 - 0.8) ** 2, weight=0.5, step=0.001, moves=1_100)
        assert path[-1].weight * 0.5 == exactly(0.8)
        assert path[-2].weight * 0.5 != exactly(0.8)

    def test_hot_and_cold_with_a_step_too_large_alternates(self):
        path = hot_and_cold(lambda weight: (weight * 0.5 - 0.8) ** 2, weight=0.5, step=10, moves=5)
        assert [move.error for move in path] == exactly([0.3025, 19.8025] * 3)

    def test_errors_of_a_single_weight(self):
        seen = errors(linear([[0.5]]), np.array([[0.5]]), np.array([[0.8]]), lr=1, steps=20)
        assert seen[:3] == exactly([0.3025, 0.17015625, 0.095712890625])
        assert seen[-1] == exactly(5.408208e-06)

    def test_weights_that_overshoot_and_come_back(self):
        model, weights = linear([[0.0]]), []
        for _ in range(4):
            weights.append(model.weight.item())
            errors(model, np.array([[1.1]]), np.array([[0.8]]), lr=1, steps=1)
        assert weights == exactly([0, 0.88, 0.6952, 0.734008])

    def test_an_input_too_large_for_the_rate_diverges(self):
        seen = errors(linear([[0.5]]), np.array([[2.0]]), np.array([[0.8]]), lr=1, steps=20)
        assert seen[:3] == exactly([0.04, 0.36, 3.24])
        assert seen[-1] == pytest.approx(5.4034e16, rel=1e-5)

    def test_a_smaller_rate_converges(self):
        seen = errors(linear([[0.5]]), np.array([[2.0]]), np.array([[0.8]]), lr=0.1, steps=20)
        assert seen[:3] == exactly([0.04, 0.0144, 0.005184])
        assert seen[-1] == exactly(1.485277e-10)

    def test_one_step(self):
        model = linear([[0.1]])
        errors(model, np.array([[8.5]]), np.array([[1.0]]), lr=0.01, steps=1)
        assert model.weight.item() == exactly(0.11275)


class TestChapter5SeveralWeights:
    def test_predictions_of_three_weights(self):
        assert predictions(linear(chapter_05.START), lr=0.01, steps=3) == exactly([0.86, 0.9637575, 0.9906177228])

    def test_predictions_with_the_first_weight_frozen(self):
        model = linear(chapter_05.START)
        assert predictions(model, lr=0.3, steps=3, frozen=True) == exactly([0.86, 0.938225, 0.97274178])
        assert model.weight.data[0].item() == 0.1

    def test_one_input_and_three_outputs(self):
        model = linear([[0.3, 0.2, 0.9]])
        errors(model, np.array([[0.65]]), np.array([[0.1, 1, 0.1]]), lr=0.1, steps=1)
        assert model.weight.data[0] == exactly([0.293825, 0.25655, 0.868475])

    def test_three_inputs_and_three_outputs(self):
        model = linear(np.transpose([[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]]))
        errors(model, GAME[None, :], np.array([[0.1, 1, 0.1]]), lr=0.01, steps=1)
        rows = [[0.061325, 0.0970425, -0.30546], [0.1017, 0.20013, 0.00024], [-0.073525, 1.2943775, 0.08962]]
        np.testing.assert_allclose(model.weight.data.T, rows, rtol=1e-6)


class TestChapter6Streetlights:
    def test_one_row(self):
        model = linear([[0.5], [0.48], [-0.7]])
        assert errors(model, STREETLIGHTS[:1], WALK[:1], lr=0.1, steps=20)[-1] == exactly(8.307675e-06)

    def test_six_rows_one_at_a_time(self):
        model = linear([[0.5], [0.48], [-0.7]])
        seen = errors_row_by_row(model, STREETLIGHTS, WALK, lr=0.1, passes=40)
        assert seen[:2] == exactly([2.6561231104, 0.9628701777])
        assert seen[-1] == exactly(0.0005337368)
        np.testing.assert_allclose(model.weight.data[:, 0], [0, 1, 0], atol=0.02)

    def test_all_rows_at_once_with_the_mean_update(self):
        model = linear([[0.5], [0.48], [-0.7]])
        seen = errors(model, STREETLIGHTS, WALK, lr=0.1 / len(WALK), steps=2_000)
        assert seen[0] == exactly(0.2**2 + 1.22**2 + 0.7**2 + 0.72**2 + 1.22**2 + 0.2**2)
        np.testing.assert_allclose(model.weight.data[:, 0], [0, 1, 0], atol=0.01)

    def test_a_deep_network_on_four_rows(self):
        seen = errors_row_by_row(deep(ReLU()), *streetlights_deep(), lr=0.2, passes=60)
        figures = [0.6342311598, 0.3583840768, 0.0830183113, 0.0064670550, 0.0003292669]
        assert seen[9:-10:10] == exactly(figures)
        assert seen[-1] == pytest.approx(1.50556e-05, rel=1e-5)

    def test_a_purely_linear_stack_cannot_learn_four_rows(self):
        assert min(errors(deep(), *streetlights_deep(), lr=0.05, steps=1_000)) > 1 - 1e-9


class TestChapter9Activations:
    def test_one_large_logit_is_a_miss_for_sigmoid_and_none_for_softmax(self):
        logits, target = Tensor([0.0] * 9 + [100.0]), one_hot(9, 10)
        assert mse(logits.sigmoid(), target, "sum").item() == exactly(2.25)
        assert mse(logits.softmax(), target, "sum").item() == pytest.approx(0, abs=1e-40)


class TestChapter12SentenceVectors:
    def test_identity_matrices_make_a_plain_sum(self):
        cell = LinearRecurrentCell(3)
        state = cell.initial_state(1)
        for word in ([2.0, 4, 6], [10.0, 10, 10], [1.0, 1, 1]):
            state = cell([word], state)
        np.testing.assert_array_equal(state.data, [[13, 15, 17]])

    def test_a_model_of_nine_words_without_meaning_finds_all_equally_likely(self):
        """With word vectors 0 its state stays at the start vector, which is 0 until it is trained."""
        model = EveryNextWord(9, 3, rng=np.random.default_rng(0))
        sentence = np.array([[0, 1, 2, 3]])
        assert model(sentence).softmax().data != exactly(np.full((1, 4, 9), 1 / 9))
        model.embedding.weight.data[...] = 0
        assert model(sentence).softmax().data == exactly(np.full((1, 4, 9), 1 / 9))
        model.cell.start.data[...] = 1
        assert model(sentence).softmax().data != exactly(np.full((1, 4, 9), 1 / 9))


class TestChapter13Framework:
    def test_two_linear_layers_without_biases(self):
        first = linear([[0.71518937, 0.60276338, 0.54488318], [0.4236548, 0.64589411, 0.43758721]])
        second = linear([[0.05671298], [0.27265629], [0.47766512]])
        figures = [
            0.58128304, 0.48988149, 0.41375111, 0.34489412, 0.28210124,
            0.2254484, 0.17538853, 0.1324231, 0.09682769, 0.06849361,
        ]  # fmt: skip
        assert summed_errors(Sequential(first, second), lr=0.1) == exactly(figures)

    def test_two_linear_layers_with_biases(self):
        model = Sequential(linear(FIRST, bias=True), linear(SECOND, bias=True))
        figures = [
            2.33428272, 0.06743796, 0.0521849, 0.04079507, 0.03184365,
            0.02479336, 0.01925443, 0.01491699, 0.01153118, 0.00889602,
        ]  # fmt: skip
        assert summed_errors(model, lr=0.05) == exactly(figures)

    def test_tanh_and_sigmoid(self):
        model = Sequential(linear(FIRST, bias=True), Tanh(), linear(SECOND, bias=True), Sigmoid())
        figures = [
            1.06372865, 0.75148144, 0.57384259, 0.39574294, 0.2482279,
            0.15515294, 0.10423398, 0.07571169, 0.05837623, 0.04700013,
        ]  # fmt: skip
        assert summed_errors(model, lr=1) == exactly(figures)

    def test_embedding_and_cross_entropy(self):
        figures = [
            1.3885032, 0.9558182, 0.6823084, 0.509526, 0.3957449,
            0.3175253, 0.2617223, 0.2206128, 0.1894643, 0.1652739,
        ]  # fmt: skip
        assert word_errors() == exactly(figures)

    @pytest.mark.skipif(not (DATA / TRAIN_FILE).is_file(), reason="the published stories are not here")
    def test_no_guess_of_the_last_words_of_the_published_lines_is_better(self, tmp_path):
        lines = [padded(line) for line in read_lines(Run(tmp_path, DATA))]
        first, every = (ceiling((line[:-1], line[-1]) for line in part) for part in (lines[:100], lines))
        assert (first.accuracy, every.accuracy) == (0.37, 0.191)
        assert (first.loss, every.loss) == (pytest.approx(1.3187, abs=5e-5), pytest.approx(2.3312, abs=5e-5))


class TestChapter14VanishingGradients:
    @pytest.mark.parametrize(("last", "known"), [("a", True), ("z", False)])
    def test_the_characters_are_those_of_the_part_learned_from(self, tmp_path, last, known):
        (tmp_path / "shakespear.txt").write_text("ab" * 10_000 + last)
        if known:
            assert load(Run(tmp_path, tmp_path)).vocabulary.characters == "ab"
        else:
            with pytest.raises(DataError, match="the character 'z' is not among the 2"):
                load(Run(tmp_path, tmp_path))

    def test_sigmoid_gradients_vanish(self):
        last, gradients = state_gradients("sigmoid")
        assert last == exactly([0.99307291, 0.99307291])
        assert gradients[0] == pytest.approx(0.0344, abs=5e-5)
        assert gradients[-1] == pytest.approx(1.5e-14, rel=0.05)
        assert gradients == sorted(gradients, reverse=True)

    def test_relu_gradients_explode(self):
        _, gradients = state_gradients("relu")
        assert gradients == exactly([5.0**n for n in range(1, 11)])
        assert gradients[-1] == exactly(9_765_625)

    @pytest.mark.parametrize("layer", [RNN, LSTM])
    def test_zero_output_weights_are_as_perplexed_as_there_are_symbols(self, layer):
        rng = np.random.default_rng(0)
        model, text = NextCharacter(62, layer, embedding=8, width=8, rng=rng), rng.integers(0, 62, 100)
        assert text_perplexity(model, text) > 62.5  # it believes in something, and nothing is true of random letters
        model.output.weight.data[...] = 0
        assert text_perplexity(model, text) == exactly(62)
