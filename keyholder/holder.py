"""A key holder's decisions: which lists it signs, which sums it helps to open, which models it endorses. No sockets.

It trusts no arithmetic but its own: from the raw bytes it checks who signed what, fetches every contribution,
checks and adds them up again, and only then lends its share of the round's key, once. Alone (unless it is the only
holder) it opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from core.checks import Verifier, VerifierFactory
from core.clock import Clock
from core.errors import Reason, Refused, SettingsError, StorageError
from core.federated import initial_model, next_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.policy import Policy
from core.protocol import MOST_OFFERED, AttemptId, RoundDescription, Signed, digest
from core.secagg.factory import adder_for, payload_bytes
from core.secagg.opening import OpenedSum, verify_opened
from core.tasks import get_task
from core.tasks.task import Task
from core.wire.calls import Dialogue, fetch_model
from core.wire.messages import list_statement, model_statement
from core.wire.streams import model_bytes
from keyholder.difference import WINDOW, DifferenceRule, exposed_by
from keyholder.ledger import Answer, Ledger
from keyholder.orders import ListOrder, ReleaseOrder, fetch_opened_sum, fetch_update
from keyholder.shares import Shares

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VerifiedList:
    """A list whose every part was checked."""

    description: RoundDescription
    task: Task
    statement: bytes
    commitment_digests: tuple[bytes, ...]
    update_digests: dict[str, bytes]


@dataclass(frozen=True)
class Release:
    """This holder's share of an opening: one number a ciphertext, fixed-length, big-endian."""

    partial: bytes
    seconds: float
    exposure: str


