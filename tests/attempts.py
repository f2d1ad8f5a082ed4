"""An attempt at the aggregator, brought as far as a test needs it."""

from __future__ import annotations

from federations import HonestAttempt

from core.protocol import SubmissionHeader, Timings, digest
from server.attempt import Attempt
from server.store import Store

TIMINGS = Timings(1.0, 2.0)


def opened(honest: HonestAttempt, store: Store) -> Attempt:
    serial = honest.description.certificate.serial
    store.open_attempt(honest.id, serial, honest.signed, frozenset(honest.payloads))
    return Attempt(honest.signed, store)


def commit_all(attempt: Attempt, honest: HonestAttempt) -> None:
    trust = honest.federation.verifier()
    for name, signed in honest.commitments.items():
        attempt.commit(name, signed, TIMINGS, trust)


def listed(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    """All have committed, and the quorum has signed."""
    commit_all(attempt, honest)
    attempt.list_signatures = {each.holder: each.signature for each in honest.list_signatures()}
    store.announce_list(honest.id, honest.list_signatures())


def header(honest: HonestAttempt, client: str) -> SubmissionHeader:
    payload = honest.payloads[client]
    return SubmissionHeader(honest.id, len(payload), digest(payload))


def submit(attempt: Attempt, honest: HonestAttempt, client: str) -> bool:
    return attempt.submit(header(honest, client), client, honest.payloads[client], bytes_up=1)
