"""A key holder's decisions: which lists it signs, which sums it helps to open, which models it endorses. No sockets.

It trusts no arithmetic but its own: from the raw bytes it checks who signed what, fetches every contribution,
checks and adds them up again, and only then signs the request to open them, one for each round. It lends its share of
the round's key once t holders have signed this very request. Alone (unless it is the only holder) it opens nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from core.answers import statement_of
from core.checks import Verifier, VerifierFactory
from core.clock import Clock
from core.commands import command_of
from core.difference import WINDOW
from core.errors import CONTINUE_INSTEAD, Reason, StorageError
from core.federated import initial_model
from core.identity import signing
from core.identity.party import PartyIdentity
from core.policy import Policy
from core.protocol import (
    LIFE_BYTES,
    MOST_OFFERED,
    AttemptId,
    Head,
    HolderSignature,
    LedgerState,
    ModelOrigin,
    RoundDescription,
    Signed,
    digest,
)
from core.round_sums import in_groups, least_in_all, mean_of, sums_of
from core.secagg.opening import verify_opened
from core.server_rules import ServerModel
from core.task_checks import require_local_training, served_task
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Dialogue
from core.wire.holder_messages import list_statement, model_statement, request_statement, sign_statement
from keyholder.adding import added_up
from keyholder.difference import Contributors, DifferenceRule, exposed_by, sums_told
from keyholder.ledger import Answer, Ledger
from keyholder.orders import ListOrder, ReleaseOrder, VerifiedList, fetch_opened_sum, starting_model
from keyholder.shares import Shares
from keyholder.starting import Agreement, Told, peers_needed, vouch_for

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreed:
    """A request that this holder has checked and signed; its share of the opening is prepared, and not yet given.

    Attributes:
        exposure: what the difference rule would have refused, if it is only reported.
    """

    signature: HolderSignature
    seconds: float
    exposure: str


class KeyHolder:
    """Holds one share of each round's key, and lends it once.

    Args:
        task: a task of its owner's own that it serves besides those of the project.
    """

    def __init__(
        self,
        identity: PartyIdentity,
        policy: Policy,
        ledger: Ledger,
        rule: DifferenceRule,
        clock: Clock,
        verifier: VerifierFactory = Verifier,
        task: Task | None = None,
    ) -> None:
        self.identity = identity
        self.shares = Shares(identity)
        self.ledger = ledger
        self.life = secrets.token_bytes(LIFE_BYTES)
        self.told = Told()
        """What other holders have told that this one must not contradict."""
        self._policy = policy
        self._rule = rule
        self._clock = clock
        self._make_verifier = verifier
        self.own_task = task
        self._total: tuple[bytes, bytes] | None = None
        """The order whose sum was added up last, and that sum."""
        self._computed: ServerModel | None = None
        """The model that followed from the sum checked last; the next round starts from it."""
        if old := [key.certificate.serial for key in self.shares.dealt() if not key.certificate.provable]:
            why = f"they have no values to prove answers by; deal new keys with {command_of('registrar')} deal"
            log.warning("keys not offered", serials=old, why=why)
        # After a crash between the ledger's entry and the end of the share:
        for serial in self.shares.present(ledger.spent_keys()):
            self._destroy(serial)

    @property
    def verifier(self) -> Verifier:
        """The checks by the roster of this moment."""
        return self._make_verifier(self.identity.roster.current(), self.identity.registrar)

    @property
    def least_difference(self) -> int:
        """By how many clients a sum's contributors must differ from earlier ones, if not by none; 0: they need not."""
        return self._policy.least_contributors if self._rule is DifferenceRule.ENFORCE else 0

    # -------------------------------------------------------------------------------- starting

    def start(self, dishonest: int | None = None) -> Agreement:
        """Write down that this holder starts; it may serve once the agreement is complete.

        Args:
            dishonest: how many of the other holders may be dishonest; by default as many as the federation withstands.
        """
        roster = self.verifier.roster
        assumed = roster.opened_once_against if dishonest is None else dishonest
        needed = peers_needed(roster.threshold, len(roster.active_holders), assumed)
        return Agreement(self.identity, self.ledger, self.life, self.told, needed)

    def vouch_for(self, signed: Signed) -> tuple[str, Signed]:
        """Write down another holder's start; return its name and what this one knows. Raises Refused."""
        return vouch_for(signed, self.identity, self.ledger, self.verifier)

    def _sign(self, domain: str, statement: bytes, entry: Head) -> HolderSignature:
        """Sign a statement, with the state of the ledger: the entry about it, and the lives of all holders now."""
        active = {member.name for member in self.verifier.roster.active_holders}
        peers = tuple((name, life) for name, life in self.ledger.peers.lives if name in active)
        state = LedgerState(entry, self.life, peers)
        return sign_statement(self.identity.signing, self.identity.name, domain, statement, state)

    # -------------------------------------------------------------------------------- keys

    def unused_keys(self, scheme: str, bits: int, above: int = 0) -> list[Signed]:
        """Return keys of this kind, in date, that this holder has an unused share of, the lowest serial numbers first.

        Only those above a serial number: a holder that was away has shares of keys that others have used since, and
        must not offer these alone. Raises Refused(BAD_KEY) if its policy does not allow such keys.
        """
        self.verifier.verify_key_policy(self._policy, scheme, bits)
        used, retired = self.ledger.used_keys(), self.verifier.roster.retired_keys
        found = [
            key.signed
            for key in self.shares.dealt()
            if key.certificate.serial > max(above, retired)
            and key.certificate.serial not in used
            and key.certificate.key.is_of(scheme, bits)
            and key.certificate.expires_day >= self._clock.today()  # else expired keys would stand before newer ones
            and key.certificate.provable
        ]
        return found[:MOST_OFFERED]

    def destroy_old_shares(self, but: int = 0) -> None:
        """Destroy shares of keys that are expired, retired or bound to a signed list, but for one that is in use."""
        for serial in self.shares.present(self.ledger.bound_keys(but)):
            self._destroy(serial)
        today, retired = self._clock.today(), self.verifier.roster.retired_keys
        for key in (each.certificate for each in self.shares.dealt()):
            if key.expires_day < today or (key.serial <= retired and key.serial != but):
                self._destroy(key.serial)

    def forget(self) -> None:
        """Let the answers that are not kept any more leave the disk; if it is in the way, later."""
        try:
            self.ledger.forget()
        except StorageError as error:
            log.error("old answers are still in the log of the ledger", sentence=str(error))

    def _destroy(self, serial: int) -> None:
        """Destroy a share; if the disk is in the way, later: nothing that is in the ledger already is held up by it."""
        try:
            self.shares.destroy(serial)
        except StorageError as error:
            log.error("share not destroyed", serial=serial, sentence=str(error))

    # -------------------------------------------------------------------------------- the list

    def sign_list(self, order: ListOrder) -> HolderSignature:
        """Check every commitment and what it answers, write the ledger, then sign. Raises Refused."""
        verified = self._verify(order)
        id, certificate = verified.description.id, verified.description.certificate
        if earlier := self.ledger.signed_list(id):
            self._require_same_list(id, earlier[0], verified.statement)
            return self._sign(signing.LIST, *earlier)
        self.verifier.require(
            self.shares.has(certificate),
            Reason.UNKNOWN_KEY,
            f"there is no share of the key {certificate.serial} here (any more)",
        )
        self.verifier.verify_key_in_use(certificate)
        self.told.require_list(self.verifier, certificate.serial, verified.statement)
        self.ledger.accounts.saw(self._policy, verified.description, verified.commitments)
        entry = self.ledger.record_list(id, certificate.serial, verified.statement)
        self.destroy_old_shares(but=certificate.serial)  # a new list means that earlier attempts are over
        return self._sign(signing.LIST, verified.statement, entry)

    def _require_same_list(self, id: AttemptId, signed: bytes, statement: bytes) -> None:
        self.verifier.require(signed == statement, Reason.LIST_CHANGED, f"another list of {id} was signed before")

    def _verify(self, order: ListOrder) -> VerifiedList:
        verifier = self.verifier
        description = verifier.verify_round(order.round)
        verifier.verify_key(description.signed_certificate, self._clock.today())
        verifier.verify_key_policy(self._policy, description.key.scheme, description.key.bits)
        task = served_task(description.task, self.own_task)
        verifier.verify_encoding(description, task, len(initial_model(task, 0)))
        verifier.verify_bounds(description, self._policy)
        require_local_training(verifier.require, description, task, self._policy)
        verifier.verify_privacy(description, self._policy)
        self.ledger.peers.saw(verifier.verify_lineage(description, task, order.lineage))
        self._verify_model_unused(description)
        description_digest = digest(order.round.body)
        needed = self._needed(description)
        commitments = verifier.verify_commitments(order.commitments, description, description_digest, needed)
        if self.ledger.signed_list(description.id) is None:  # else they were fresh then, and may have moved on since
            self.ledger.accounts.require(verifier, self._policy, description, commitments)
        digests = tuple(digest(signed.body) for signed in order.commitments)
        return VerifiedList(
            description=description,
            task=task,
            statement=list_statement(description_digest, digests),
            commitment_digests=digests,
            commitments=tuple(commitments),
            committed={commitment.client: commitment for commitment in commitments},
        )

    def _verify_model_unused(self, description: RoundDescription) -> None:
        """Refuse a second round from a model, of whatever run: Refused(MODEL_USED).

        Training repeats itself exactly from the same model, so several sums combine to single updates.
        """
        id, earlier = description.id, self.ledger.opened_from(description.model_digest)
        self.verifier.require(
            earlier in (None, ModelOrigin(id.run, id.round)),
            Reason.MODEL_USED,
            f"{id} starts from a model from which a sum was opened before, in {earlier}; {CONTINUE_INSTEAD}",
        )

    # -------------------------------------------------------------------------------- the sum

    def sign_request(self, order: ReleaseOrder) -> Dialogue[Agreed]:
        """Check everything, add up again, prepare the share of the opening, write the ledger, then sign the request.

        Raises Refused, and signs nothing, if any check fails.
        """
        started = self._clock.seconds()
        verified = self._verify_release(order)
        description = verified.description
        id, certificate = description.id, description.certificate
        answer = self.ledger.earlier_answer(id, order.digest)
        if answer is None:
            self.told.require_request(self.verifier, id, order.digest, description.model_digest)
            share = self.shares.open(certificate)
            groups = order.groups(description)
            contributors: Contributors = groups[0] if description.grouping is None else groups
            exposure = self._check_difference(contributors, id, self._needed(description))
            total = yield from self._recompute(order, verified)
            claim = statement_of(description, self.identity.number, order.digest, total)
            answer = Answer(share.answer(claim), exposure)
            self.ledger.accounts.saw(self._policy, description, verified.commitments)
            model = description.model_digest
            self.ledger.record_release(id, certificate.serial, order.digest, answer, contributors, model)
            self._destroy(certificate.serial)
        statement = request_statement(self.identity.federation, id, order.digest)
        signature = self._sign(signing.REQUEST, statement, self.ledger.release_entry(id.run, id.round))
        return Agreed(signature, self._clock.seconds() - started, answer.exposure)

    def lend(self, id: AttemptId, signatures: Sequence[HolderSignature]) -> bytes:
        """Give this holder's share of an opening, once t holders have signed the request that it has signed itself.

        One number a ciphertext, fixed-length, big-endian, and then their proof. Raises Refused.
        """
        request_digest, answer = self.ledger.prepared(id)
        self.ledger.peers.saw(self.verifier.verify_request(id, request_digest, signatures))
        return answer.partial

    def _verify_release(self, order: ReleaseOrder) -> VerifiedList:
        verified, verifier = self._verify(order.list), self.verifier
        description = verified.description
        self.ledger.peers.saw(
            verifier.verify_list(digest(order.list.round.body), verified.commitment_digests, order.signatures)
        )
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
                client in verified.committed,
                Reason.NOT_IN_LIST,
                f"{client[:64]!r} is not on the closed list of {description.id}",
            )
        needed, divided = self._needed(description), in_groups(description)
        verifier.require(
            len(contributors) >= least_in_all(description, needed),
            Reason.COHORT_TOO_SMALL,
            f"{len(contributors)} contributors{divided}; sums of fewer than {needed} are not opened",
        )
        return verified

    def _needed(self, description: RoundDescription) -> int:
        """Return the smallest sum that this holder and this round agree to; with groups, the smallest group."""
        return max(self._policy.least_contributors, description.min_cohort)

    def _check_difference(self, contributors: Contributors, id: AttemptId, needed: int) -> str:
        """Return what the rule says to these sums. Raises Refused(TOO_SIMILAR) where it is enforced."""
        if self._rule is DifferenceRule.OFF:
            return ""
        earlier = self.ledger.latest_cohorts(WINDOW)
        told = (exposed_by(each, earlier, needed, id.run) for each in sums_told(contributors))
        exposure = next(filter(None, told), "")
        if exposure and self._rule is DifferenceRule.ENFORCE:
            rule = f"a difference of fewer than {needed} clients is not opened where --difference-rule is enforce"
            self.verifier.require(False, Reason.TOO_SIMILAR, f"{exposure}, and {rule}")
        return exposure

    def _recompute(self, order: ReleaseOrder, verified: VerifiedList) -> Dialogue[bytes]:
        if self._total is not None and self._total[0] == order.digest:
            return self._total[1]
        verifier = self.verifier
        total = yield from added_up(
            verified.description, order.groups(verified.description), verified.committed, verifier
        )
        verifier.require(
            digest(total) == order.sum_digest,
            Reason.WRONG_SUM,
            "the aggregator's sum is not the sum of the contributions",
        )
        self._total = (order.digest, total)
        return total

    # -------------------------------------------------------------------------------- the model

    def endorse(
        self, order: ReleaseOrder, model_digest: bytes, opened: Iterable[pb.Chunk] = ()
    ) -> Dialogue[HolderSignature]:
        """Check the opened sum, compute the model that follows from it, and sign that. Raises Refused.

        A holder that lent no share can endorse too: everything is checked from the raw bytes again.

        Args:
            opened: the sum as the aggregator opened it; if it did not come along, it is fetched.
        """
        verified = self._verify_release(order)
        description = verified.description
        id = description.id
        released = self.ledger.released_request(id.run, id.round)
        self.verifier.require(
            released in (None, order.digest), Reason.ALREADY_RELEASED, f"{id} was opened here for another request"
        )
        self._computed = yield from self._next_model(order, verified, opened)
        message = f"the model after {id} does not follow from the opened sum"
        self.verifier.require(model_digest == self._computed.endorsed, Reason.WRONG_MODEL, message)
        signature = self._signed_model(id, model_digest)
        self._destroy(description.certificate.serial)
        return signature

    def _signed_model(self, id: AttemptId, model_digest: bytes) -> HolderSignature:
        statement = model_statement(self.identity.federation, id.run, id.round, model_digest)
        if earlier := self.ledger.endorsed_model(id.run, id.round):
            self.verifier.require(
                earlier[0] == model_digest, Reason.WRONG_MODEL, f"another model of round {id.round} was endorsed before"
            )
            return self._sign(signing.MODEL, statement, earlier[1])
        return self._sign(signing.MODEL, statement, self.ledger.record_model(id, model_digest))

    def _next_model(
        self, order: ReleaseOrder, verified: VerifiedList, opened: Iterable[pb.Chunk]
    ) -> Dialogue[ServerModel]:
        description = verified.description
        roster = self.verifier.roster
        total = yield from self._recompute(order, verified)
        found = yield from fetch_opened_sum(description, opened)
        verify_opened(description.key, roster.threshold, len(roster.holders), total, found)
        sums = sums_of(description, found.plaintexts, len(order.contributors))
        model = yield from starting_model(description, self._computed, self.verifier)
        return model.after(mean_of(sums, description.grouping, description.mechanism), len(order.contributors))
