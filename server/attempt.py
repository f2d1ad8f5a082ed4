"""One attempt at a round while it is open: check, store, add, combine, in that order, and nothing twice.

Rebuilt from the store after a restart. Everything here runs in the run's worker thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import structlog

from core.answers import statement_of
from core.checks import Verifier
from core.errors import Reason, Refused
from core.protected_update import ProtectedUpdate, check_update, lengths, split_update
from core.protocol import (
    AttemptId,
    ClosedList,
    Commitment,
    RoundDescription,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
    request_digest,
)
from core.round_sums import RoundAdder, ciphertexts_of, cohort_of, groups_of, mean_of, sums_of
from core.secagg.encoding import CohortSum
from core.secagg.opening import OpenedSum, answer_bytes, check_answer, combine
from core.secagg.scheme import PLAIN
from core.server_rules import ServerModel
from core.wire import federation_pb2 as pb
from core.wire.messages import (
    commitment_from_bytes,
    description_from_bytes,
    round_to_wire,
    signed_commitment_to_wire,
)
from server.records import StoredSubmission
from server.signatures import Signatures
from server.store import Store

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


class FalseUpdate(Refused):
    """An update that its client has signed and that is wrong, with all that shows it."""

    def __init__(self, refusal: Refused, round: Signed, commitment: Signed, payload: bytes) -> None:
        super().__init__(refusal.reason, str(refusal))
        self._signed = round, commitment
        self._payload = payload

    def evidence(self, roster: bytes) -> bytes:
        """Return what anybody can judge again (results/evidence.py)."""
        round, commitment = self._signed
        return pb.Evidence(
            round=round_to_wire(round),
            commitment=signed_commitment_to_wire(commitment),
            update=self._payload,
            roster=roster,
        ).SerializeToString(deterministic=True)


class Attempt:
    """Takes commitments and updates, and opens their sum with the shares of enough key holders."""

    def __init__(self, signed: Signed, store: Store) -> None:
        self.signed = signed
        self.description: RoundDescription = description_from_bytes(signed.body)
        self.digest = digest(signed.body)
        self.list_signatures = Signatures()
        self.request_signatures = Signatures()
        self.endorsements = Signatures()
        self.exposure = ""
        """What the difference rule would have refused, as a holder that only reports it says."""
        self.add_seconds = 0.0
        """Seconds spent on checking and adding."""
        self.open_seconds = 0.0
        """Seconds spent by the slowest holder before it signed the request, and on combining."""
        self.opened: OpenedSum | None = None
        self._next_model: ServerModel | None = None
        self._store = store
        self._listed: list[StoredSubmission] | None = None
        self._total: bytes | None = None
        self._request_digest: bytes | None = None
        self._sums: tuple[OpenedSum, list[CohortSum]] | None = None
        self._partials: dict[int, bytes] = {}
        self._adder = self._added_up()
        self._stale = False
        """Whether the sums lack an update: with groups they are added up when all contributors are known."""

    @property
    def id(self) -> AttemptId:
        return self.description.id

    @property
    def count(self) -> int:
        """Return the number of ciphertexts of all sums that are opened."""
        return ciphertexts_of(self.description)

    @property
    def longest_update(self) -> int:
        """Return the largest number of bytes that an update of this attempt can have."""
        return lengths(self.description)[1]

    @property
    def answer_bytes(self) -> int:
        """Return the only length a holder's share of the opening, with its proof, can have."""
        certificate = self.description.certificate
        return answer_bytes(certificate.key, certificate.threshold, certificate.holders, self.count)

    # -------------------------------------------------------------------------------- commitments and updates

    def commit(self, client: str, signed: Signed, timings: Timings, verifier: Verifier) -> tuple[Commitment, bool]:
        """Check and store a client's commitment; the second value says whether it is new."""
        if (id := commitment_from_bytes(signed.body).id) != self.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{id} is not open for commitments; {self.id} is")
        commitment = verifier.verify_commitment(signed, self.description, self.digest)
        if commitment.client != client:
            raise Refused(
                Reason.COMMITMENT_SIGNATURE, f"{client!r} brings a commitment in the name of {commitment.client!r}"
            )
        self._check_copied(commitment, verifier)
        self._changes()
        return commitment, self._store.add_commitment(commitment, signed, timings)

    def _check_copied(self, commitment: Commitment, verifier: Verifier) -> None:
        """Refuse the ciphertexts of another client; key holders would decline a list with both."""
        if self.description.key.scheme == PLAIN:
            return  # equal mailboxes send equal updates; only fresh randomness makes that impossible
        # No honest client can be hit: before the list is closed only the aggregator knows the digests.
        other = self._store.committed_to(self.id, commitment.ciphertexts_digest, except_for=commitment.client)
        message = f"{commitment.client!r} commits to the same ciphertexts as {other!r}"
        verifier.require(other is None, Reason.COPIED, message)

    def check_header(self, header: SubmissionHeader) -> None:
        """Refuse an upload that this attempt cannot take, before its payload arrives."""
        self._check_id(header)
        least, most = lengths(self.description)
        if not least <= header.length <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            message = f"the update has {header.length} bytes; every update of this round has {expected}"
            raise Refused(Reason.WRONG_LENGTH, message)

    def _check_id(self, header: SubmissionHeader) -> None:
        if header.id != self.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{header.id} is not open for updates; {self.id} is")

    def submit(self, header: SubmissionHeader, client: str, payload: bytes, bytes_up: int) -> bool:
        """Check everything, store durably, then add. Return False if this very update was stored before.

        Raises FalseUpdate if what the client has signed is wrong.
        """
        self._check_id(header)  # another attempt may have been opened since the header was checked
        if self._store.has_payload(self.id, client, header.digest):
            return False
        started = time.perf_counter()
        update = self._checked(client, payload)
        self.add_seconds += time.perf_counter() - started
        self._changes()
        if not self._store.add_payload(header, client, payload, bytes_up):
            return False
        if self.description.grouping is not None:
            self._stale = True
            return True
        started = time.perf_counter()
        self._adder.add(client, update.ciphertexts)
        self.add_seconds += time.perf_counter() - started
        return True

    def _checked(self, client: str, payload: bytes) -> ProtectedUpdate:
        """Check an update whose digest is the one that the client has signed."""
        commitment = self._store.commitment_of(self.id, client)
        assert commitment is not None  # has_payload() has looked
        update = split_update(self.description, payload)
        try:
            check_update(self._adder, self.description, commitment_from_bytes(commitment.body), update)
        except Refused as refusal:
            raise FalseUpdate(refusal, self.signed, commitment, payload) from refusal
        return update

    def _added_up(self) -> RoundAdder:
        """Return the sum of all updates that are stored, or of each group."""
        started = time.perf_counter()
        adder = RoundAdder(self.description, self.groups())
        for client in self.contributors():
            adder.add(client, split_update(self.description, self._store.payload(self.id, client)).ciphertexts)
        self.add_seconds += time.perf_counter() - started
        return adder

    def leave_out(self, clients: frozenset[str]) -> None:
        """Forget the updates of these clients, and add up the others."""
        self._changes()
        self._store.forget_updates(self.id, clients)
        self._adder, self._stale = self._added_up(), False

    def groups(self) -> list[list[str]]:
        """Return the contributors of each sum, as the list and all contributors decide it."""
        digests = [digest(part.commitment.body) for part in self.listed()]
        return groups_of(self.description, self.digest, digests, self.contributors())

    def listed(self) -> list[StoredSubmission]:
        """Return every client's commitment, in the order of names."""
        if self._listed is None:
            self._listed = self._store.submissions(self.id)
        return self._listed

    def _changes(self) -> None:
        """Forget what follows from the commitments and updates so far: another one is about to be stored."""
        self._listed = self._total = self._request_digest = None

    def closed_list(self) -> ClosedList:
        """Return the list as clients see it, with the signatures it has so far."""
        return ClosedList(
            round=self.id.round,
            attempt=self.id.attempt,
            description_digest=self.digest,
            commitment_digests=tuple(digest(part.commitment.body) for part in self.listed()),
            signatures=self.list_signatures.all(),
        )

    # -------------------------------------------------------------------------------- the sum

    def request_digest(self) -> bytes:
        """Return the digest of what key holders are asked to open, which they sign."""
        if self._request_digest is None:
            commitments, contributors = [part.commitment.body for part in self.listed()], self.contributors()
            self._request_digest = request_digest(self.signed.body, commitments, contributors, self.sum_digest())
        return self._request_digest

    def total(self) -> bytes:
        """Return the encrypted sum, or those of all groups one after another."""
        if self._stale:
            self._adder, self._stale = self._added_up(), False
        if self._total is None:
            self._total = self._adder.payload()
        return self._total

    def sum_digest(self) -> bytes:
        """Return the SHA-256 of the encrypted sum, which each key holder recomputes."""
        return digest(self.total())

    def checked_partial(self, holder: int, answer: bytes) -> bytes:
        """Return one holder's share of the opening, if its proof is right.

        Raises Refused(WRONG_SHARE, WRONG_LENGTH, or BAD_KEY if answers under this key cannot be proven).
        """
        started = time.perf_counter()
        try:
            return check_answer(statement_of(self.description, holder, self.request_digest(), self.total()), answer)
        finally:
            self.open_seconds += time.perf_counter() - started

    def take_partial(self, holder: int, partial: bytes, threshold: int, holders: int) -> bool:
        """Take one holder's checked share of the opening; return True when the sum is open.

        Raises Refused(WRONG_SHARE) when enough shares arrived and no t of them fit, which the proofs exclude,
        Refused(BAD_SUM) when the opened sum is not that of honest updates.
        """
        self._partials[holder] = partial
        if self.opened is not None or len(self._partials) < threshold:
            return self.opened is not None
        started = time.perf_counter()
        key = self.description.key
        opened = combine(key, threshold, holders, self.total(), self._partials)
        self.open_seconds += time.perf_counter() - started
        _ = self._mean(opened)  # a sum without a mean is refused now, not when the model is made
        self._store.keep_opened(self.id, opened.to_bytes(key), self.request_signatures.all())
        self.opened = opened
        return True

    def contributors(self) -> list[str]:
        """Return the clients whose ciphertexts are in the sum, in the order of names."""
        return [part.client for part in self.listed() if part.uploaded]

    def cohort(self, opened: OpenedSum) -> CohortSum:
        """Return the opened sum of all contributors, decoded. Raise Refused(BAD_SUM)."""
        return cohort_of(self.sums(opened))

    def sums(self, opened: OpenedSum) -> list[CohortSum]:
        """Return each opened sum, decoded. Raise Refused(BAD_SUM)."""
        if self._sums is None or self._sums[0] is not opened:
            self._sums = opened, sums_of(self.description, opened.plaintexts, len(self.contributors()))
        return self._sums[1]

    def _mean(self, opened: OpenedSum) -> FloatArray:
        return mean_of(self.sums(opened), self.description.grouping, self.description.mechanism)

    def restore_opened(self, raw: bytes) -> None:
        """Restore a sum that was opened before a restart."""
        self.opened = OpenedSum.from_bytes(self.description.key, self.count, raw)

    def next_model(self) -> ServerModel:
        """Return the model that follows by the published rule, computed once. Only to be asked with the sum open."""
        if self._next_model is None:
            assert self.opened is not None
            _, model = self._store.server_model(self.id.run, self.id.round - 1)
            self._next_model = model.after(self._mean(self.opened), len(self.contributors()))
        return self._next_model


def names_of(parts: Sequence[StoredSubmission]) -> frozenset[str]:
    return frozenset(part.client for part in parts)
