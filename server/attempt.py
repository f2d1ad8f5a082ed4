"""One attempt at a round while it is open: check, store, add, combine, in that order, and nothing twice.

Rebuilt from the store after a restart. Everything here runs in the run's worker thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from core.checks import Verifier
from core.errors import Reason, Refused
from core.federated import next_model
from core.protocol import (
    AttemptId,
    ClosedList,
    Commitment,
    HolderSignature,
    RoundDescription,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from core.secagg.encoding import CohortSum
from core.secagg.factory import adder_for, payload_bytes
from core.secagg.opening import OpenedSum, combine, partial_bytes, wrong_holders
from core.secagg.scheme import PLAIN
from core.wire.messages import commitment_from_bytes, description_from_bytes
from core.wire.streams import model_bytes
from server.records import StoredSubmission
from server.store import Store

log = structlog.get_logger()
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NextModel:
    """The model of shape (values,) that follows from an opened sum, and the digest that key holders sign."""

    vector: FloatArray
    digest: bytes


class Attempt:
    """Takes commitments and updates, and opens their sum with the shares of enough key holders."""

    def __init__(self, signed: Signed, store: Store) -> None:
        self.signed = signed
        self.description: RoundDescription = description_from_bytes(signed.body)
        self.digest = digest(signed.body)
        self.list_signatures: dict[str, bytes] = {}
        self.endorsements: dict[str, bytes] = {}
        self.exposure = ""
        """What the difference rule would have refused, as a holder that only reports it says."""
        self.add_seconds = 0.0
        """Seconds spent on checking and adding."""
        self.open_seconds = 0.0
        """Seconds spent by the slowest holder, and on combining."""
        self.opened: OpenedSum | None = None
        self._next_model: NextModel | None = None
        self._store = store
        self._partials: dict[int, bytes] = {}
        self._adder = adder_for(self.description.key, self.description.encoding.plaintexts)
        for part in store.submissions(self.id):
            if part.uploaded:
                self._add(store.payload(self.id, part.client))

    @property
    def id(self) -> AttemptId:
        return self.description.id

    @property
    def count(self) -> int:
        """Return the number of ciphertexts of one update."""
        return self.description.encoding.plaintexts

    @property
    def payload_bytes(self) -> int:
        """Return the only length an update of this attempt can have."""
        return payload_bytes(self.description.key, self.count)

    @property
    def partial_bytes(self) -> int:
        """Return the only length a holder's share of the opening can have."""
        return partial_bytes(self.description.key, self.count)

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
        return commitment, self._store.add_commitment(commitment, signed, timings)

    def _check_copied(self, commitment: Commitment, verifier: Verifier) -> None:
        """Refuse the ciphertexts of another client; key holders would decline a list with both."""
        if self.description.key.scheme == PLAIN:
            return  # equal mailboxes send equal updates; only fresh randomness makes that impossible
        # No honest client can be hit: before the list is closed only the aggregator knows the digests.
        other = self._store.committed_to(self.id, commitment.digest, except_for=commitment.client)
        message = f"{commitment.client!r} commits to the same ciphertexts as {other!r}"
        verifier.require(other is None, Reason.COPIED, message)

    def check_header(self, header: SubmissionHeader) -> None:
        """Refuse an upload that this attempt cannot take, before its payload arrives."""
        self._check_id(header)
        if header.length != self.payload_bytes:
            message = f"the update has {header.length} bytes; every update of this round has {self.payload_bytes}"
            raise Refused(Reason.WRONG_LENGTH, message)

    def _check_id(self, header: SubmissionHeader) -> None:
        if header.id != self.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{header.id} is not open for updates; {self.id} is")

    def submit(self, header: SubmissionHeader, client: str, payload: bytes, bytes_up: int) -> bool:
        """Check every ciphertext, store durably, then add. Return False if this very update was stored before."""
        self._check_id(header)  # another attempt may have been opened since the header was checked
        started = time.perf_counter()
        self._adder.check(payload)
        self.add_seconds += time.perf_counter() - started
        if not self._store.add_payload(header, client, payload, bytes_up):
            return False
        self._add(payload)
        return True

    def _add(self, payload: bytes) -> None:
        started = time.perf_counter()
        self._adder.add(payload)
        self.add_seconds += time.perf_counter() - started

    def listed(self) -> list[StoredSubmission]:
        """Return every client's commitment, in the order of names."""
        return self._store.submissions(self.id)

    def closed_list(self) -> ClosedList:
        """Return the list as clients see it, with the signatures it has so far."""
        return ClosedList(
            round=self.id.round,
            attempt=self.id.attempt,
            description_digest=self.digest,
            commitment_digests=tuple(digest(part.commitment.body) for part in self.listed()),
            signatures=signatures_of(self.list_signatures),
        )

    # -------------------------------------------------------------------------------- the sum

    def sum_digest(self) -> bytes:
        """Return the SHA-256 of the encrypted sum, which each key holder recomputes."""
        return digest(self._adder.payload())

    def take_partial(self, holder: int, partial: bytes, seconds: float, threshold: int, holders: int) -> bool:
        """Take one holder's share of the opening; return True when the sum is open.

        Raises Refused(WRONG_SHARE) when enough shares arrived and no t of them fit, Refused(BAD_SUM) when the opened
        sum is not that of honest updates.
        """
        self._partials[holder] = partial
        self.open_seconds = max(self.open_seconds, seconds)
        if self.opened is not None or len(self._partials) < threshold:
            return self.opened is not None
        started = time.perf_counter()
        key, total = self.description.key, self._adder.payload()
        opened = combine(key, threshold, holders, total, self._partials)
        if wrong := wrong_holders(key, threshold, holders, total, self._partials, opened):
            log.error("wrong share", round=self.id.round, holders=sorted(wrong))
        self.open_seconds += time.perf_counter() - started
        _ = self.cohort(opened).divisor  # a sum without a mean is refused now, not when the model is made
        self._store.keep_opened(self.id, opened.to_bytes(key))
        self.opened = opened
        return True

    def contributors(self) -> list[str]:
        """Return the clients whose ciphertexts are in the sum, in the order of names."""
        return [part.client for part in self.listed() if part.uploaded]

    def cohort(self, opened: OpenedSum) -> CohortSum:
        """Return the opened sum, decoded. Raise Refused(BAD_SUM)."""
        return self.description.encoding.decode(opened.plaintexts, len(self.contributors()))

    def restore_opened(self, raw: bytes) -> None:
        """Restore a sum that was opened before a restart."""
        self.opened = OpenedSum.from_bytes(self.description.key, self.count, raw)

    def next_model(self) -> NextModel:
        """Return the model that follows by the published rule, computed once. Only to be asked with the sum open."""
        if self._next_model is None:
            assert self.opened is not None
            _, model = self._store.model(self.id.run, self.id.round - 1)
            vector = next_model(model, self.cohort(self.opened))
            self._next_model = NextModel(vector, digest(model_bytes(vector)))
        return self._next_model


def signatures_of(signatures: dict[str, bytes]) -> tuple[HolderSignature, ...]:
    """Return signatures by holder, in the order of names."""
    return tuple(HolderSignature(holder, signatures[holder]) for holder in sorted(signatures))


def names_of(parts: Sequence[StoredSubmission]) -> frozenset[str]:
    return frozenset(part.client for part in parts)
