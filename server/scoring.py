"""How good a model is: on test data, or by what the cohort says of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion
from core.federated import evaluate_model
from core.secagg.encoding import CohortSum
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.training import NOTHING, Sums

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How good a model is.

    Attributes:
        accuracy, loss, answers: on each distinct text of the test data.
        repeats, wordless: sums over what is judged apart: further copies of a text, and texts without a word.
    """

    accuracy: float
    loss: float
    answers: Confusion
    repeats: Sums
    wordless: Sums

    def fields(self, cohort: CohortSum) -> dict[str, Any]:
        """Return the fields of a RoundResult that say how good the model is, and how good it was for the cohort."""
        return {
            "contributors": cohort.contributors,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "cohort_accuracy": cohort.accuracy,
            "cohort_loss": cohort.mean_loss,
            **asdict(self.answers),
            **{f"cohort_{name}": count for name, count in asdict(cohort.confusion).items()},
            "repeats": self.repeats.examples,
            "repeats_correct": self.repeats.correct,
            "wordless": self.wordless.examples,
            "wordless_correct": self.wordless.correct,
        }


def score(task: Task, model: FloatArray, test_data: HeldOut | None, cohort: CohortSum) -> Score:
    """Judge a model, of shape (values,), on the test data; without any, return the cohort's own metrics."""
    if test_data is None:
        return Score(cohort.accuracy, cohort.mean_loss, cohort.confusion, NOTHING, NOTHING)
    judged, repeats, wordless = (
        NOTHING if data is None else evaluate_model(task, model, data)
        for data in (test_data.data, test_data.repeats, test_data.wordless)
    )
    return Score(judged.accuracy, judged.mean_loss, judged.confusion, repeats, wordless)
