"""Files and models that cannot be used: one sentence that names the file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.files import find_file, read_bytes
from core.data.mail import read_mailbox
from core.errors import DataError
from core.federated import initial_model, load_model, save_model
from core.nn import (
    Linear,
)
from core.parameters import load_npz, save_npz
from core.tasks import TASKS
from core.tensor import Tensor


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape))


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
