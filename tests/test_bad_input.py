"""What is wrong with data, models and shapes is one sentence that names the thing."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from book.data.vocabulary import FrequentWords, pad
from core import losses
from core.data.characters import CharacterVocabulary
from core.data.files import find_file, read_bytes
from core.data.mail import read_mailbox
from core.data.mnist import Images
from core.data.reviews import Reviews
from core.data.text import Bags, HashingVocabulary, make_bags
from core.errors import DataError
from core.federated import initial_model, load_model, save_model
from core.metrics import correct_answers, correct_classes
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
    LinearRecurrentCell,
    LSTMCell,
    MaxPool2d,
    Module,
    ReLU,
    RNNCell,
    Sequential,
    Softmax,
)
from core.optim import SGD, DivergedError
from core.parameters import load_npz, save_npz
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


# --- Files ---


@pytest.mark.parametrize("name", sorted(TASKS))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n \n",
        bytes(range(256)) * 20,
        bytes(5000),
        gzip.compress(b"ham\thello\nspam\tbuy\n" * 50)[:-20],
        gzip.compress(b"ham\thello\nspam\tbuy\n" * 50)[:5],
        gzip.compress(b"positive\tgood\n" * 50)[:-8] + bytes(8),
    ],
    ids=["empty", "spaces", "binary", "zeros", "gzip cut short", "gzip header only", "gzip with wrong CRC"],
)
def test_every_task_refuses_a_broken_file_in_one_sentence_with_its_name(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        TASKS[name].read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_names_a_path_where_nothing_is_and_a_folder_without_data(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            TASKS[name].read(path)


@pytest.mark.parametrize("name", ["babi", "mnist-mlp", "reviews", "analogies"])
def test_a_file_in_the_place_of_a_published_folder_is_called_one(name: str, tmp_path: Path) -> None:
    corpus = TASKS[name].corpus
    assert corpus is not None
    path = tmp_path / "data.txt"
    path.write_text("1 Mary went home.\n")
    with pytest.raises(DataError, match="data.txt is a file, not a folder with"):
        corpus.read(path)


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder .*data with labels.txt"):
        find_file(tmp_path / "data", "labels.txt")


def test_a_file_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_bytes(tmp_path)
    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory"


def test_a_damaged_gzip_is_not_only_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "mails.tsv.gz"
    path.write_bytes(gzip.compress(b"ham\thello\n" * 50)[:-8] + bytes(8))
    with pytest.raises(DataError, match="or is damaged: CRC check failed"):
        read_mailbox(path)


# --- Models ---


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_reads_its_own_model_and_refuses_that_of_another(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    task, other = TASKS[name], TASKS["spam" if name != "spam" else "babi"]
    model = initial_model(task, 1)
    save_model(path, task, model)
    np.testing.assert_array_equal(load_model(path, task), model)
    with pytest.raises(DataError, match=f"model.npz is not a model of the task '{other.name}'"):
        load_model(path, other)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (np.nan, "words.weight holds a number that is not finite in float64"),
        (np.inf, "words.weight holds a number that is not finite in float64"),
        ("a", "words.weight holds <U1; expected real numbers"),
        (1j, "words.weight holds complex128; expected real numbers"),
    ],
)
def test_a_model_of_what_are_no_numbers_is_one_sentence_and_changes_nothing(
    number: Any, sentence: str, tmp_path: Path
) -> None:
    path, task = tmp_path / "model.npz", TASKS["spam"]
    save_npz(path, {"words.weight": np.full((8192, 1), number), "bias": np.ones(1)})
    with pytest.raises(DataError, match=f"model.npz is not a model of the task 'spam': {sentence}"):
        load_model(path, task)
    module = task.build(rng())
    with pytest.raises(ValueError, match=sentence):
        module.load_state_dict(load_npz(path))
    assert module.state_dict()["bias"].tolist() == [0]


def test_a_weight_too_large_for_the_model_is_refused(tmp_path: Path) -> None:
    model = Linear(1, 1, rng=rng(), dtype=np.float32)
    with pytest.raises(ValueError, match="weight holds a number that is not finite in float32"):
        model.load_state_dict({"weight": [[1e300]], "bias": [0]})
    model.load_state_dict({"weight": [[2]], "bias": [0.5]})
    assert model([[3.0]]).item() == 6.5


# --- Tensors, arrays and plain numbers, each where another is due ---


def test_targets_may_be_tensors_and_outputs_arrays() -> None:
    logits, classes, values = np.array([[2.0, 0.0]]), Tensor([0]), Tensor([[1.0, 0.0]])
    assert losses.cross_entropy(logits, classes).item() == losses.cross_entropy(Tensor(logits), [0]).item()
    assert losses.mse(logits, values).item() == 0.5
    assert losses.l1(logits, values).item() == 0.5
    assert losses.binary_cross_entropy(logits, values).item() == losses.binary_cross_entropy(logits, values.data).item()
    assert (
        losses.negative_sampling([1.0], [[0.0]]).item() == losses.negative_sampling(Tensor([1.0]), zeros(1, 1)).item()
    )
    assert correct_classes(Tensor(logits), classes) == 1
    assert correct_answers([2.0, -1.0], [1, 1]) == 1


def test_a_target_that_requires_a_gradient_gets_one_or_is_refused() -> None:
    target = Tensor([1.0], requires_grad=True)
    losses.mse(Tensor([3.0]), target).backward()
    assert target.grad == [-4]
    with pytest.raises(TypeError, match="would be cut off from its graph"):
        losses.binary_cross_entropy(Tensor([3.0]), target)


def test_outputs_that_are_whole_numbers_are_not_rounded_to_and_neither_are_their_targets() -> None:
    assert losses.mse([1, 2], [0.5, 1.5]).item() == 0.25
    assert losses.binary_cross_entropy([0], [0.5]).item() == pytest.approx(np.log(2))


def test_states_may_be_arrays() -> None:
    inputs, state = np.ones((2, 3)), np.ones((2, 4))
    for layer in (RNNCell(3, 4, rng=0), LinearRecurrentCell(4)):
        given = inputs if isinstance(layer, RNNCell) else state
        assert (layer(given, state).data == layer(given, Tensor(state)).data).all()
    assert (LSTMCell(3, 4, rng=0)(inputs, (state, state))[0].data).shape == (2, 4)
    assert RNN(3, 4, rng=0)(inputs[None], state)[1].shape == (2, 4)
    assert LSTM(3, 4, rng=0)(inputs[None], (state, state))[1][0].shape == (2, 4)


def test_a_single_state_is_none_of_an_lstm() -> None:
    for call in (
        lambda: LSTMCell(3, 4, rng=0)(np.ones((2, 3)), untyped(zeros(2, 4))),
        lambda: LSTM(3, 4, rng=0)(np.ones((1, 2, 3)), untyped(zeros(2, 4))),
    ):
        with pytest.raises(TypeError, match=r"^LSTM.*: the state of an LSTM is a pair \(h, c\), not Tensor"):
            call()
