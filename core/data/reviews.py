"""Film reviews that are positive or negative (IMDB; Maas et al., ACL 2011), in the two layouts they come in.

- reviews.txt (or reviews.txt.gz) and labels.txt, one review and one label a line: the training half only;
- aclImdb/, as Stanford publishes it: train/pos, train/neg, test/pos and test/neg, one file a review.

The last thousand reviews of reviews.txt are the book's test part: see `Reviews.part`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.data.files import find_file, read_lines, read_text
from core.errors import DataError

LABELS = {"positive": True, "negative": False}


@dataclass(frozen=True)
class Reviews:
    """Texts and whether each is positive, in step.

    Attributes:
        texts: as they stand in the file, without the line end.
        positive: shape (n,).
    """

    texts: Sequence[str]
    positive: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.positive.shape != (len(self.texts),):
            raise DataError(f"there are {len(self.texts)} reviews and labels of shape {self.positive.shape}")
        if not len(self.texts):
            raise DataError("there are no reviews")
        if self.positive.dtype != np.bool_:
            raise DataError(f"the labels of the reviews are of type {self.positive.dtype}; expected true or false")

    def __len__(self) -> int:
        return len(self.texts)

    def words(self) -> list[list[str]]:
        """Return the words of each review: what spaces set apart, empty strings left out."""
        return [text.split() for text in self.texts]

    def part(self, rows: slice) -> Reviews:
        """Return the reviews of a slice: `part(slice(-1000, None))` is the book's test part."""
        return Reviews(self.texts[rows], self.positive[rows])


def read_reviews(folder: Path | str, part: Literal["train", "test"] = "train") -> Reviews:
    """Read the reviews in a folder, in either layout; `part` chooses the half of the aclImdb layout.

    Raises DataError if neither layout is there, a file cannot be read, reviews and labels are not in step, a label is
    neither positive nor negative, or the test half of reviews.txt is asked for, which it does not have.
    """
    folder = Path(folder)
    if part not in ("train", "test"):
        raise ValueError(f'part is "train" or "test", not {part!r}')
    for root in (folder, folder / "aclImdb"):
        if (root / part / "pos").is_dir():
            return _read_folders(root / part)
    if part == "test":
        raise DataError(f"{folder} holds no test half; that is in the folders test/pos and test/neg of aclImdb")
    return _read_lines(folder)


def _read_lines(folder: Path) -> Reviews:
    try:
        path, labels_path = find_file(folder, "reviews.txt"), find_file(folder, "labels.txt")
    except DataError as error:
        raise DataError(f"{error}; expected reviews.txt and labels.txt, or the folders of aclImdb") from None
    texts, labels = read_lines(path), read_lines(labels_path)
    if len(texts) != len(labels):
        raise DataError(f"{path} holds {len(texts)} reviews and {labels_path} {len(labels)} labels")
    for number, label in enumerate(labels, start=1):
        if label.strip() not in LABELS:
            raise DataError(f"line {number} of {labels_path} is {label[:40]!r}; expected positive or negative")
    return Reviews(texts, np.array([LABELS[label.strip()] for label in labels]))


def _read_folders(part: Path) -> Reviews:
    texts: list[str] = []
    positive: list[bool] = []
    for name, label in (("pos", True), ("neg", False)):
        files = sorted((part / name).glob("*.txt"))
        if not files:
            raise DataError(f"{part / name} holds no reviews; expected one .txt file a review")
        texts += [" ".join(read_text(file).split("\n")) for file in files]
        positive += [label] * len(files)
    return Reviews(texts, np.array(positive))
