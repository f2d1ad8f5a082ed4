"""Arrays as a dataset: inputs and targets, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import DataError
from core.randomness import Rng, generator

Array = npt.NDArray[Any]


class Split(NamedTuple):
    """Three parts of a dataset: to learn from, to choose by, and to judge by in the end."""

    training: ArrayDataset
    validation: ArrayDataset
    test: ArrayDataset


@dataclass(frozen=True)
class ArrayDataset:
    """Examples in two arrays, one row each. Raises DataError unless both have equally many rows.

    Attributes:
        inputs: shape (examples, ...).
        targets: shape (examples, ...).
    """

    inputs: npt.ArrayLike
    targets: npt.ArrayLike

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        shapes = (self.arrays[0].shape, self.arrays[1].shape)
        if not (shapes[0] and shapes[1] and shapes[0][0] == shapes[1][0]):
            raise DataError(f"inputs of shape {shapes[0]} and targets of shape {shapes[1]} have no rows in common")

    @property
    def arrays(self) -> tuple[Array, Array]:
        """Inputs and targets as two arrays, whose first axes are the examples."""
        return np.asarray(self.inputs), np.asarray(self.targets)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return the inputs and targets of these rows, each of shape (rows, ...)."""
        inputs, targets = self.arrays
        return inputs[rows], targets[rows]

    def split(self, *, validation: float = 0.1, test: float = 0.1, rng: Rng) -> Split:
        """Deal the examples out at random: each is in exactly one part.

        Args:
            validation, test: shares of all examples; what is left is for training.

        Raises:
            ValueError: the shares leave nothing to train on.
            DataError: there are too few examples for each part to have one.
        """
        if not (validation >= 0 and test >= 0 and validation + test < 1):
            raise ValueError(f"shares of {validation} for validation and {test} for the test leave none for training")
        ends = np.rint(np.array([test, test + validation]) * len(self)).astype(int)
        parts = np.split(generator(rng).permutation(len(self)), ends)
        if not all(len(part) or not share for part, share in zip(parts, (test, validation, 1), strict=True)):
            raise DataError(f"{len(self)} examples are too few for shares of {validation} and {test}: a part is empty")
        judged, chosen, trained = (ArrayDataset(*self.batch(rows)) for rows in parts)
        return Split(trained, chosen, judged)