class KeyHolder:
    """Holds one share of each round's key, and lends it once."""

    def __init__(
        self,
        identity: PartyIdentity,
        policy: Policy,
        ledger: Ledger,
        rule: DifferenceRule,
        clock: Clock,
        verifier: VerifierFactory = Verifier,
    ) -> None:
        self.identity = identity
        self.shares = Shares(identity)
        self.ledger = ledger
        self._policy = policy
        self._rule = rule
        self._clock = clock
        self._make_verifier = verifier
        self._total: tuple[bytes, bytes] | None = None
        """The order whose sum was added up last, and that sum."""
        for serial in ledger.spent_keys():  # after a crash between the ledger's entry and the end of the share
            self._destroy(serial)

    @property
    def verifier(self) -> Verifier:
        """The checks by the roster of this moment."""
        return self._make_verifier(self.identity.roster.current(), self.identity.registrar)

    # -------------------------------------------------------------------------------- keys

    def unused_keys(self, scheme: str, bits: int, above: int = 0) -> list[Signed]:
        """Return keys of this kind, in date, that this holder has an unused share of, the lowest serial numbers first.

        Only those above a serial number: a holder that was away has shares of keys that others have used since, and
        must not offer these alone. Raises Refused(BAD_KEY) if its policy does not allow such keys.
        """
        self.verifier.verify_key_policy(self._policy, scheme, bits)
        used = self.ledger.used_keys()
        found = [
            key.signed
            for key in self.shares.dealt()
            if key.certificate.serial > above
            and key.certificate.serial not in used
            and key.certificate.key.is_of(scheme, bits)
            and key.certificate.expires_day >= self._clock.today()  # else expired keys would stand before newer ones
        ]
        return found[:MOST_OFFERED]

    def destroy_old_shares(self, but: int = 0) -> None:
        """Destroy shares of keys that are expired, or that a signed list is bound to, but for one that is in use."""
        for serial in self.ledger.bound_keys(but):
            self._destroy(serial)
        for key in self.shares.dealt():
            if key.certificate.expires_day < self._clock.today():
                self._destroy(key.certificate.serial)

    def _destroy(self, serial: int) -> None:
        """Destroy a share; if the disk is in the way, later: nothing that is in the ledger already is held up by it."""
        try:
            self.shares.destroy(serial)
        except StorageError as error:
            log.error("share not destroyed", serial=serial, sentence=str(error))

    # -------------------------------------------------------------------------------- the list

    def sign_list(self, order: ListOrder) -> bytes:
        """Check every commitment and what it answers, write the ledger, then sign. Raises Refused."""
        verified = self._verify(order)
        id, certificate = verified.description.id, verified.description.certificate
        if earlier := self.ledger.signed_list(id):
            self._require_same_list(id, earlier[0], verified.statement)
            return earlier[1]
        self.verifier.require(
            self.shares.has(certificate),
            Reason.UNKNOWN_KEY,
            f"there is no share of the key {certificate.serial} here (any more)",
        )
        signature = self.identity.signing.sign(signing.LIST, verified.statement)
        self.ledger.record_list(id, certificate.serial, verified.statement, signature)
        self.destroy_old_shares(but=certificate.serial)  # a new list means that earlier attempts are over
        return signature

    def _require_same_list(self, id: AttemptId, signed: bytes, statement: bytes) -> None:
        self.verifier.require(signed == statement, Reason.LIST_CHANGED, f"another list of {id} was signed before")

    def _verify(self, order: ListOrder) -> VerifiedList:
        verifier = self.verifier
        description = verifier.verify_round(order.round)
        verifier.verify_key(description.signed_certificate, self._clock.today())
        verifier.verify_key_policy(self._policy, description.key.scheme, description.key.bits)
        task = _task(description.task)
        verifier.verify_encoding(description, task, len(initial_model(task, 0)))
        verifier.verify_privacy(description, self._policy)
        verifier.verify_lineage(description, task, order.lineage)
        description_digest = digest(order.round.body)
        needed = self._needed(description)
        commitments = verifier.verify_commitments(order.commitments, description, description_digest, needed)
        digests = tuple(digest(signed.body) for signed in order.commitments)
        return VerifiedList(
            description=description,
            task=task,
            statement=list_statement(description_digest, digests),
            commitment_digests=digests,
            update_digests={commitment.client: commitment.digest for commitment in commitments},
        )

    # -------------------------------------------------------------------------------- the sum

    def open_sum(self, order: ReleaseOrder) -> Dialogue[Release]:
        """Check everything, add up again, write the ledger, then give this holder's share of the opening.

        Raises Refused, and gives nothing, if any check fails.
        """
        started = self._clock.seconds()
        verified = self._verify_release(order)
        description = verified.description
        id, certificate = description.id, description.certificate
        if earlier := self.ledger.earlier_answer(id, order.digest):
            return Release(earlier.partial, self._clock.seconds() - started, earlier.exposure)
        share = self.shares.open(certificate)
        exposure = self._check_difference(order, id, self._needed(description))
        total = yield from self._recompute(order, verified)
        answer = Answer(share.partial(total), exposure)
        self.ledger.record_release(id, certificate.serial, order.digest, answer, list(order.contributors))
        self._destroy(certificate.serial)
        return Release(answer.partial, self._clock.seconds() - started, exposure)

    def _verify_release(self, order: ReleaseOrder) -> VerifiedList:
        verified, verifier = self._verify(order.list), self.verifier
        description = verified.description
        verifier.verify_list(digest(order.list.round.body), verified.commitment_digests, order.signatures)
        if signed := self.ledger.signed_list(description.id):
            self._require_same_list(description.id, signed[0], verified.statement)
        serial = description.certificate.serial
        verifier.require(
            self.ledger.attempt_of_key(serial) in (None, description.id),
            Reason.KEY_USED,
            f"the key {serial} served another attempt before",
        )
        contributors = set(order.contributors)
        verifier.require(
            len(contributors) == len(order.contributors), Reason.DUPLICATE, "a client is among the contributors twice"
        )
        for client in order.contributors:
            verifier.require(
                client in verified.update_digests,
                Reason.NOT_IN_LIST,
                f"{client[:64]!r} is not on the closed list of {description.id}",
            )
        needed = self._needed(description)
        verifier.require(
            len(contributors) >= needed,
            Reason.COHORT_TOO_SMALL,
            f"{len(contributors)} contributors; sums of fewer than {needed} are not opened",
        )
        return verified

    def _needed(self, description: RoundDescription) -> int:
        """Return the smallest cohort that this holder and this round agree to."""
        return max(self._policy.min_cohort, description.min_cohort)

    def _check_difference(self, order: ReleaseOrder, id: AttemptId, needed: int) -> str:
        """Return what the rule says to this sum. Raises Refused(TOO_SIMILAR) where it is enforced."""
        if self._rule is DifferenceRule.OFF:
            return ""
        earlier = self.ledger.latest_cohorts(WINDOW)
        exposure = exposed_by(frozenset(order.contributors), earlier, needed, id.run)
        if exposure and self._rule is DifferenceRule.ENFORCE:
            rule = f"a difference of fewer than {needed} clients is not opened where --difference-rule is enforce"
            self.verifier.require(False, Reason.TOO_SIMILAR, f"{exposure}, and {rule}")
        return exposure

    def _recompute(self, order: ReleaseOrder, verified: VerifiedList) -> Dialogue[bytes]:
        if self._total is not None and self._total[0] == order.digest:
            return self._total[1]
        description, verifier = verified.description, self.verifier
        count = description.encoding.plaintexts
        adder, length = adder_for(description.key, count), payload_bytes(description.key, count)
        for client in order.contributors:
            payload = yield from fetch_update(description.id, client, length)
            verifier.require(
                digest(payload) == verified.update_digests.get(client),
                Reason.WRONG_DIGEST,
                f"the update of {client!r} is not the one it committed to",
            )
            adder.check(payload)
            adder.add(payload)
        total = adder.payload()
        verifier.require(
            digest(total) == order.sum_digest,
            Reason.WRONG_SUM,
            "the aggregator's sum is not the sum of the contributions",
        )
        self._total = (order.digest, total)
        return total

    # -------------------------------------------------------------------------------- the model

    def endorse(self, order: ReleaseOrder, model_digest: bytes) -> Dialogue[bytes]:
        """Check the opened sum, compute the model that follows from it, and sign that. Raises Refused.

        A holder that lent no share can endorse too: everything is checked from the raw bytes again.
        """
        verified = self._verify_release(order)
        description = verified.description
        id = description.id
        released = self.ledger.released_request(id.run, id.round)
        self.verifier.require(
            released in (None, order.digest), Reason.ALREADY_RELEASED, f"{id} was opened here for another request"
        )
        expected = digest(model_bytes((yield from self._next_model(order, verified))))
        self.verifier.require(
            model_digest == expected, Reason.WRONG_MODEL, f"the model after {id} does not follow from the opened sum"
        )
        signature = self._signed_model(id, model_digest)
        self._destroy(description.certificate.serial)
        return signature

    def _signed_model(self, id: AttemptId, model_digest: bytes) -> bytes:
        if earlier := self.ledger.endorsed_model(id.run, id.round):
            self.verifier.require(
                earlier[0] == model_digest, Reason.WRONG_MODEL, f"another model of round {id.round} was endorsed before"
            )
            return earlier[1]
        statement = model_statement(self.identity.federation, id.run, id.round, model_digest)
        signature = self.identity.signing.sign(signing.MODEL, statement)
        self.ledger.record_model(id, model_digest, signature)
        return signature

    def _next_model(self, order: ReleaseOrder, verified: VerifiedList) -> Dialogue[FloatArray]:
        description = verified.description
        key, encoding, roster = description.key, description.encoding, self.verifier.roster
        total = yield from self._recompute(order, verified)
        count = encoding.plaintexts
        raw = yield from fetch_opened_sum(description.id, count * 2 * key.plaintext_bytes)
        opened = OpenedSum.from_bytes(key, count, raw)
        verify_opened(key, roster.threshold, len(roster.holders), total, opened)
        cohort = encoding.decode(opened.plaintexts, len(order.contributors))
        model = (yield from fetch_model(encoding.values, description.id.round - 1)).vector
        self.verifier.require(
            digest(model_bytes(model)) == description.model_digest,
            Reason.WRONG_DIGEST,
            "the model is not the one that the round's description names",
        )
        return next_model(model, cohort)


def _task(name: str) -> Task:
    try:
        return get_task(name)
    except SettingsError as error:
        raise Refused(Reason.WRONG_TASK, str(error)) from error
