"""What is fixed for a whole run, and what follows from it alone: a round's description, a model's score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.checks import Verifier
from core.federated import encoding_for, identity_in_rounds, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, ModelOrigin, RoundDescription, Signed
from core.secagg.encoding import CohortSum
from core.server_rules import ServerModel
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.wire.messages import certificate_from_bytes, description_to_bytes
from server.scoring import Score, score
from server.settings import RunSettings

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunContext:
    """One run's identity, settings and task.

    Attributes:
        id: the run's name, in every message and row about it.
        start: where the model before round 1 comes from; None for the task's initial model.
        test_data: public data on which each new model is scored; without any, the cohort's own metrics count.
    """

    id: str
    settings: RunSettings
    task: Task
    identity: PartyIdentity
    test_data: HeldOut | None = None
    start: ModelOrigin | None = None

    @cached_property
    def values(self) -> int:
        """Weights in one update."""
        return len(initial_model(self.task, self.settings.seed))

    @property
    def verifier(self) -> Verifier:
        """Return the checks against the roster of this moment."""
        return Verifier(self.identity.roster.current(), self.identity.registrar)

    def describe(self, id: AttemptId, key: Signed, model: ServerModel) -> tuple[RoundDescription, Signed]:
        """Return the description of a round with a chosen key, and the same signed by the aggregator."""
        settings, rules = self.settings, self.settings.rules
        certificate = certificate_from_bytes(key.body)
        numbers = settings.server_rule.numbers(self.values)
        shape = (numbers, certificate.key.plaintext_bits, rules.max_cohort, settings.count_cap)
        description = RoundDescription(
            federation=self.identity.federation,
            id=id,
            task=self.task.name,
            seed=settings.seed,
            model_digest=model.model_digest,
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(self.task, *shape, settings.mechanism),
            min_cohort=rules.min_cohort,
            deadline_seconds=rules.round_seconds,
            privacy=settings.privacy,
            start=self.start if id.round == 1 else None,
            bounded=settings.bounded,
            largest_norm=settings.proven_norm,
            rule=settings.server_rule,
            state_digest=model.state_digest,
            task_identity=identity_in_rounds(self.task),
            local=settings.local_training,
            clip_factor=model.clip_factor,
            grouping=settings.grouping,
        )
        body = description_to_bytes(description)
        return description, Signed(body, self.identity.signing.sign(signing.ROUND, body))

    def score(self, model: FloatArray, cohort: CohortSum) -> Score:
        """Judge the model, of shape (values,), on the test data; without any, return the cohort's own metrics."""
        return score(self.task, model, self.test_data, cohort)
