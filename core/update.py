"""What one client contributes to a round, before anything is done to protect it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion, four_counts

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Update:
    """What one client contributes: `delta` of shape (values,) and its training sums."""

    delta: FloatArray
    examples: int
    loss: float
    """Sum over the examples."""
    correct: int
    positives: int = 0
    """Examples of the class that is looked for, such as spam; 0 where there is none."""
    true_positives: int = 0
    """Those of them that were found."""

    @property
    def confusion(self) -> Confusion:
        """The same as four counts; below 0 if the update contradicts itself."""
        return four_counts(self.examples, self.correct, self.positives, self.true_positives)
