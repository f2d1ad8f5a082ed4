"""One data owner's part: check the round, train on its own data, encrypt, commit, and upload what it committed to.

Its data never leaves this object. Every check is made again here, even if other parties have made it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt
import structlog

from client.memory import Memory
from core.checks import Verifier, VerifierFactory
from core.clock import Clock
from core.errors import CONTINUE_INSTEAD, Reason
from core.federated import LocalTrainer, client_rng, initial_model, slots_of_update, task_digest, task_identity
from core.identity import signing
from core.identity.party import PartyIdentity
from core.optim import DivergedError
from core.policy import Policy
from core.protected_update import ProtectedUpdate, UpdateMaker
from core.protocol import (
    ClosedList,
    Commitment,
    HolderSignature,
    ModelOrigin,
    RoundDescription,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from core.round_sums import in_groups, least_in_all
from core.scaffold import control_after, scaffold_update
from core.secagg.encoding import Update
from core.secagg.noise import NoiseKind
from core.server_rules import ServerModel
from core.task_checks import require_few_passes, require_local_training
from core.tasks.task import LocalTraining, Task
from core.training import Dataset
from core.wire.messages import SUBMISSION_BYTES, commitment_to_bytes
from core.wire.streams import model_bytes
from core.wording import counted

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
    control: FloatArray | None = None
    """With SCAFFOLD, this client's control variate once this update is in the sum, shape (values,)."""


