"""Serve the aggregator as a key holder over gRPC."""

from __future__ import annotations

import structlog
import tenacity

from core.errors import GrokfedError, StorageError
from core.wire import federation_pb2 as pb
from core.wire.calls import converse
from core.wire.dialing import AggregatorConnection
from core.wire.membership import subscribe
from keyholder.session import HolderSession

log = structlog.get_logger()
DISK_SECONDS = 300.0
"""For how long a task is tried again while the disk is full."""


def run_session(connection: AggregatorConnection, session: HolderSession) -> str:
    """Answer every task until the run has ended, and return the aggregator's closing message.

    Raises RunFailedError if the run failed, ConnectionLostError if the aggregator stays away.
    """
    for task in subscribe(connection, session.subscription(), session.holder.identity.roster):
        _answer(connection, session, task)
        if session.ending is not None:
            return session.ending
    raise GrokfedError(f"the aggregator at {connection.address} closed the connection before the run ended")


def _answer(connection: AggregatorConnection, session: HolderSession, task: pb.HolderTask) -> None:
    """Answer a task, again and again while the disk is full: to decline is final, and the disk may soon have room."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StorageError),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=3.0),
        stop=tenacity.stop_after_delay(DISK_SECONDS),
        before_sleep=_log_storage,
        reraise=True,
    )
    try:
        retrying(lambda: converse(session.answer(task), connection.carry))
    except StorageError:
        converse(session.decline_for_storage(task), connection.carry)


def _log_storage(state: tenacity.RetryCallState) -> None:
    assert state.outcome is not None
    log.error("storage", message=str(state.outcome.exception()), attempts=state.attempt_number)
