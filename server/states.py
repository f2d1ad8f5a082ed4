"""The states of a run, the events that change it, and the commands that follow: plain data.

The rules themselves are in server/rounds/. Times are seconds on any clock that never runs backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OfAttempt:
    """An event or a command that is about one attempt at one round."""

    round: int
    attempt: int


@dataclass(frozen=True)
class Quorum:
    """The key holders asked for one thing of which t are needed: who answered, and who declined."""

    asked: frozenset[str] = frozenset()
    answered: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()

    def working(self, connected: frozenset[str]) -> frozenset[str]:
        """Return those that were asked, are connected, and have not declined."""
        return self.asked & connected - self.declined


# ------------------------------------------------------------------------------------------------ states


@dataclass(frozen=True)
class Waiting:
    """No round is open. Left with a key, enough clients and enough key holders; fails when patience is over."""

    round: int
    attempt: int
    since: float
    key_ready: bool = False


@dataclass(frozen=True)
class Committing:
    """The round is open; clients train and commit. Left when every expected one has committed, or at the deadline."""

    round: int
    attempt: int
    deadline: float
    expected: frozenset[str]
    committed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Closing:
    """The list of commitments is closed; key holders check and sign it. Left when t have signed."""

    round: int
    attempt: int
    since: float
    listed: frozenset[str]
    quorum: Quorum = Quorum()


@dataclass(frozen=True)
class Uploading:
    """Clients see the signed list and upload. Left when all or the wanted number have, or at the deadline."""

    round: int
    attempt: int
    deadline: float
    listed: frozenset[str]
    received: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Releasing:
    """Contributors are fixed; key holders sign the request, and lend their shares once t have. Left when t shares fit.

    `signed` are those whose signatures agree about one another's lives.
    """

    round: int
    attempt: int
    since: float
    contributors: int
    quorum: Quorum = Quorum()
    signed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Endorsing:
    """The sum is open and the next model computed; key holders check it. Left when t have signed the model."""

    round: int
    attempt: int
    since: float
    quorum: Quorum = Quorum()


@dataclass(frozen=True)
class Finished:
    """All rounds are completed. Final."""


@dataclass(frozen=True)
class Failed:
    """The run cannot go on. Final."""

    message: str


Agreeing = Closing | Releasing | Endorsing
"""The phases that need a quorum of key holders."""
Phase = Waiting | Committing | Closing | Uploading | Releasing | Endorsing | Finished | Failed
Attempted = Waiting | Committing | Closing | Uploading | Releasing | Endorsing
"""The phases that belong to one attempt at one round."""


@dataclass(frozen=True)
class RunState:
    """The whole state: the phase, which clients are connected, and which key holders serve."""

    phase: Phase
    present: frozenset[str] = field(default_factory=frozenset)
    holders: frozenset[str] = field(default_factory=frozenset)
    starting: frozenset[str] = field(default_factory=frozenset)
    """Key holders that are connected, and wait for others to vouch for their ledgers."""
    last_arrival: float = 0.0
    last_departure: float = 0.0
    """When a client's connection was lost last."""
    begun: bool = False
    """Whether a round was opened since the process started."""
    resumed: bool = False
    """Whether the run was resumed after a restart, and clients have not yet had time to reconnect."""
    opened: tuple[frozenset[str], ...] = ()
    """The contributors of the latest sums that holders were asked to open, of whatever run, the newest first."""
    demands: Mapping[str, int] = field(default_factory=dict)
    """What each key holder said when it attended: see HolderCame."""
    interrupted: int = 0
    """Attempts at this round that were given up because the whole simulation was interrupted."""


# ------------------------------------------------------------------------------------------------ events


@dataclass(frozen=True)
class ClientJoined:
    client: str


@dataclass(frozen=True)
class ClientLeft:
    client: str


@dataclass(frozen=True)
class HolderStarts:
    """A holder is connected, and waits for others to vouch for its ledger."""

    holder: str


@dataclass(frozen=True)
class HolderCame:
    """A key holder serves.

    Attributes:
        least_difference: by how many clients a sum it opens must differ from earlier ones, if not by none.
    """

    holder: str
    least_difference: int = 0


@dataclass(frozen=True)
class HolderLeft:
    holder: str


