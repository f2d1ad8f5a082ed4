"""Bounds on what one member may ask for at a time and a minute: a member's flood must not hold up the others.

The bounds are far above what the product's own parties need; what is beyond them is refused before any lock is taken or
any file read, as TOO_MANY_CALLS, and parties of the product ask again later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from core.errors import Reason, Refused
from core.identity.certificates import PeerName
from core.identity.roster import Member

Caller = Member | PeerName
T = TypeVar("T")

MOST_STREAMS = {"Join": 4, "Attend": 4, "Watch": 8, "OfferRoster": 1}
"""Open streams of one member. Joining again closes the stream before, so there is more than one only for a moment."""
MOST_CALLS = 128
"""Open calls of one member, of all kinds together."""


@dataclass(frozen=True)
class Rate:
    """How often a call may be made: `burst` times at once, then `per_second` times a second."""

    burst: float
    per_second: float


RATES = {
    "Join": Rate(20, 0.5),
    "Attend": Rate(20, 0.5),
    "VouchFor": Rate(100, 5),
    "Serve": Rate(20, 0.5),
    "Watch": Rate(20, 0.5),
    "Commit": Rate(300, 100),
    "Submit": Rate(300, 100),
    "FetchModel": Rate(2000, 200),
    "FetchRoster": Rate(60, 5),
    "OfferRoster": Rate(10, 0.5),
    "Check": Rate(60, 5),
    "ServerReflectionInfo": Rate(20, 1),
}
"""Calls of one member. A round has one Join, Commit and Submit for each client, and the shortest takes 0.02 seconds."""
PENALTY_SECONDS = 2.0
"""How long a refusal for too many calls is held back; meanwhile the call takes one of its connection's streams."""
MOST_CONNECTIONS = 8
"""Connections of one member with open calls. With few streams on each, they bound how fast calls can be refused."""


class CallLimits:
    """Counts each member's calls.

    Args:
        clock: seconds, from any beginning.
        rates: how often each call may be made; calls that are not in it may be made as often as there is room.
    """

    def __init__(self, clock: Callable[[], float], rates: Mapping[str, Rate] = RATES) -> None:
        self._clock = clock
        self._rates = rates
        self._open: Counter[tuple[str, str]] = Counter()
        self._connections: dict[str, Counter[str]] = {}
        """By member: open calls of each of its connections."""
        self._left: dict[tuple[str, str], tuple[float, float]] = {}
        """By member and call: what is left of its rate, and since when."""

    @contextmanager
    def admitted(self, member: Caller, call: str, connection: str = "") -> Iterator[None]:
        """Count a call as open inside the block. Raise Refused(TOO_MANY_CALLS) if there are too many, or too often."""
        one, every = (member.name, call), (member.name, "")
        connections = self._connections.setdefault(member.name, Counter())
        new = connection not in connections
        self._require_room(member, len(connections) if new else 0, MOST_CONNECTIONS, "connections")
        self._require_room(member, self._open[one], MOST_STREAMS.get(call, MOST_CALLS), f"open {call} calls")
        self._require_room(member, self._open[every], MOST_CALLS, "open calls")
        self._require_rate(member, call)
        self._open.update((one, every))
        connections[connection] += 1
        try:
            yield
        finally:
            _take_off(self._open, one)
            _take_off(self._open, every)
            _take_off(connections, connection)

    def _require_room(self, member: Caller, count: int, most: int, what: str) -> None:
        if count >= most:
            raise Refused(Reason.TOO_MANY_CALLS, f"{member.name!r} has {count} {what}; at most {most} at a time")

    def _require_rate(self, member: Caller, call: str) -> None:
        rate = self._rates.get(call)
        if rate is not None and not self._take((member.name, call), rate):
            most = f"at most {rate.per_second:g} times a second in the long run"
            raise Refused(Reason.TOO_MANY_CALLS, f"{member.name!r} calls {call} too often; {most}")

    def _take(self, key: tuple[str, str], rate: Rate) -> bool:
        """Take one from what is left of a rate (a token bucket); return whether there was one."""
        now = self._clock()
        left, since = self._left.get(key, (rate.burst, now))
        left = min(rate.burst, left + (now - since) * rate.per_second)
        self._left[key] = max(left - 1, left % 1), now
        return left >= 1


def _take_off(counted: Counter[T], one: T) -> None:
    """Count one less, without looking at any other (as Counter's own subtraction does)."""
    counted[one] -= 1
    if not counted[one]:
        del counted[one]
