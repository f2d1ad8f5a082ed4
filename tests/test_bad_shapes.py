"""Shapes, layers, word numbers and labels that do not fit: one sentence that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from book.data.vocabulary import FrequentWords, pad
from core import losses
from core.data.characters import CharacterVocabulary
from core.data.mnist import Images
from core.data.reviews import Reviews
from core.data.text import Bags, HashingVocabulary, make_bags
from core.errors import DataError
from core.nn import (
    LSTM,
    RNN,
    AvgPool2d,
    Conv2d,
    Dropout,
    Embedding,
    EmbeddingBag,
    Flatten,
    KernelPool,
    Linear,
    LSTMCell,
    MaxPool2d,
    Module,
    ReLU,
    RNNCell,
    Sequential,
    Softmax,
)
from core.optim import SGD, DivergedError
from core.parameters import save_npz
from core.tasks import TASKS
from core.tasks.mnist import prepare as prepare_digits
from core.tasks.mnist import read as read_digits
from core.tensor import Tensor
from core.training import train_epoch

DIGITS: dict[str, Any] = {"images": np.zeros((3, 28, 28), np.uint8), "labels": np.arange(3)}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


def untyped(value: Any) -> Any:
    """Hide from the type checker what it would refuse as well."""
    return value


# --- Shapes: both of them, and the layer ---

LSTM_STATE = (zeros(2, 4), zeros(2, 5))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Linear(3, 4, rng=rng())(zeros(5, 7)), r"^Linear: .*\(5, 7\) and \(3, 4\)"),
        (lambda: Conv2d(1, 2, 3, rng=rng())(zeros(5, 28, 28)), r"^Conv2d: .*\(5, 28, 28\) .* \(2, 1, 3, 3\)"),
        (lambda: Conv2d(1, 2, 3, rng=rng())(zeros(1, 1, 2, 2)), r"^Conv2d: .*\(1, 1, 2, 2\) .* \(3, 3\)"),
        (lambda: MaxPool2d(2)(zeros(5, 5)), r"^MaxPool2d: .*\(5, 5\) .* \(2, 2\)"),
        (lambda: AvgPool2d(4)(zeros(1, 1, 3, 3)), r"^AvgPool2d: .*\(1, 1, 3, 3\) .* \(4, 4\)"),
        (lambda: KernelPool("sum")(zeros(2, 3, 4)), r"^KernelPool: .*\(2, 3, 4\) .*\(n, kernels, h, w\)"),
        (lambda: Flatten()(1.0), r"^Flatten: .*\(\).*\(n, \.\.\.\)"),
        (lambda: RNNCell(3, 4, rng=rng())(zeros(2, 3), zeros(3, 4)), r"^RNNCell: .*\(2,4\) \(3,4\)"),
        (lambda: LSTMCell(3, 4, rng=rng())(zeros(2, 3), LSTM_STATE), r"^LSTMCell: .*\(2,4\) \(2,5\)"),
        (lambda: RNN(3, 4, rng=rng())(zeros(6, 2, 5)), r"^RNN: .*\(6, 2, 5\) .*\(3, 4\)"),
        (lambda: RNN(3, 4, rng=rng())(zeros(6, 2, 3), zeros(2, 5)), r"^RNN: .*\(2, 5\) .*\(2, 4\)"),
        (lambda: RNN(3, 4, rng=rng())(zeros(6, 2, 3), zeros(1, 4)), r"^RNN: .*\(1, 4\) .*\(2, 4\)"),
        (lambda: LSTM(3, 4, rng=rng())(zeros(6, 2, 3), LSTM_STATE), r"^LSTM: .*\(2, 5\) .*\(2, 4\)"),
        (lambda: EmbeddingBag(5, 2, rng=rng())([[0]], [0]), r"^EmbeddingBag: .*\(1, 1\) .*\(1,\)"),
        (
            lambda: EmbeddingBag(5, 2, padding_idx=1, rng=rng())([0, 1], [0], [1.0]),
            r"^EmbeddingBag: weights of shape \(1,\) .* indices of shape \(2,\)",
        ),
        (lambda: losses.cross_entropy(zeros(2, 10), [1, 2, 3]), r"\(2, 10\) .*\(2,\), not \(3,\)"),
        (lambda: losses.mse(zeros(2, 1), [0, 1]), r"\(2, 1\) .*not \(2,\)"),
        (lambda: losses.negative_sampling(zeros(2), zeros(2, 5), np.ones((1, 5))), r"\(2, 5\) .*not \(1, 5\)"),
    ],
)
def test_a_shape_error_names_the_layer_and_both_shapes(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_shape_error_deep_inside_names_the_innermost_layer_and_lists_those_around_it() -> None:
    class Model(Module):
        def __init__(self) -> None:
            self.layers = Sequential(Linear(3, 4, rng=rng()), ReLU(), Linear(5, 2, rng=rng()))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layers(inputs)

    with pytest.raises(ValueError, match=r"^Linear: .*\(2, 4\) and \(5, 2\)") as caught:
        Model()(zeros(2, 3))
    assert caught.value.__notes__ == ["in Linear", "in Sequential", "in Model"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Linear(0, 4, rng=rng()), "in_features must be at least 1, not 0"),
        (lambda: Linear(3, -1, rng=rng()), "out_features must be at least 1, not -1"),
        (lambda: Conv2d(1, 0, 3, rng=rng()), "out_channels must be at least 1, not 0"),
        (lambda: Conv2d(0, 1, 3, rng=rng()), "in_channels must be at least 1, not 0"),
        (
            lambda: Conv2d(1, 2, untyped((3, 3, 3)), rng=rng()),
            r"kernel_size is a whole number or a pair .*, not \(3, 3, 3\)",
        ),
        (lambda: MaxPool2d(untyped(2.5)), "kernel_size is a whole number or a pair .*, not 2.5"),
        (lambda: Embedding(0, 2, rng=rng()), "num_embeddings must be at least 1, not 0"),
        (lambda: EmbeddingBag(2, 0, rng=rng()), "embedding_dim must be at least 1, not 0"),
    ],
)
def test_a_layer_of_no_size_is_refused_by_name(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Dropout(rng=rng())(np.ones((2, 2), int)), "^Dropout: .*int64.*floats are needed"),
        (lambda: Embedding(5, 2, rng=rng())([0.5]), "^Embedding: indices must be integers, not float64"),
        (lambda: EmbeddingBag(5, 2, rng=rng())([0], [0.0]), "^EmbeddingBag: offsets must be integers, not float64"),
        (lambda: losses.cross_entropy(zeros(1, 2), [1.0]), "targets must be integers, not float64"),
    ],
)
def test_numbers_of_another_kind_are_refused(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        call()


def test_layers_that_fit_are_not_refused() -> None:
    image_model = Sequential(
        Conv2d(1, 2, 3, rng=rng()), MaxPool2d((2, 2)), Flatten(), Linear(8, 3, rng=rng()), Softmax()
    )
    assert image_model(zeros(5, 1, 6, 6)).shape == (5, 3)
    states, last = RNN(3, 4, rng=rng())(zeros(6, 2, 3), zeros(2, 4))
    assert (states.shape, last.shape) == ((6, 2, 4), (2, 4))


# --- A vocabulary that does not fit the model ---


@pytest.mark.parametrize(
    "call",
    [
        lambda numbers: Embedding(5, 2, rng=rng())(numbers),
        lambda numbers: EmbeddingBag(5, 2, rng=rng())(numbers, [0]),
        lambda numbers: EmbeddingBag(5, 2, padding_idx=0, rng=rng())(numbers, [0]),
        lambda numbers: EmbeddingBag(5, 2, deduplicate=True, rng=rng())(numbers, [0, 1]),
        lambda numbers: RNN(2, 2, rng=rng()).read_rows(zeros(5, 2), [numbers]),
        lambda numbers: LSTM(2, 2, rng=rng()).read_rows(zeros(5, 2), [numbers]),
    ],
)
@pytest.mark.parametrize(("numbers", "range_of_them"), [([1, 5], "1 to 5"), ([3, -1], "-1 to 3")])
def test_word_numbers_that_the_table_does_not_have_are_one_sentence(
    call: Callable[[list[int]], Any], numbers: list[int], range_of_them: str
) -> None:
    with pytest.raises(IndexError, match=rf"{range_of_them} are not all in 0 \.\.\. 4; the vocabulary does not fit"):
        call(numbers)


def test_a_task_says_so_if_its_mails_were_numbered_with_a_larger_vocabulary() -> None:
    task = TASKS["spam"]
    data = make_bags(["one two three four five six seven"], [True], HashingVocabulary(1 << 30))
    with pytest.raises(IndexError, match=r"^EmbeddingBag: .*8191; the vocabulary does not fit .*\(8192, 1\)"):
        task.build(rng())(data.batch(np.array([0]))[0])


def test_numbers_that_are_no_words_are_not_decoded() -> None:
    words, characters = FrequentWords([["a"]]), CharacterVocabulary("ab")
    for vocabulary, outside in ((words, 3), (words, -1), (characters, 2), (characters, -1)):
        with pytest.raises(IndexError, match=rf"the number {outside} is not among the \d of this vocabulary"):
            vocabulary.decode([outside])
    assert words.decode([2]) == ["a"]
    assert characters.decode([1, 0]) == "ba"


def test_a_vocabulary_or_a_table_for_nothing_is_refused() -> None:
    for largest in (0, -1):
        with pytest.raises(ValueError, match=f"must be at least 1, not {largest}"):
            FrequentWords([["a"]], largest=largest)
    with pytest.raises(ValueError, match="rows of 0 numbers hold nothing"):
        pad([np.array([1])], 0)


# --- Labels out of range, numbers that are none, no examples ---


def test_a_label_beyond_the_last_class_is_one_sentence() -> None:
    with pytest.raises(IndexError, match=r"targets from 3 to 10 are not all in 0 \.\.\. 9"):
        losses.cross_entropy(zeros(2, 10), [3, 10])
    assert losses.cross_entropy(zeros(2, 10), [3, 9]).item() == pytest.approx(np.log(10))


@pytest.mark.parametrize("labels", [[0, 2], [-1, 1]])
def test_texts_are_labelled_0_or_1(labels: list[int]) -> None:
    numbers = np.array([0, 1])
    with pytest.raises(DataError, match=f"the labels go from {labels[0]} to {labels[1]}; expected 0 and 1"):
        Bags(numbers, numbers, np.array(labels))
    with pytest.raises(DataError, match=r"bags of shape \(2,\) and labels of shape \(1,\)"):
        Bags(numbers, numbers, np.array([1]))
    assert len(Bags(numbers, numbers, np.array([0, 1]))) == 2


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"images": np.full((3, 28, 28), np.nan)}, "hold numbers that are not finite"),
        ({"images": np.full((3, 28, 28), np.inf)}, "hold numbers that are not finite"),
        ({"images": np.zeros((3, 28, 28))}, "are of type float64; expected bytes"),
        ({"images": np.zeros((3, 28, 28), int) - 5}, "are of type int64; expected bytes"),
        ({"images": np.zeros((3, 28, 28)).astype(str)}, "images of type <U32"),
        ({"images": np.zeros((3, 28, 28), complex)}, "images of type complex128"),
        ({"labels": np.array([8, 9, 10])}, "labels .* go from 8 to 10; expected digits"),
        ({"labels": np.array([-1, 0, 1])}, "labels .* go from -1 to 1; expected digits"),
        ({"labels": np.array([0.5, 1, 2])}, "labels of type float64; expected numbers and whole numbers"),
        ({"labels": np.array([np.nan, 1, 2])}, "labels of type float64"),
        ({"labels": np.array(["one", "two", "six"])}, "labels of type <U3"),
        ({"labels": np.arange(2)}, r"3 images and labels of shape \(2,\)"),
        ({"labels": np.eye(3)}, r"3 images and labels of shape \(3, 3\)"),
        ({"images": np.zeros((3, 784), np.uint8)}, r"shape \(3, 784\); expected \(n, 28, 28\)"),
        ({"images": np.zeros((0, 28, 28), np.uint8), "labels": np.arange(0)}, "holds no images"),
        ({"more": np.arange(3)}, "holds images, labels, more; expected images and labels"),
    ],
)
def test_a_part_of_digits_that_cannot_be_right_is_one_sentence(
    changed: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    save_npz(tmp_path / "client-1.npz", {**DIGITS, **changed})
    with pytest.raises(DataError, match=sentence) as caught:
        read_digits(tmp_path / "client-1.npz")
    assert "client-1.npz" in str(caught.value)


def test_a_part_of_digits_that_is_right_is_read(tmp_path: Path) -> None:
    save_npz(tmp_path / "client-1.npz", DIGITS)
    assert [label for _, label in read_digits(tmp_path / "client-1.npz").examples] == [0, 1, 2]


def test_reviews_are_positive_or_not() -> None:
    with pytest.raises(DataError, match="labels of the reviews are of type int64; expected true or false"):
        Reviews(["good", "bad"], np.array([1, 2]))
    assert len(Reviews(["good", "bad"], np.array([True, False]))) == 2


def test_a_story_without_a_question_is_named(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text("1 Mary went home.\n")
    with pytest.raises(DataError, match="story.txt holds no questions"):
        TASKS["babi"].read(tmp_path / "story.txt")


def test_pixels_are_shares_of_ink() -> None:
    labels = np.zeros(1, np.int64)
    for ink in (255, -0.5):
        with pytest.raises(DataError, match=r"expected 0 \(paper\) to 1 \(ink\)"):
            Images(np.full((1, 28, 28), ink, np.float32), labels)
    assert len(Images(np.ones((1, 28, 28), np.float32), labels)) == 1


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ([(np.zeros((28, 28)), 3.7)], "labels of type float64"),
        ([(np.zeros((28, 28)), None)], "labels of type object"),
        ([(np.zeros((28, 28)), "a")], "labels of type <U1"),
        ([(np.zeros((28, 28)), 0), (np.zeros((9, 9)), 0)], r"different shapes: \(9, 9\), \(28, 28\)"),
    ],
)
def test_digits_that_do_not_go_together_are_one_sentence(examples: list[Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        prepare_digits(examples)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_training_on_numbers_that_are_not_finite_ends_at_the_first_step_and_says_why(number: float) -> None:
    class Numbers:
        def __len__(self) -> int:
            return 2

        def batch(self, rows: np.ndarray) -> tuple[Any, Any]:
            return np.array([[1.0], [number]])[rows], np.zeros((len(rows), 1))

    model = Linear(1, 1, rng=rng())
    before = model.state_dict()["weight"]
    with pytest.raises(DivergedError, match="the loss of step 1 is (nan|inf); the data or the weights hold"):
        train_epoch(model, Numbers(), losses.mse, SGD(model.parameters(), 0.1), 2, rng())
    np.testing.assert_array_equal(model.weight.data, before)
