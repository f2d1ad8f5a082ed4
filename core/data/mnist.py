"""MNIST: pictures of handwritten digits, as LeCun, Cortes and Burges publish them (four IDX files, gzip or not)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.data.files import find_file, read_bytes
from core.data.idx import parse_idx
from core.errors import DataError

Part = Literal["train", "test"]
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# MD5 of the published files, unpacked, by name and size: a file of that size that differs is damaged.
PUBLISHED = {
    ("train-images-idx3-ubyte", 47_040_016): "6bbc9ace898e44ae57da46a324031adb",
    ("train-labels-idx1-ubyte", 60_008): "a25bea736e30d166cdddb491f175f624",
    ("t10k-images-idx3-ubyte", 7_840_016): "2646ac647ad5339dbf082846283269ea",
    ("t10k-labels-idx1-ubyte", 10_008): "27ae3e4e09519cfbb04c329615203637",
}
SIDE = 28
DIGITS = 10


@dataclass(frozen=True)
class Images:
    """Labelled pictures as a data set. Raises DataError unless they fit together.

    Attributes:
        images: float32 in 0 (paper) to 1 (ink), shape (n, 28, 28).
        labels: the digits 0 to 9, int64, shape (n,).
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        check_images(self.images, self.labels, "the data set")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return images, shape (rows, 28, 28), and labels, shape (rows,)."""
        return self.images[rows], self.labels[rows]

    def first(self, count: int) -> Images:
        """Return the first `count`, or all if there are fewer."""
        return Images(self.images[:count], self.labels[:count])


def read_mnist(folder: Path | str, part: Part = "train") -> Images:
    """Read the training or test part from the folder with the published files.

    Raises DataError if a file is missing, cut short or damaged, or if images and labels do not belong together.
    """
    if part not in FILES:
        raise ValueError(f'part is "train" or "test", not {part!r}')
    images_name, labels_name = FILES[part]
    images, where = _read(Path(folder), images_name, 3)
    labels, labels_path = _read(Path(folder), labels_name, 1)
    if len(images) != len(labels):
        raise DataError(f"{where} holds {len(images)} images and {labels_path} {len(labels)} labels")
    check_images(images, labels, str(where))
    return Images(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))


def check_images(images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], where: str) -> None:
    """Raise DataError unless there are as many images of 28 x 28 numbers as labels in 0 to 9, and at least one."""
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"the images of {where} have shape {images.shape}; expected (n, {SIDE}, {SIDE})")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{where} holds {len(images)} images and labels of shape {labels.shape}")
    if not len(images):
        raise DataError(f"{where} holds no images")
    if images.dtype.kind not in "fiu" or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where} holds images of type {images.dtype} and labels of type {labels.dtype}; "
            "expected numbers and whole numbers"
        )
    if labels.min() < 0 or labels.max() >= DIGITS:
        raise DataError(f"the labels of {where} go from {labels.min()} to {labels.max()}; expected digits 0 to 9")
    if images.dtype.kind == "f" and not np.isfinite(images.sum()):  # one NaN or infinity shows in the sum
        raise DataError(f"the images of {where} hold numbers that are not finite")
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and not 0 <= low <= high <= 1:
        raise DataError(f"the images of {where} go from {low:g} to {high:g}; expected 0 (paper) to 1 (ink)")


def _read(folder: Path, name: str, axes: int) -> tuple[npt.NDArray[np.uint8], Path]:
    path = find_file(folder, name)
    content = read_bytes(path)
    published = PUBLISHED.get((name, len(content)))
    if published and hashlib.md5(content, usedforsecurity=False).hexdigest() != published:
        raise DataError(f"{path} is damaged: it has the size of the published file, and another MD5 than {published}")
    return parse_idx(content, axes, str(path)), path