@dataclass(frozen=True)
class KeyChosen(OfAttempt):
    """Enough holders have an unused share of the same key for this attempt."""


@dataclass(frozen=True)
class CommitmentStored(OfAttempt):
    client: str


@dataclass(frozen=True)
class ListSigned(OfAttempt):
    holder: str


@dataclass(frozen=True)
class RequestSigned(OfAttempt):
    """A holder has agreed to open the sum."""

    holder: str


@dataclass(frozen=True)
class SignatureOutdated(OfAttempt):
    """A holder's signature under the list or the request does not go with another's: one of them started since."""

    holder: str


@dataclass(frozen=True)
class SubmissionStored(OfAttempt):
    client: str


@dataclass(frozen=True)
class SubmissionRefused(OfAttempt):
    """What a listed client has signed is wrong: its update will not come."""

    client: str


@dataclass(frozen=True)
class SharesUnfit(OfAttempt):
    """Enough shares of the opening arrived, but one of them is wrong."""


@dataclass(frozen=True)
class SumOpened(OfAttempt):
    """The sum is opened, checked and stored, and the model that follows is computed."""


@dataclass(frozen=True)
class SumRejected(OfAttempt):
    """The sum was opened, and is not the sum of honest updates."""

    message: str


@dataclass(frozen=True)
class ModelEndorsed(OfAttempt):
    holder: str


@dataclass(frozen=True)
class ModelStored(OfAttempt):
    """The endorsed model is on disk: the round is completed."""


@dataclass(frozen=True)
class TaskDeclined(OfAttempt):
    """A holder declined its last task."""

    holder: str
    message: str


@dataclass(frozen=True)
class Tick:
    """Time passed; nothing else happened."""


Event = (
    ClientJoined
    | ClientLeft
    | HolderStarts
    | HolderCame
    | HolderLeft
    | KeyChosen
    | CommitmentStored
    | ListSigned
    | RequestSigned
    | SignatureOutdated
    | SubmissionStored
    | SubmissionRefused
    | SharesUnfit
    | SumOpened
    | SumRejected
    | ModelEndorsed
    | ModelStored
    | TaskDeclined
    | Tick
)

# ------------------------------------------------------------------------------------------------ commands


@dataclass(frozen=True)
class RequestKey(OfAttempt):
    """Ask these holders which keys they have unused shares of."""

    holders: frozenset[str]


@dataclass(frozen=True)
class OpenRound(OfAttempt):
    expected: frozenset[str]


@dataclass(frozen=True)
class InviteClient(OfAttempt):
    """Send the open round to one client that came late or reconnected."""

    client: str


@dataclass(frozen=True)
class RequestList(OfAttempt):
    """Close the list of commitments (if it is still open) and ask these holders to sign it."""

    holders: frozenset[str]


@dataclass(frozen=True)
class AnnounceList(OfAttempt):
    """Enough holders have signed the list: let the clients on it upload."""


@dataclass(frozen=True)
class LeaveOut(OfAttempt):
    """Leave the updates of these clients out of the sum, for the sentence's reason."""

    clients: frozenset[str]
    message: str


@dataclass(frozen=True)
class RequestRelease(OfAttempt):
    """Fix the contributors (if they are not yet) and ask these holders to agree to open their sum."""

    holders: frozenset[str]


@dataclass(frozen=True)
class RequestShares(OfAttempt):
    """Show the signatures of t holders to these, and ask them for their shares of the opening."""

    holders: frozenset[str]


@dataclass(frozen=True)
class RequestEndorsement(OfAttempt):
    """Ask these holders to check the opened sum and to sign the model that follows."""

    holders: frozenset[str]


@dataclass(frozen=True)
class CompleteRound(OfAttempt):
    """Store the endorsed model and the history's row."""


@dataclass(frozen=True)
class AbandonAttempt(OfAttempt):
    message: str


@dataclass(frozen=True)
class EndRun:
    completed: bool
    message: str


Command = (
    RequestKey
    | OpenRound
    | InviteClient
    | RequestList
    | AnnounceList
    | LeaveOut
    | RequestRelease
    | RequestShares
    | RequestEndorsement
    | CompleteRound
    | AbandonAttempt
    | EndRun
)
Step = tuple[RunState, tuple[Command, ...]]