class Participant:
    """Trains one task on one owner's data, round by round.

    Args:
        memory: what this owner's earlier processes contributed to; by default one that ends with this object.

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
        memory: Memory | None = None,
    ) -> None:
        self.identity = identity
        self.name = identity.name
        self.task = task
        self.task_digest = task_digest(task)
        self.task_identity = task_identity(task)
        self.values = len(initial_model(task, 0))
        self._policy = policy
        self._load = load
        self._clock = clock
        self._noise = noise
        self._make_verifier = verifier
        self.memory = memory or Memory()
        self._data: Dataset | None = None
        self._run = ""
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

    @property
    def spent(self) -> str:
        """What this client's data has cost in all runs, in words; empty if no privacy is asked for."""
        own, policy = self.memory.budget.own, self._policy
        if policy.max_epsilon is None and (self._last is None or self._last.description.privacy is None):
            return ""
        what = f"in {counted(own.rounds, 'round')} of {counted(own.runs, 'run')}, {own.dataset} has cost"
        if own.cost == inf:
            return f"{what} more than any epsilon, because not all of them were private"
        most = "" if policy.max_epsilon is None else f" of {policy.max_epsilon:g}"
        return f"{what} an epsilon of {policy.epsilon_of(own.cost):.4g}{most} at delta {policy.delta:g}"

    def enrolled(self, run: str) -> None:
        """Take note of the run that this client has joined. Raises Refused(ANOTHER_RUN) if it is in another one."""
        self.verifier.require(
            self._run in ("", run),
            Reason.ANOTHER_RUN,
            f"the aggregator now leads the run {run}, and this client takes part in {self._run}; "
            "start the client again to join the new run",
        )
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
        verifier.verify_bounds(description, self._policy)
        require_local_training(verifier.require, description, self.task, self._policy)
        verifier.verify_privacy(description, self._policy)
        cost = description.cost(self._policy.max_colluders)
        self._require_affordable(self.memory.budget.after(description, cost))
        wanted = self._policy.least_contributors
        verifier.require(
            description.min_cohort >= wanted,
            Reason.COHORT_TOO_SMALL,
            f"the round may open sums of {description.min_cohort} clients; this client wants at least {wanted} "
            f"(--min-cohort {self._policy.min_cohort}, --max-colluders {self._policy.max_colluders})",
        )
        return description

    def _require_affordable(self, cost: float) -> None:
        """Refuse a round after which this client's data would have cost more than it may: Refused(BUDGET_SPENT)."""
        policy, budget = self._policy, self.memory.budget
        after = f"an epsilon of {policy.epsilon_of(cost):.4g} at delta {policy.delta:g}" if cost < inf else "no bound"
        self.verifier.require(
            policy.affords(cost),
            Reason.BUDGET_SPENT,
            f"this round would bring what {budget.dataset} has cost in privacy to {after}, and max-epsilon is "
            f"{policy.max_epsilon}; take part where rounds have more noise, or allow more in policy.toml",
        )

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
        self, description: RoundDescription, start: FloatArray, endorsements: Sequence[HolderSignature]
    ) -> None:
        """Refuse a model that is not the one named, or does not follow by the published rule.

        Args:
            start: what clients train from, shape (rule.exchanged * values,): the model, and with SCAFFOLD its c.

        Raises Refused(WRONG_DIGEST, MODEL_LINEAGE, STALE_LEDGER or MODEL_USED).
        """
        named, rule = [digest(model_bytes(start[: self.values])) == description.model_digest], description.rule
        if rule.corrects_clients:
            named.append(rule.state_digest(start[self.values :]) == description.state_digest)
        self.verifier.require(
            all(named), Reason.WRONG_DIGEST, "the model is not the one that the round's description names"
        )
        signed = self.verifier.verify_lineage(description, self.task, endorsements)
        self.memory.seen.require_fresh(self.verifier, signed, agreed=False)
        self._verify_model_unused(description)

    def _verify_model_unused(self, description: RoundDescription) -> None:
        """Refuse a starting model to which this client has contributed in another round: Refused(MODEL_USED)."""
        id, earlier = description.id, self.memory.contributed_in(description.model_digest)
        self.verifier.require(
            earlier in (None, ModelOrigin(id.run, id.round)),
            Reason.MODEL_USED,
            f"this client has contributed to the starting model of {id} before, in {earlier}; {CONTINUE_INSTEAD}",
        )

    # -------------------------------------------------------------------------------- training

    def answer(self, description: RoundDescription, signed: Signed, start: FloatArray) -> Submission:
        """Train from `start`, as of verify_model, encrypt and sign; for the same description, give the same bytes."""
        description_digest = digest(signed.body)
        if self._last is not None and self._last.description_digest == description_digest:
            return self._last
        data = self._load_data(description.seed)
        local, require = self.task.local_in(description.local, description.id.round), self.verifier.require
        require_few_passes(require, local, len(self.task.shuffled(data)), self._policy)
        rng = client_rng(description.seed, description.id.round, self.identity.number)
        started = self._clock.seconds()
        encoding = description.encoding
        # Made before training: encryption prepares meanwhile what does not depend on the update.
        with closing(self.update_maker(description, description_digest)) as maker:
            trained_update, control = self._trained(description, start, data, rng, local)
            trained = self._clock.seconds()
            factor, norm = description.clip_factor, description.largest_norm
            slots = slots_of_update(
                encoding, trained_update, description.mechanism, clip_factor=factor, largest_norm=norm
            )
            update = maker.make(slots)
            encrypted = self._clock.seconds()
        self._used_keys.add(description.signed_certificate.body)
        header = SubmissionHeader(description.id, len(update.payload), digest(update.payload))
        self._last = Submission(
            commitment=self._commit(header, update, description, description_digest),
            timings=_timings(description, trained - started, encrypted - trained),
            header=header,
            payload=update.payload,
            description=description,
            description_digest=description_digest,
            control=control,
        )
        return self._last

    def update_maker(self, description: RoundDescription, description_digest: bytes) -> UpdateMaker:
        """Return what encrypts this client's numbers for a round, and proves them."""
        return UpdateMaker(description, description_digest, self.name, self._noise)

    def _trained(
        self,
        description: RoundDescription,
        start: FloatArray,
        data: Dataset,
        rng: np.random.Generator,
        local: LocalTraining,
    ) -> tuple[Update, FloatArray | None]:
        """Return the update, and this client's control variate after it, where the rule has such."""
        trainer, rule = LocalTrainer(self.task), description.rule
        try:
            if not rule.corrects_clients:
                return trainer.update(start, data, rng, local), None
            own = self.memory.controls.before(description.id, self.values)
            update = scaffold_update(trainer, ServerModel.from_vector(rule, start), own, data, rng, local)
            return update, control_after(description.encoding, own, update, description.largest_norm)
        except DivergedError as error:
            raise DivergedError(f"{error}; nothing was sent") from error

    def _load_data(self, seed: int) -> Dataset:
        if self._data is None:
            self._data = self._load(seed, self.identity.number)
            log.info("data loaded", name=self.name, number=self.identity.number, examples=len(self._data))
        return self._data

    def _commit(
        self, header: SubmissionHeader, made: ProtectedUpdate, description: RoundDescription, description_digest: bytes
    ) -> Signed:
        """Charge the round to the budget, then sign. Raises Refused(BUDGET_SPENT)."""
        cost = description.cost(self._policy.max_colluders)
        memory = self.memory.budget.charge(description, cost, self._require_affordable)
        commitment = Commitment(
            id=header.id,
            client=self.name,
            submission=secrets.token_bytes(SUBMISSION_BYTES),
            description_digest=description_digest,
            digest=header.digest,
            memory=memory,
            ciphertexts=digest(made.ciphertexts) if made.proof else b"",
        )
        body = commitment_to_bytes(commitment)
        return Signed(body, self.identity.signing.sign(signing.COMMITMENT, body))

    # -------------------------------------------------------------------------------- before uploading

    def verify_list(self, closed: ClosedList, submission: Submission) -> None:
        """Refuse to upload unless this client's commitment is on a list that t key holders have signed.

        Raises Refused(WRONG_DESCRIPTION, LIST_SIGNATURES, STALE_LEDGER, NOT_IN_LIST, COHORT_TOO_SMALL or MODEL_USED).
        """
        verifier = self.verifier
        verifier.require(
            closed.description_digest == submission.description_digest,
            Reason.WRONG_DESCRIPTION,
            "the closed list belongs to another round description",
        )
        signed = verifier.verify_list(closed.description_digest, closed.commitment_digests, closed.signatures)
        self.memory.seen.require_fresh(verifier, signed, agreed=True)
        self.memory.seen.save()
        listed = set(closed.commitment_digests)
        verifier.require(
            digest(submission.commitment.body) in listed,
            Reason.NOT_IN_LIST,
            "this client's commitment is not on the closed list",
        )
        description = submission.description
        needed, divided = max(self._policy.least_contributors, description.min_cohort), in_groups(description)
        verifier.require(
            len(listed) >= least_in_all(description, needed),
            Reason.COHORT_TOO_SMALL,
            f"{len(listed)} clients{divided} are on the closed list; this client wants at least {needed}"
            + " in each" * bool(divided),
        )
        self._verify_model_unused(description)

    def record_contribution(self, submission: Submission) -> None:
        """Write down, durably, that this client contributes to the starting model, before it uploads anything."""
        description = submission.description
        self.memory.record_contribution(description.model_digest, description.id.run, description.id.round)
        if submission.control is not None:
            self.memory.controls.keep(description.id, submission.control)


def _timings(description: RoundDescription, train_seconds: float, encrypt_seconds: float) -> Timings:
    """Return the seconds it took, as reported to the aggregator.

    With privacy they are not reported, because the seconds grow with the number of examples.
    """
    return Timings(train_seconds, encrypt_seconds) if description.privacy is None else Timings(0.0, 0.0)
