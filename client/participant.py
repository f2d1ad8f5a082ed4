"""One data owner's part: check the round, train on its own data, encrypt, commit, and upload what it committed to.

Its data never leaves this object. Every check is made again here, even if other parties have made it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from core.checks import Verifier, VerifierFactory
from core.clock import Clock
from core.errors import Reason
from core.federated import client_rng, client_update, encode_update, initial_model, task_digest
from core.identity import signing
from core.identity.party import PartyIdentity
from core.optim import DivergedError
from core.policy import Policy
from core.protocol import (
    ClosedList,
    Commitment,
    HolderSignature,
    RoundDescription,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from core.secagg.encoding import Update
from core.secagg.factory import encryptor_for
from core.secagg.noise import NoiseKind
from core.tasks.task import Task
from core.training import Dataset
from core.wire.messages import SUBMISSION_BYTES, commitment_to_bytes
from core.wire.streams import model_bytes

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]
Load = Callable[[int, int], Dataset]
"""Loads the owner's data, given the run's seed and the client's number (which only made-up data depends on)."""


@dataclass(frozen=True)
class Submission:
    """An update ready to be committed to and sent, as often as it takes."""

    commitment: Signed
    timings: Timings
    header: SubmissionHeader
    payload: bytes
    description: RoundDescription
    description_digest: bytes


