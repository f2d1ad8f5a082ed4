"""The MNIST files and the drawn digits."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from core.data.drawn import drawn_digits
from core.data.idx import parse_idx
from core.data.mnist import Images, read_mnist
from core.errors import DataError, SettingsError

REAL = Path(__file__).parents[2] / "shared" / "data"
has_real = pytest.mark.skipif(not (REAL / "t10k-labels-idx1-ubyte.gz").exists(), reason="the real files are not here")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{array.ndim + 1}I", 2048 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write(folder: Path, images: bytes, labels: bytes) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)


def test_images_are_read_compressed_or_not(tmp_path: Path) -> None:
    pixels = np.zeros((2, 28, 28))
    pixels[1, 3, 5] = 255
    write(tmp_path, idx(pixels), idx(np.array([7, 0])))
    data = read_mnist(tmp_path)
    assert data.labels.tolist() == [7, 0]
    assert data.images.dtype == np.float32
    assert data.images[1, 3, 5] == 1
    assert data.images.sum() == 1


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (idx(np.zeros((2, 28, 28)))[:-1], idx(np.zeros(2)), r"holds 1567 entries; its header says 2 x 28 x 28 = 1568"),
        (idx(np.zeros(2)), idx(np.zeros(2)), "header of an IDX file with 3 axes"),
        (idx(np.zeros((2, 28, 28))), b"\0\0\x08\x03" + idx(np.zeros(2))[4:], "magic number 2051; expected 2049"),
        (idx(np.zeros((2, 28, 28))), idx(np.zeros(3)), "2 images and .* 3 labels"),
        (idx(np.zeros((2, 28, 28))), idx(np.array([3, 10])), "labels .* go from 3 to 10"),
        (idx(np.zeros((2, 9, 9))), idx(np.zeros(2)), r"shape \(2, 9, 9\); expected"),
        (idx(np.zeros((0, 28, 28))), idx(np.zeros(0)), "holds no images"),
    ],
)
def test_files_that_cannot_be_right_are_one_sentence(
    tmp_path: Path, images: bytes, labels: bytes, sentence: str
) -> None:
    write(tmp_path, images, labels)
    with pytest.raises(DataError, match=sentence):
        read_mnist(tmp_path)


def test_a_file_of_the_published_size_with_another_content_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(bytes(7_840_016))
    with pytest.raises(DataError, match="is damaged"):
        read_mnist(tmp_path, "test")


def test_a_missing_file_and_a_gzip_cut_short_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither train-images-idx3-ubyte nor"):
        read_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_mnist(tmp_path)


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        Images(np.full((1, 28, 28), np.nan, np.float32), np.zeros(1, np.int64))


def test_the_header_must_be_whole() -> None:
    with pytest.raises(DataError, match="has 3 bytes"):
        parse_idx(b"\0\0\x08", 1, "it")


@has_real
def test_the_published_files_are_what_they_should_be() -> None:
    data = read_mnist(REAL)
    assert np.bincount(data.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.first(1000).labels).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]


def test_drawn_digits_depend_on_the_seed_only() -> None:
    one, same, other = drawn_digits(20, 1), drawn_digits(20, 1), drawn_digits(20, 2)
    assert one.images.tobytes() == same.images.tobytes()
    assert one.images.tobytes() != other.images.tobytes()
    assert one.images.shape == (20, 28, 28)
    assert 0 <= one.images.min() < 0.1 < 0.9 < one.images.max() <= 1


def test_drawn_digits_are_those_of_every_version() -> None:
    digits = drawn_digits(50, 7)
    assert digits.labels[:10].tolist() == [9, 6, 6, 8, 5, 7, 8, 2, 0, 3]
    assert digits.images[0, 14, 10:15] == pytest.approx([0.243, 0.497, 0.912, 0.972, 1.0], abs=1e-3)
    assert digits.images.sum(dtype=np.float64) == pytest.approx(6918.7128, abs=1e-3)


def test_drawn_digits_are_neither_trivial_nor_hopeless() -> None:
    """The nearest of ten mean pictures is right often, and wrong often."""
    train, test = drawn_digits(500, 1), drawn_digits(200, 2)
    means = np.stack([train.images[train.labels == digit].mean(axis=0) for digit in range(10)])
    distances = ((test.images[:, None] - means) ** 2).sum(axis=(2, 3))
    assert 0.4 < (distances.argmin(axis=1) == test.labels).mean() < 0.95


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (1, -1)])
def test_what_cannot_be_drawn_is_a_settings_error(count: int, seed: int) -> None:
    with pytest.raises(SettingsError):
        drawn_digits(count, seed)
