"""What is fixed for a whole run, and what follows from it alone: a round's description, a model's score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.checks import Verifier
from core.confusion import Confusion
from core.federated import encoding_for, evaluate_model, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, RoundDescription, Signed
from core.secagg.encoding import CohortSum
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.training import Sums
from core.wire.messages import certificate_from_bytes, description_to_bytes
from server.settings import RunSettings

FloatArray = npt.NDArray[np.float64]
NOTHING = Sums(0, 0.0, 0)


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


@dataclass(frozen=True)
class RunContext:
    """One run's identity, settings and task.

    Attributes:
        id: the run's name, in every message and row about it.
        test_data: public data on which each new model is scored; without any, the cohort's own metrics count.
    """

    id: str
    settings: RunSettings
    task: Task
    identity: PartyIdentity
    test_data: HeldOut | None = None

    @cached_property
    def values(self) -> int:
        """Weights in one update."""
        return len(initial_model(self.task, self.settings.seed))

    @property
    def verifier(self) -> Verifier:
        """Return the checks against the roster of this moment."""
        return Verifier(self.identity.roster.current(), self.identity.registrar)

    def describe(self, id: AttemptId, key: Signed, model_digest: bytes) -> tuple[RoundDescription, Signed]:
        """Return the description of a round with a chosen key, and the same signed by the aggregator."""
        settings, rules = self.settings, self.settings.rules
        certificate = certificate_from_bytes(key.body)
        shape = (self.values, certificate.key.plaintext_bits, rules.max_cohort, settings.count_cap)
        description = RoundDescription(
            federation=self.identity.federation,
            id=id,
            task=self.task.name,
            seed=settings.seed,
            model_digest=model_digest,
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(self.task, *shape, settings.mechanism),
            min_cohort=rules.min_cohort,
            deadline_seconds=rules.round_seconds,
            privacy=settings.privacy,
        )
        body = description_to_bytes(description)
        return description, Signed(body, self.identity.signing.sign(signing.ROUND, body))

    def score(self, model: FloatArray, cohort: CohortSum) -> Score:
        """Judge the model, of shape (values,), on the test data; without any, return the cohort's own metrics."""
        if self.test_data is None:
            return Score(cohort.accuracy, cohort.mean_loss, cohort.confusion, NOTHING, NOTHING)
        judged, repeats, wordless = (
            NOTHING if data is None else evaluate_model(self.task, model, data)
            for data in (self.test_data.data, self.test_data.repeats, self.test_data.wordless)
        )
        return Score(judged.accuracy, judged.mean_loss, judged.confusion, repeats, wordless)