class Participant:
    """Trains one task on one owner's data, round by round.

    Attributes:
        values: how many weights the task's model has.
    """

    def __init__(
        self,
        identity: PartyIdentity,
        task: Task,
        policy: Policy,
        load: Load,
        clock: Clock,
        noise: NoiseKind = NoiseKind.SHORT,
        verifier: VerifierFactory = Verifier,
    ) -> None:
        self.identity = identity
        self.name = identity.name
        self.task = task
        self.task_digest = task_digest(task)
        self.values = len(initial_model(task, 0))
        self._policy = policy
        self._load = load
        self._clock = clock
        self._noise = noise
        self._make_verifier = verifier
        self._data: Dataset | None = None
        self._run: str | None = None
        self._last: Submission | None = None
        self._used_keys: set[bytes] = set()
        """Certificates of the keys that something was encrypted with."""

    @property
    def verifier(self) -> Verifier:
        """The checks by the roster of this moment."""
        return self._make_verifier(self.identity.roster.current(), self.identity.registrar)

    @property
    def last(self) -> Submission | None:
        """What was made for the latest round."""
        return self._last

    def enrolled(self, run: str) -> None:
        """Take note of the run that this client has joined."""
        self._run = run

    # -------------------------------------------------------------------------------- before training

    def verify(self, signed: Signed) -> RoundDescription:
        """Return the round, if the aggregator signed it and this client's task and policy allow it.

        Raises Refused with the name of the check.
        """
        verifier = self.verifier
        description = verifier.verify_round(signed)
        verifier.require(
            description.id.run == self._run,
            Reason.WRONG_DESCRIPTION,
            "the round belongs to another run than this client joined",
        )
        verifier.verify_key_policy(self._policy, description.key.scheme, description.key.bits)
        verifier.verify_key(description.signed_certificate, self._clock.today())
        self._verify_unused(description, digest(signed.body))
        verifier.verify_encoding(description, self.task, self.values)
        verifier.verify_privacy(description, self._policy)
        verifier.require(
            description.min_cohort >= self._policy.min_cohort,
            Reason.COHORT_TOO_SMALL,
            f"the round may open sums of {description.min_cohort} clients; "
            f"this client wants at least {self._policy.min_cohort}",
        )
        return description

    def _verify_unused(self, description: RoundDescription, description_digest: bytes) -> None:
        """Refuse to encrypt for a second attempt, or an old one again, with a key: Refused(KEY_USED).

        (What a process before this one encrypted is not known any more; the key holders' ledgers remember.)
        """
        repeated = self._last is not None and self._last.description_digest == description_digest
        self.verifier.require(
            repeated or description.signed_certificate.body not in self._used_keys,
            Reason.KEY_USED,
            f"this client has encrypted with the key {description.certificate.serial} before",
        )

    def verify_model(
        self, description: RoundDescription, model: FloatArray, endorsements: Sequence[HolderSignature]
    ) -> None:
        """Refuse a model that is not the one named, or does not follow by the published rule.

        Raises Refused(WRONG_DIGEST or MODEL_LINEAGE).
        """
        self.verifier.require(
            digest(model_bytes(model)) == description.model_digest,
            Reason.WRONG_DIGEST,
            "the model is not the one that the round's description names",
        )
        self.verifier.verify_lineage(description, self.task, endorsements)

    # -------------------------------------------------------------------------------- training

    def answer(self, description: RoundDescription, signed: Signed, model: FloatArray) -> Submission:
        """Train, encrypt and sign; asked again for the same description, give the same bytes."""
        description_digest = digest(signed.body)
        if self._last is not None and self._last.description_digest == description_digest:
            return self._last
        data = self._load_data(description.seed)
        rng = client_rng(description.seed, description.id.round, self.identity.number)
        started = self._clock.seconds()
        encoding = description.encoding
        # Made before training: encryption prepares meanwhile what does not depend on the update.
        with closing(encryptor_for(description.key, encoding.plaintexts, self._noise)) as encryptor:
            update = self._trained(model, data, rng)
            trained = self._clock.seconds()
            payload = encryptor.encrypt(encode_update(encoding, update, description.mechanism))
            encrypted = self._clock.seconds()
        self._used_keys.add(description.signed_certificate.body)
        header = SubmissionHeader(description.id, len(payload), digest(payload))
        self._last = Submission(
            commitment=self._commit(header, description_digest),
            timings=_timings(description, trained - started, encrypted - trained),
            header=header,
            payload=payload,
            description=description,
            description_digest=description_digest,
        )
        return self._last

    def _trained(self, model: FloatArray, data: Dataset, rng: np.random.Generator) -> Update:
        try:
            return client_update(self.task, model, data, rng)
        except DivergedError as error:
            raise DivergedError(f"{error}; nothing was sent") from error

    def _load_data(self, seed: int) -> Dataset:
        if self._data is None:
            self._data = self._load(seed, self.identity.number)
            log.info("data loaded", name=self.name, number=self.identity.number, examples=len(self._data))
        return self._data

    def _commit(self, header: SubmissionHeader, description_digest: bytes) -> Signed:
        commitment = Commitment(
            id=header.id,
            client=self.name,
            submission=secrets.token_bytes(SUBMISSION_BYTES),
            description_digest=description_digest,
            digest=header.digest,
        )
        body = commitment_to_bytes(commitment)
        return Signed(body, self.identity.signing.sign(signing.COMMITMENT, body))

    # -------------------------------------------------------------------------------- before uploading

    def verify_list(self, closed: ClosedList, submission: Submission) -> None:
        """Refuse to upload unless this client's commitment is on a list that t key holders have signed.

        Raises Refused(WRONG_DESCRIPTION, LIST_SIGNATURES, NOT_IN_LIST or COHORT_TOO_SMALL).
        """
        verifier = self.verifier
        verifier.require(
            closed.description_digest == submission.description_digest,
            Reason.WRONG_DESCRIPTION,
            "the closed list belongs to another round description",
        )
        verifier.verify_list(closed.description_digest, closed.commitment_digests, closed.signatures)
        listed = set(closed.commitment_digests)
        verifier.require(
            digest(submission.commitment.body) in listed,
            Reason.NOT_IN_LIST,
            "this client's commitment is not on the closed list",
        )
        needed = max(self._policy.min_cohort, submission.description.min_cohort)
        verifier.require(
            len(listed) >= needed,
            Reason.COHORT_TOO_SMALL,
            f"{len(listed)} clients are on the closed list; this client wants at least {needed}",
        )


def _timings(description: RoundDescription, train_seconds: float, encrypt_seconds: float) -> Timings:
    """Return what is told of the seconds it took.

    With privacy nothing is told, because the seconds grow with the number of examples.
    """
    return Timings(train_seconds, encrypt_seconds) if description.privacy is None else Timings(0.0, 0.0)
