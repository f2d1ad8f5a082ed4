"""The checks that several parties make, each by itself and in the same words: who signed what, and does it fit.

Each check has a name, the Reason it refuses with: the same name is on the wire, in the log, in the metrics, and in
docs/threat-model.md. Parties hold no copy of one another's verdicts: a client and every key holder check the
aggregator's round again from the raw bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errors import Reason, Refused, SettingsError
from core.federated import encoding_for, initial_model, task_digest
from core.identity import signing
from core.identity.roster import Role, Roster
from core.policy import Policy
from core.protocol import (
    Commitment,
    HolderSignature,
    KeyCertificate,
    RoundDescription,
    Signed,
    digest,
)
from core.secagg.factory import check_key
from core.secagg.scheme import PLAIN
from core.tasks.task import Task
from core.wire.messages import (
    certificate_from_bytes,
    commitment_from_bytes,
    description_from_bytes,
    list_statement,
    model_statement,
)
from core.wire.streams import model_bytes


@dataclass(frozen=True)
class Verifier:
    """One party's checks, by its roster of the moment and the registrar's key.

    Every check of a party ends in `require`.
    """

    roster: Roster
    registrar: bytes

    def require(self, holds: bool, reason: Reason, message: str) -> None:
        """Raise Refused(reason, message) unless the check holds."""
        if not holds:
            raise Refused(reason, message)

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
        return certificate

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
        encoding = description.encoding
        bits = description.key.plaintext_bits
        try:
            shape = (values, bits, encoding.max_cohort, encoding.count_cap)
            expected = encoding_for(task, *shape, description.mechanism)
        except SettingsError as error:
            raise Refused(Reason.WRONG_DESCRIPTION, f"the round's encoding cannot work: {error}") from error
        self.require(
            encoding == expected,
            Reason.WRONG_DESCRIPTION,
            f"the round's encoding is not that of the task {task.name!r}",
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
    ) -> None:
        """Refuse a starting model that does not follow from the published rule.

        Round 1 starts from the task's own model for the round's seed, which everyone can compute; every later one from
        a model that t key holders have recomputed and signed. Raises Refused(MODEL_LINEAGE).
        """
        before = description.id.round - 1
        if before == 0:
            pinned = digest(model_bytes(initial_model(task, description.seed)))
            self.require(
                description.model_digest == pinned,
                Reason.MODEL_LINEAGE,
                f"round 1 does not start from the model of {task.name!r} with seed {description.seed}",
            )
        else:
            self.verify_endorsements(description.id.run, before, description.model_digest, endorsements)

    def verify_endorsements(
        self, run: str, round_number: int, model_digest: bytes, endorsements: Sequence[HolderSignature]
    ) -> None:
        """Refuse a model of a round that fewer than t key holders have signed. Raises Refused(MODEL_LINEAGE)."""
        statement = model_statement(self.roster.federation, run, round_number, model_digest)
        count = self._signers(signing.MODEL, statement, endorsements)
        self.require(
            count >= self.roster.threshold,
            Reason.MODEL_LINEAGE,
            f"the model of round {round_number} is signed by {count} key holders; expected {self.roster.threshold}",
        )

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
        return commitment

    def verify_commitments(
        self, signed: Sequence[Signed], description: RoundDescription, description_digest: bytes, min_cohort: int
    ) -> list[Commitment]:
        """Return all commitments of a list, each verified; none twice, and at least `needed` of them.

        Raises Refused with what verify_commitment() gives, or DUPLICATE, COPIED, COHORT_TOO_SMALL or WRONG_DESCRIPTION.
        """
        found = [self.verify_commitment(each, description, description_digest) for each in signed]
        clients = {commitment.client for commitment in found}
        self.require(len(clients) == len(found), Reason.DUPLICATE, "a client is in the list twice")
        self._verify_distinct(found, description)
        self.require(
            len(clients) >= min_cohort,
            Reason.COHORT_TOO_SMALL,
            f"{len(clients)} clients; a sum of fewer than {min_cohort} is not opened",
        )
        largest = description.encoding.max_cohort
        self.require(
            len(found) <= largest,
            Reason.WRONG_DESCRIPTION,
            f"{len(found)} clients; the slots are wide enough for {largest}",
        )
        return found

    def _verify_distinct(self, found: Sequence[Commitment], description: RoundDescription) -> None:
        """Refuse a list on which two clients commit to the same ciphertexts. Raises Refused(COPIED)."""
        if description.key.scheme == PLAIN:
            return  # equal mailboxes send equal updates; only fresh randomness makes that impossible
        first: dict[bytes, str] = {}
        for commitment in found:
            other = first.setdefault(commitment.digest, commitment.client)
            self.require(
                other == commitment.client,
                Reason.COPIED,
                f"{other!r} and {commitment.client!r} commit to the same ciphertexts",
            )

    def verify_list(
        self, description_digest: bytes, commitment_digests: Sequence[bytes], signatures: Sequence[HolderSignature]
    ) -> None:
        """Refuse a closed list that fewer than t key holders have signed. Raises Refused(LIST_SIGNATURES)."""
        count = self._signers(signing.LIST, list_statement(description_digest, commitment_digests), signatures)
        self.require(
            count >= self.roster.threshold,
            Reason.LIST_SIGNATURES,
            f"the closed list is signed by {count} key holders; expected {self.roster.threshold}",
        )

    def _signers(self, domain: str, statement: bytes, signatures: Sequence[HolderSignature]) -> int:
        """Return how many different key holders of the roster have signed the statement."""
        keys = {member.name: member.signing_key for member in self.roster.holders if not member.revoked}
        return len({
            each.holder
            for each in signatures
            if each.holder in keys and signing.verify(keys[each.holder], domain, statement, each.signature)
        })  # fmt: skip


VerifierFactory = Callable[[Roster, bytes], Verifier]
"""Makes a party's verifier from its roster and the registrar's key."""


def check_same_task(name: str, theirs: bytes, task: Task) -> None:
    """Raise Refused(WRONG_TASK) unless a client trains the same weights with the same encoding."""
    if name != task.name:
        raise Refused(Reason.WRONG_TASK, f"this federation trains {task.name!r}, not {name[:80]!r}")
    if theirs != task_digest(task):
        message = f"the client's {task.name!r} has other weights or another encoding; use the same version"
        raise Refused(Reason.WRONG_TASK, message)
