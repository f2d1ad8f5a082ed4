"""What each party does now, for observers: one word a party, from the state of the run.

Members may know who takes part and when. Nothing here comes from an update, and where clients are drawn in secret
nothing says who was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from core.identity.members import Roster
from core.wire import federation_pb2 as pb
from server.states import Agreeing, Attempted, Closing, Committing, Endorsing, Quorum, Releasing, RunState, Uploading

MOST_LANES = 256
"""Parties of which observers are told; with more, they get the counts only."""
AWAY, HERE, GONE, STARTING = "away", "here", "gone", "starting"
_ASKED = {Closing: "checking the list", Releasing: "opening", Endorsing: "checking the model"}
_ANSWERED = {Closing: "signed the list", Releasing: "opened", Endorsing: "endorsed"}


@dataclass(frozen=True)
class Lane:
    """One party's state."""

    name: str
    role: str
    doing: str
    refused: str = ""

    def to_wire(self) -> pb.PartyState:
        """Return the message for it."""
        return pb.PartyState(name=self.name, role=self.role, doing=self.doing, refused=self.refused)


class Lanes:
    """Keeps what the state of a run alone does not say: who was here before, who was refused, and how often was called.

    Args:
        drawn_in_secret: whether no one may know which clients were chosen for a round.

    Attributes:
        calls: how often members called, by the name of the call.
    """

    def __init__(self, *, drawn_in_secret: bool = False) -> None:
        self.calls: Counter[str] = Counter()
        self._secret = drawn_in_secret
        self._seen: set[str] = set()
        self._refused: dict[str, str] = {}
        self._round = (0, 0)
        self._listed: frozenset[str] = frozenset()
        self._received: frozenset[str] = frozenset()
        self._sending: set[str] = set()

    def note_call(self, call: str, name: str) -> None:
        """Count a call of a member."""
        self.calls[call] += 1
        if call == "Submit":
            self._sending.add(name)

    def note_refusal(self, name: str, reason: str) -> None:
        """Note by which check a member's call was refused."""
        self._refused[name] = reason

    def all(self, state: RunState, roster: Roster) -> frozenset[Lane]:
        """Return the lane of each active client and key holder; none if there are too many."""
        self.remember(state)
        if len(roster.members) > MOST_LANES:
            return frozenset()
        return frozenset(self._lanes(state, roster))

    def remember(self, state: RunState) -> None:
        """Note what a state says that later ones do not say any more; each is to be shown to this."""
        self._seen |= state.present | state.holders
        phase = state.phase
        if isinstance(phase, Attempted) and (phase.round, phase.attempt) != self._round:
            self._round, self._refused = (phase.round, phase.attempt), {}
            self._listed = self._received = frozenset()
            self._sending.clear()
        if isinstance(phase, Closing | Uploading):
            self._listed = phase.listed
        if isinstance(phase, Uploading):
            self._received = phase.received
        if isinstance(phase, Releasing) and len(self._received) < phase.contributors:
            # The update that completes the cohort ends the phase at once, so no state says that it was received.
            self._received |= self._listed & self._sending

    def _lanes(self, state: RunState, roster: Roster) -> Iterator[Lane]:
        for member in roster.active_holders:
            yield Lane(member.name, member.role, self._holder(member.name, state), self._refused.get(member.name, ""))
        for member in roster.clients:
            if not member.revoked:
                yield Lane(
                    member.name, member.role, self._client(member.name, state), self._refused.get(member.name, "")
                )

    def _holder(self, name: str, state: RunState) -> str:
        if name in state.starting:
            return STARTING
        if name not in state.holders:
            return self._absent(name)
        phase = state.phase
        return _answering(name, type(phase), phase.quorum) if isinstance(phase, Agreeing) else HERE

    def _client(self, name: str, state: RunState) -> str:
        if name not in state.present and name not in self._received:
            return self._absent(name)
        if self._secret:
            return HERE
        match state.phase:
            case Committing(expected=expected, committed=committed) if name in expected:
                return "committed" if name in committed else "training"
            case Closing(listed=listed) if name in listed:
                return "committed"
            case Uploading(listed=listed, received=received) if name in listed:
                return "uploaded" if name in received else "uploading"
            case Releasing() | Endorsing() if name in self._listed:
                return "uploaded" if name in self._received else "left out"
        return HERE if name in state.present else self._absent(name)

    def _absent(self, name: str) -> str:
        return GONE if name in self._seen else AWAY


def _answering(name: str, phase: type, quorum: Quorum) -> str:
    if name in quorum.answered:
        return _ANSWERED[phase]
    if name in quorum.declined:
        return "declined"
    return _ASKED[phase] if name in quorum.asked else HERE
