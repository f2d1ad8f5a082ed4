"""Take a client through a run over gRPC."""

from __future__ import annotations

from client.session import ClientSession
from core.errors import GrokfedError
from core.wire.calls import converse
from core.wire.dialing import AggregatorConnection
from core.wire.membership import subscribe


def run_session(connection: AggregatorConnection, session: ClientSession) -> str:
    """Answer every notice until the run has ended, and return the aggregator's closing message.

    Raises what ClientSession.answer raises, and ConnectionLostError if the aggregator stays away.
    """
    for notice in subscribe(connection, session.subscription(), session.participant.identity.roster):
        converse(session.answer(notice), connection.carry)
        if session.ending is not None:
            return session.ending
    raise GrokfedError(f"the aggregator at {connection.address} closed the connection before the run ended")
