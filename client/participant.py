"""One data owner's part: check the round, train on its own data, encrypt, submit. Its data never leaves this object."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from core.errors import Reason, Refused
from core.federated import client_rng, client_update, encoding_for, task_digest
from core.protocol import RoundDescription, SubmissionHeader, digest
from core.secagg.noise import NoiseKind
from core.secagg.roles import check_key, encryptor_for
from core.secagg.scheme import Policy
from core.tasks.task import Task
from core.training import Dataset

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Enrolment:
    """What the aggregator's welcome says about this client and the run."""

    run: str
    number: int
    seed: int
    rounds: int


@dataclass(frozen=True)
class Submission:
    """An update ready to be sent, as often as it takes."""

    header: SubmissionHeader
    payload: bytes


class Participant:
    """Trains one task on one owner's data, round by round."""

    def __init__(
        self,
        name: str,
        task: Task,
        policy: Policy,
        load: Callable[[Enrolment], Dataset],
        noise: NoiseKind = NoiseKind.SHORT,
    ) -> None:
        self.name = name
        self.task = task
        self.task_digest = task_digest(task)
        self._policy = policy
        self._load = load
        self._noise = noise
        self._data: Dataset | None = None
        self._enrolment: Enrolment | None = None
        self._last: Submission | None = None

    def enrolled(self, enrolment: Enrolment) -> None:
        """Take note of the enrolment; the data is loaded the first time."""
        if self._data is None:
            self._data = self._load(enrolment)
            log.info("enrolled", name=self.name, number=enrolment.number, examples=len(self._data))
        self._enrolment = enrolment

    def check(self, description: RoundDescription, values: int) -> None:
        """Refuse a round that this client's task or policy does not allow.

        Raises Refused with the reason, SettingsError for a key that this client does not agree to.
        """
        key, encoding = description.key, description.encoding
        if description.task != self.task.name:
            raise Refused(Reason.WRONG_TASK, f"the round trains {description.task!r}, this client {self.task.name!r}")
        self._policy.check_key(key.scheme, key.bits)
        check_key(key)
        if encoding != encoding_for(self.task, values, key.plaintext_bits, encoding.max_cohort, encoding.count_cap):
            raise Refused(Reason.WRONG_DESCRIPTION, "the round's encoding is not that of this client's task")
        if description.min_cohort < self._policy.min_cohort:
            raise Refused(
                Reason.COHORT_TOO_SMALL,
                f"the round may open sums of {description.min_cohort} clients; "
                f"this client wants at least {self._policy.min_cohort}",
            )

    def answer(self, description: RoundDescription, raw_description: bytes, model: FloatArray) -> Submission:
        """Train and encrypt; asked again for the same attempt, give the same bytes.

        Raises SettingsError or Refused if the round does not pass the checks.
        """
        if self._data is None or self._enrolment is None:
            raise Refused(Reason.MALFORMED, "the aggregator opened a round before its welcome")
        if self._last is not None and self._last.header.description_digest == digest(raw_description):
            return self._last
        self.check(description, len(model))
        if description.id.run != self._enrolment.run:
            raise Refused(Reason.WRONG_DESCRIPTION, "the round belongs to another run than this client joined")
        rng = client_rng(self._enrolment.seed, description.id.round, self._enrolment.number)
        started = time.perf_counter()
        encoding = description.encoding
        # Made before training: encryption prepares meanwhile what does not depend on the update.
        with closing(encryptor_for(description.key, encoding.plaintexts, self._noise)) as encryptor:
            update = client_update(self.task, model, self._data, rng)
            trained = time.perf_counter()
            payload = encryptor.encrypt(encoding.encode(update))
            encrypted = time.perf_counter()
        header = SubmissionHeader(
            id=description.id,
            client=self.name,
            description_digest=digest(raw_description),
            length=len(payload),
            digest=digest(payload),
            train_seconds=trained - started,
            encrypt_seconds=encrypted - trained,
        )
        self._last = Submission(header, payload)
        return self._last
