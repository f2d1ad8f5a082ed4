"""The running sum of one open attempt: check, store, add, in that order, and never twice."""

from __future__ import annotations

import time

from core.errors import Reason, Refused
from core.protocol import RoundDescription, SubmissionHeader, digest
from core.secagg.roles import adder_for, payload_bytes
from server.store import Store


class Aggregation:
    """Takes the updates of one attempt. Built again from the store after a restart."""

    def __init__(self, description: RoundDescription, raw_description: bytes, store: Store) -> None:
        self.description = description
        self.raw_description = raw_description
        self._description_digest = digest(raw_description)
        self._store = store
        self._adder = adder_for(description.key, description.encoding.plaintexts)
        self.seconds = 0.0
        """Spent on checking and adding."""
        for contribution in store.contributions(description.id):
            self._add(store.payload(description.id, contribution.client))

    @property
    def payload_bytes(self) -> int:
        """The only length an update of this attempt can have."""
        return payload_bytes(self.description.key, self.description.encoding.plaintexts)

    def check_header(self, header: SubmissionHeader) -> None:
        """Refuse before the payload is taken in, if the header already says that it cannot be added."""
        if header.id != self.description.id:
            raise Refused(Reason.ROUND_NOT_OPEN, f"{header.id} is not open for updates; {self.description.id} is")
        if header.description_digest != self._description_digest:
            raise Refused(Reason.WRONG_DESCRIPTION, f"the update answers another description of {header.id}")
        if header.length != self.payload_bytes:
            sentence = f"the update has {header.length} bytes; every update of this round has {self.payload_bytes}"
            raise Refused(Reason.WRONG_LENGTH, sentence)

    def submit(self, header: SubmissionHeader, payload: bytes, bytes_up: int) -> bool:
        """Check every ciphertext, store durably, then add. False if this very update was stored before."""
        self.check_header(header)
        started = time.perf_counter()
        self._adder.check(payload)
        self.seconds += time.perf_counter() - started
        if not self._store.add_submission(header, payload, bytes_up):
            return False
        self._add(payload)
        return True

    def sum_digest(self) -> bytes:
        """SHA-256 of the sum, which the key holder must arrive at by itself."""
        return digest(self._adder.payload())

    def _add(self, payload: bytes) -> None:
        started = time.perf_counter()
        self._adder.add(payload)
        self.seconds += time.perf_counter() - started
