"""The key holder's decisions: which keys it makes, and which sums it opens. No sockets here.

It trusts nobody's arithmetic but its own: it fetches every contribution, checks it, and adds it all up again. It opens
the sum of a whole cohort, once, and destroys the key with it. (With one holder, it must still be trusted not to open
single contributions; nothing but its own good will stops it.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import Reason, Refused
from core.protocol import AttemptId, Contribution, RoundDescription, digest
from core.secagg.roles import adder_for, payload_bytes
from core.secagg.scheme import Decryptor, Policy, PublicKey, join_payload
from keyholder.ledger import Ledger
from keyholder.spare import SpareKey

Fetch = Callable[[AttemptId, str, int], bytes]
"""Fetches one client's payload of at most so many bytes."""


@dataclass(frozen=True)
class ReleaseOrder:
    """The aggregator's wish: open the sum of these contributions to this round."""

    description: RoundDescription
    contributions: tuple[Contribution, ...]
    sum_digest: bytes
    request_digest: bytes
    """Of the exact request, to know it again."""


@dataclass(frozen=True)
class Release:
    """An opened sum: one plaintext a ciphertext, as fixed-length big-endian integers."""

    payload: bytes
    seconds: float


class KeyHolder:
    """Makes a key for every attempt, keeps it in memory only, and opens one sum with it."""

    def __init__(self, policy: Policy, ledger: Ledger, spare: SpareKey | None = None) -> None:
        self._policy = policy
        self._ledger = ledger
        self._spare = spare or SpareKey()
        self._keys: dict[AttemptId, Decryptor] = {}

    def key_for(self, id: AttemptId, scheme: str, bits: int) -> PublicKey:
        """The attempt's public key; made when asked for the first time.

        Raises SettingsError if the policy does not allow such a key.
        """
        self._policy.check_key(scheme, bits)
        if id not in self._keys:
            # A new attempt means that the earlier ones are over: their keys can open nothing any more.
            self._keys = {id: self._spare.take(scheme, bits)}
        return self._keys[id].public_key

    def open_sum(self, order: ReleaseOrder, fetch: Fetch) -> Release:
        """Check everything, add up again, write the ledger, then give the sum.

        Raises Refused, and opens nothing, if any check fails.
        """
        id = order.description.id
        if earlier := self._ledger.earlier_answer(id, order.request_digest):
            return Release(earlier, 0.0)
        decryptor = self._key_of(order.description)
        self._check_cohort(order)
        total = self._recompute(order, fetch)
        started = time.perf_counter()
        plaintexts = decryptor.decrypt(total)
        seconds = time.perf_counter() - started
        # Counters and slots are those of exactly this cohort, or nothing leaves.
        order.description.encoding.unpack(plaintexts, len(order.contributions))
        answer = join_payload(plaintexts, order.description.key.plaintext_bytes)
        self._ledger.record(id, order.request_digest, answer, len(order.contributions))
        del self._keys[id]
        return Release(answer, seconds)

    def _key_of(self, description: RoundDescription) -> Decryptor:
        decryptor = self._keys.get(description.id)
        if decryptor is None or decryptor.public_key != description.key:
            raise Refused(Reason.UNKNOWN_KEY, f"the key of {description.id} is not here (any more)")
        return decryptor

    def _check_cohort(self, order: ReleaseOrder) -> None:
        clients = {contribution.client for contribution in order.contributions}
        digests = {contribution.digest for contribution in order.contributions}
        if len(clients) != len(order.contributions):
            raise Refused(Reason.DUPLICATE, "a client is in the list of contributors twice")
        # Fresh randomness makes equal ciphertexts impossible; without encryption, equal mailboxes send equal updates.
        if len(digests) != len(order.contributions) and order.description.key.scheme != "plain":
            raise Refused(Reason.DUPLICATE, "two contributors sent the same ciphertexts")
        needed = max(self._policy.min_cohort, order.description.min_cohort)
        if len(clients) < needed:
            raise Refused(
                Reason.COHORT_TOO_SMALL, f"{len(clients)} contributors; sums of fewer than {needed} are not opened"
            )

    def _recompute(self, order: ReleaseOrder, fetch: Fetch) -> bytes:
        description = order.description
        count = description.encoding.plaintexts
        adder = adder_for(description.key, count)
        length = payload_bytes(description.key, count)
        for contribution in order.contributions:
            payload = fetch(description.id, contribution.client, length)
            if digest(payload) != contribution.digest:
                sentence = f"the update of {contribution.client!r} is not the one in the list of contributors"
                raise Refused(Reason.WRONG_DIGEST, sentence)
            adder.check(payload)
            adder.add(payload)
        total = adder.payload()
        if digest(total) != order.sum_digest:
            raise Refused(Reason.WRONG_DIGEST, "the aggregator's sum is not the sum of the contributions")
        return total
