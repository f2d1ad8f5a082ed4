"""How a party and the aggregator come to have the same roster: whichever has the newer one hands it on.

The registrar's signature and the version decide, not who sent it. An aggregator can keep a newer roster back, but can
make no party go back to an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import structlog

from core.errors import DataError, Reason, Refused
from core.identity.roster import LARGEST_ROSTER, RosterFile
from core.protocol import digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Dialogue, Download, Upload, converse
from core.wire.dialing import AggregatorConnection

log = structlog.get_logger()


class RosterExchange:
    """One party's part in it, as long as its program runs."""

    def __init__(self, roster: RosterFile) -> None:
        self._roster = roster
        self._aggregators = 0
        """The newest version that the aggregator is known to have; several notices may say so at a time."""

    def answer(self, theirs: int) -> Dialogue[None]:
        """Bring both to the newer of the two rosters, now that the aggregator says that it has the version `theirs`.

        What cannot be taken over, or is not taken, is only logged: the run goes on with the roster that was in force.
        """
        mine = self._roster.current().version
        self._aggregators = max(self._aggregators, theirs)
        try:
            if self._aggregators > mine:
                _, raw = yield Download("FetchRoster", pb.RosterRequest(), LARGEST_ROSTER)
                self._roster.accept(raw)
            elif self._aggregators < mine:
                self._aggregators = mine
                yield offer(self._roster)
        except (DataError, Refused) as error:
            log.warning("no common roster", version=mine, aggregator=theirs, why=str(error))


def offer(roster: RosterFile) -> Upload:
    """Return the call that hands the aggregator this party's roster."""
    raw = roster.raw
    header = pb.RosterHeader(version=roster.current().version, length=len(raw), sha256=digest(raw))
    return Upload("OfferRoster", pb.RosterOffer(header=header), raw)


def introduced(roster: RosterFile) -> Dialogue[None]:
    """Show the aggregator the roster, for a party that it does not know yet. Raises Refused."""
    yield offer(roster)


def subscribe(connection: AggregatorConnection, call: Ask, roster: RosterFile) -> Iterator[Any]:
    """Yield what the aggregator pushes; a party that it does not know yet shows it the roster first."""
    try:
        yield from connection.subscribe(call)
    except Refused as refusal:
        if refusal.reason is not Reason.NOT_IN_ROSTER:
            raise
        converse(introduced(roster), connection.carry)
        yield from connection.subscribe(call)
