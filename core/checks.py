"""The checks that several parties make independently, in the same words: who signed what, and whether it fits.

Each check has a name, the Reason it refuses with: the same name is on the wire, in the log, in the metrics, and in
docs/threat-model.md. Parties hold no copy of one another's verdicts: a client and every key holder check the
aggregator's round again from the raw bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errors import Reason, Refused, SettingsError
from core.federated import encoding_for, initial_model
from core.identity import signing
from core.identity.roster import Role, Roster
from core.policy import Policy
from core.protocol import (
    AttemptId,
    Commitment,
    HolderSignature,
    HolderStart,
    KeyCertificate,
    RoundDescription,
    Signed,
    Vouch,
    digest,
)
from core.round_sums import in_groups, least_in_all
from core.secagg.factory import check_key
from core.secagg.scheme import PLAIN
from core.secagg.share_proof import check_values
from core.server_rules import endorsed_digest
from core.task_checks import require_same_task
from core.tasks.task import Task
from core.wire.holder_messages import (
    list_statement,
    model_statement,
    request_statement,
    signed_statement,
    start_from_bytes,
    vouch_from_bytes,
)
from core.wire.messages import certificate_from_bytes, commitment_from_bytes, description_from_bytes
from core.wire.streams import model_bytes


@dataclass(frozen=True)
class Verifier:
    """One party's checks, by its roster of the moment and the registrar's key.

    Every check of a party ends in `require`.
    """

    roster: Roster
    registrar: bytes

    def require(self, holds: bool, reason: Reason, message: str, clients: tuple[str, ...] = ()) -> None:
        """Raise Refused(reason, message) unless the check holds; `clients` are those that it would hold without."""
        if not holds:
            raise Refused(reason, message, clients)

    # -------------------------------------------------------------------------------- rounds

    def verify_round(self, signed: Signed) -> RoundDescription:
        """Return the description, if this federation's aggregator signed it and was not revoked.

        Raises Refused(WRONG_FEDERATION, REVOKED or DESCRIPTION_SIGNATURE).
        """
        description = description_from_bytes(signed.body)
        self.require(
            description.federation == self.roster.federation,
            Reason.WRONG_FEDERATION,
            f"the round belongs to the federation {description.federation}, not {self.roster.federation}",
        )
        aggregator = self.roster.active(Role.SERVER, self.roster.server.name)
        self.require(
            signing.verify(aggregator.signing_key, signing.ROUND, signed.body, signed.signature),
            Reason.DESCRIPTION_SIGNATURE,
            f"the description of {description.id} is not signed by the aggregator",
        )
        return description

    def verify_key(self, signed: Signed, today: int) -> KeyCertificate:
        """Return the certificate, if the registrar dealt this key to the federation's holders.

        Raises Refused(KEY_CERTIFICATE, KEY_EXPIRED or BAD_KEY). `today` is days since 1970-01-01.
        """
        certificate = certificate_from_bytes(signed.body)
        name = f"the key with serial number {certificate.serial}"
        fits = (certificate.federation, certificate.threshold, certificate.holders) == (
            self.roster.federation, self.roster.threshold, len(self.roster.holders)
        )  # fmt: skip
        self.require(
            fits and signing.verify(self.registrar, signing.KEY, signed.body, signed.signature),
            Reason.KEY_CERTIFICATE,
            f"{name} is not one that the registrar dealt to this federation's key holders",
        )
        self.require(
            today <= certificate.expires_day,
            Reason.KEY_EXPIRED,
            f"{name} was good until day {certificate.expires_day}, and today is day {today} since 1970-01-01",
        )
        check_key(certificate.key)
        check_values(certificate.key, certificate.values)
        return certificate

    def verify_key_in_use(self, certificate: KeyCertificate) -> None:
        """Refuse to begin with a key of before a holder was replaced (KEY_EXPIRED), or before proofs (BAD_KEY)."""
        name, retired = f"the key with serial number {certificate.serial}", self.roster.retired_keys
        expired = f"{name} was retired when a key holder was replaced"
        self.require(certificate.serial > retired, Reason.KEY_EXPIRED, expired)
        old = f"{name} has no values to prove answers by; ask the registrar to deal new keys"
        self.require(certificate.provable, Reason.BAD_KEY, old)

    def verify_key_policy(self, policy: Policy, scheme: str, bits: int) -> None:
        """Refuse a kind of key that this party's policy does not allow. Raises Refused(BAD_KEY)."""
        try:
            policy.check_key(scheme, bits)
        except SettingsError as error:
            self.require(False, Reason.BAD_KEY, str(error))

    def verify_encoding(self, description: RoundDescription, task: Task, values: int) -> None:
        """Refuse a round that is not encoded as the task lays down: Refused(WRONG_TASK or WRONG_DESCRIPTION)."""
        self.require(
            description.task == task.name,
            Reason.WRONG_TASK,
            f"the round trains {description.task!r}, not {task.name!r}",
        )
        require_same_task(self.require, description, task)
        encoding = description.encoding
        bits = description.key.plaintext_bits
        try:
            shape = (description.rule.numbers(values), bits, encoding.max_cohort, encoding.count_cap)
            expected = encoding_for(task, *shape, description.mechanism)
        except SettingsError as error:
            raise Refused(Reason.WRONG_DESCRIPTION, f"the round's encoding cannot work: {error}") from error
        self.require(
            encoding == expected,
            Reason.WRONG_DESCRIPTION,
            f"the round's encoding is not that of the task {task.name!r}",
        )

    def verify_bounds(self, description: RoundDescription, policy: Policy) -> None:
        """Refuse a round in which clients need not prove that their updates keep their bounds, unless all is plain.

        Raises Refused(UNBOUNDED), or WRONG_DESCRIPTION for a proof that there cannot be.
        """
        plain = description.key.scheme == PLAIN
        self.require(
            description.bounded or plain or policy.insecure_unbounded,
            Reason.UNBOUNDED,
            f"the updates of {description.id} come without a proof of their bounds; give --insecure-unbounded to take "
            "part anyway",
        )
        try:
            proven = description.proven
        except SettingsError as error:
            raise Refused(Reason.WRONG_DESCRIPTION, f"the round's bounds cannot be proven: {error}") from error
        self.require(
            proven is None or not plain,
            Reason.WRONG_DESCRIPTION,
            "the round asks for proofs about ciphertexts, and has none: its scheme is plain",
        )

    def verify_privacy(self, description: RoundDescription, policy: Policy) -> None:
        """Refuse a round with less noise, or a larger delta, than this party wants. Raises Refused(WEAK_PRIVACY)."""
        privacy = description.privacy
        noise = 0.0 if privacy is None else privacy.noise_multiplier
        self.require(
            noise >= policy.min_noise,
            Reason.WEAK_PRIVACY,
            f"the round has a noise multiplier of {noise:g}; this party wants at least {policy.min_noise:g}",
        )
        self.require(
            policy.max_delta is None or (privacy is not None and privacy.delta <= policy.max_delta),
            Reason.WEAK_PRIVACY,
            f"the round has {'no delta' if privacy is None else f'a delta of {privacy.delta:g}'}; "
            f"this party wants at most {policy.max_delta}",
        )

    # -------------------------------------------------------------------------------- models

    def verify_lineage(
        self, description: RoundDescription, task: Task, endorsements: Sequence[HolderSignature]
    ) -> tuple[HolderSignature, ...]:
        """Refuse a starting model that does not follow from the published rule; return the signatures that hold.

        Round 1 starts from the task's own model for the round's seed, which everyone can compute, or from the model of
        an earlier run; every later round from that of the round before. Both of these at least t key holders have
        recomputed and signed, with what the server's rule remembers. Raises Refused(MODEL_LINEAGE).
        """
        self._verify_state(description)
        origin = description.origin
        if origin is None:
            pinned = digest(model_bytes(initial_model(task, description.seed)))
            self.require(
                description.model_digest == pinned,
                Reason.MODEL_LINEAGE,
                f"round 1 does not start from the model of {task.name!r} with seed {description.seed}",
            )
            return ()
        signed = endorsed_digest(description.model_digest, origin.state_digest)
        return self.verify_endorsements(origin.run, origin.round, signed, endorsements)

    def _verify_state(self, description: RoundDescription) -> None:
        """Refuse a rule that does not begin a run anew, or a state where there can be none: Refused(MODEL_LINEAGE)."""
        rule, first = description.rule, description.id.round == 1
        weights = rule.weights(description.encoding.values)
        fresh = rule.state_digest(rule.initial_state(weights)) if first else b""
        self.require(
            description.state_digest == fresh and description.clip_factor == 1.0
            if first
            else bool(description.state_digest) != rule.is_default,
            Reason.MODEL_LINEAGE,
            f"what the rule {rule.name} remembers before round {description.id.round} is not what it can remember",
        )

    def verify_endorsements(
        self, run: str, round_number: int, model_digest: bytes, endorsements: Sequence[HolderSignature]
    ) -> tuple[HolderSignature, ...]:
        """Refuse a model of a round that fewer than t key holders have signed; return the signatures that hold.

        A holder that was replaced since and the one that replaced it count once. Raises Refused(MODEL_LINEAGE).
        """
        statement = model_statement(self.roster.federation, run, round_number, model_digest)
        signed, threshold = self.signers(signing.MODEL, statement, endorsements), self.roster.threshold
        places = {self.roster.member(each.holder).number for each in signed}
        self.require(
            len(places) >= threshold,
            Reason.MODEL_LINEAGE,
            f"the model of round {round_number} is signed by {len(places)} key holders; expected {threshold}",
        )
        return signed

    # -------------------------------------------------------------------------------- commitments and lists

    def verify_commitment(self, signed: Signed, description: RoundDescription, description_digest: bytes) -> Commitment:
        """Return the commitment, if an enrolled client made it for this very round description.

        Raises Refused(NOT_IN_ROSTER, REVOKED, WRONG_ROLE, WRONG_DESCRIPTION or COMMITMENT_SIGNATURE).
        """
        commitment = commitment_from_bytes(signed.body)
        client = self.roster.active(Role.CLIENT, commitment.client)
        self.require(
            commitment.id == description.id and commitment.description_digest == description_digest,
            Reason.WRONG_DESCRIPTION,
            f"the commitment of {commitment.client!r} answers another description than that of {description.id}",
        )
        self.require(
            signing.verify(client.signing_key, signing.COMMITMENT, signed.body, signed.signature),
            Reason.COMMITMENT_SIGNATURE,
            f"the commitment of {commitment.client!r} is not signed by that client",
        )
        self.require(
            bool(commitment.ciphertexts) == description.bounded,
            Reason.WRONG_DESCRIPTION,
            f"the commitment of {commitment.client!r} is one {'without' if description.bounded else 'with'} a proof, "
            f"which is not what {description.id} asks for",
        )
        return commitment

    def verify_commitments(
        self, signed: Sequence[Signed], description: RoundDescription, description_digest: bytes, min_cohort: int
    ) -> list[Commitment]:
        """Return all commitments of a list, each verified; none twice, and enough for each sum.

        Raises Refused with what verify_commitment() gives, or DUPLICATE, COPIED, COHORT_TOO_SMALL or WRONG_DESCRIPTION.
        """
        found = [self.verify_commitment(each, description, description_digest) for each in signed]
        clients = {commitment.client for commitment in found}
        self.require(len(clients) == len(found), Reason.DUPLICATE, "a client is in the list twice")
        self._verify_distinct(found, description)
        self.require(
            len(clients) >= least_in_all(description, min_cohort),
            Reason.COHORT_TOO_SMALL,
            f"{len(clients)} clients{in_groups(description)}; a sum of fewer than {min_cohort} is not opened",
        )
        largest = description.encoding.max_cohort
        message = f"{len(found)} clients; the slots are wide enough for {largest}"
        self.require(len(found) <= largest, Reason.WRONG_DESCRIPTION, message)
        return found

    def _verify_distinct(self, found: Sequence[Commitment], description: RoundDescription) -> None:
        """Refuse a list on which two clients commit to the same ciphertexts. Raises Refused(COPIED)."""
        if description.key.scheme == PLAIN:
            return  # equal mailboxes send equal updates; only fresh randomness makes that impossible
        first: dict[bytes, str] = {}
        for commitment in found:
            other = first.setdefault(commitment.ciphertexts_digest, commitment.client)
            self.require(
                other == commitment.client,
                Reason.COPIED,
                f"{other!r} and {commitment.client!r} commit to the same ciphertexts",
            )

    def verify_list(
        self, description_digest: bytes, commitment_digests: Sequence[bytes], signatures: Sequence[HolderSignature]
    ) -> tuple[HolderSignature, ...]:
        """Refuse a closed list that fewer than t key holders have signed; return the signatures that hold.

        Raises Refused(LIST_SIGNATURES).
        """
        statement = list_statement(description_digest, commitment_digests)
        return self._verify_quorum(signing.LIST, statement, signatures, Reason.LIST_SIGNATURES, "the closed list")

    def verify_request(
        self, id: AttemptId, request_digest: bytes, signatures: Sequence[HolderSignature]
    ) -> tuple[HolderSignature, ...]:
        """Refuse a request to open a sum that fewer than t key holders have signed; return the signatures that hold.

        Raises Refused(REQUEST_SIGNATURES).
        """
        statement = request_statement(self.roster.federation, id, request_digest)
        what = f"the request to open {id}"
        return self._verify_quorum(signing.REQUEST, statement, signatures, Reason.REQUEST_SIGNATURES, what)

    def _verify_quorum(
        self, domain: str, statement: bytes, signatures: Sequence[HolderSignature], reason: Reason, what: str
    ) -> tuple[HolderSignature, ...]:
        """Refuse what fewer than t key holders have signed that agree about one another's lives; return who has."""
        signed, threshold = self.signers(domain, statement, signatures), self.roster.threshold
        self.require(
            len(signed) >= threshold, reason, f"{what} is signed by {len(signed)} key holders; expected {threshold}"
        )
        self.require(
            have_quorum(signed, threshold),
            reason,
            f"{what} is signed by {len(signed)} key holders, but no {threshold} of them signed "
            "after the last start of each of the others that they know of",
        )
        return signed

    # -------------------------------------------------------------------------------- key holders that start

    def verify_start(self, signed: Signed) -> HolderStart:
        """Return a key holder's start, if it signed it.

        Raises Refused(NOT_IN_ROSTER, REVOKED, WRONG_ROLE, WRONG_FEDERATION or BAD_SIGNATURE).
        """
        start = start_from_bytes(signed.body)
        self._verify_said(start.federation, start.holder, signing.START, signed)
        return start

    def verify_vouch(self, holder: str, signed: Signed) -> Vouch:
        """Return what a key holder vouches for, if it signed it.

        Raises Refused(NOT_IN_ROSTER, REVOKED, WRONG_ROLE, WRONG_FEDERATION or BAD_SIGNATURE).
        """
        vouch = vouch_from_bytes(signed.body)
        self._verify_said(vouch.federation, holder, signing.VOUCH, signed)
        return vouch

    def _verify_said(self, federation: str, holder: str, domain: str, signed: Signed) -> None:
        member = self.roster.active(Role.KEYHOLDER, holder)
        self.require(
            federation == self.roster.federation,
            Reason.WRONG_FEDERATION,
            f"{holder!r} speaks of the federation {federation}, not {self.roster.federation}",
        )
        self.require(
            signing.verify(member.signing_key, domain, signed.body, signed.signature),
            Reason.BAD_SIGNATURE,
            f"what is said in the name of {holder!r} is not signed by that key holder",
        )

    # -------------------------------------------------------------------------------- quorums

    def signers(
        self, domain: str, statement: bytes, signatures: Sequence[HolderSignature]
    ) -> tuple[HolderSignature, ...]:
        """Return the signatures under the statement of key holders of the roster, one for each holder.

        What a holder has signed before it was replaced still counts, so that a run can go on. It is in no quorum with a
        holder that knows of its replacement (_verify_quorum).
        """
        holders = (*self.roster.active_holders, *self.roster.former_holders)
        keys = {member.name: member.signing_key for member in holders}
        return tuple({
            each.holder: each
            for each in signatures
            if each.holder in keys
            and signing.verify(keys[each.holder], domain, signed_statement(statement, each.ledger), each.signature)
        }.values())  # fmt: skip


def have_quorum(signatures: Sequence[HolderSignature], threshold: int) -> bool:
    """Return whether `threshold` of these signers agree about one another's lives (docs/threat-model.md)."""
    return any(
        all(one.agrees_with(other) for one, other in itertools.combinations(some, 2))
        for some in itertools.combinations(signatures, threshold)
    )


VerifierFactory = Callable[[Roster, bytes], Verifier]
"""Makes a party's verifier from its roster and the registrar's key."""
