"""What a run can be in, what can happen to it, and what the rules can command: plain data without behaviour.

The rules themselves are in server/rounds.py. Times are seconds on any clock that never runs backwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# ------------------------------------------------------------------------------------------------ states


@dataclass(frozen=True)
class Waiting:
    """No round is open. Left when a key is there and enough clients and holders are; fails when patience is over."""

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
    """The list of commitments is closed; key holders check and sign it. Left when the quorum has signed."""

    round: int
    attempt: int
    since: float
    listed: frozenset[str]
    signed: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Uploading:
    """Clients see the signed list and upload. Left when all have, when as many as wanted have, or at the deadline."""

    round: int
    attempt: int
    deadline: float
    listed: frozenset[str]
    received: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Releasing:
    """Contributors are fixed; key holders are asked for their shares of the opening. Left when t of them fit."""

    round: int
    attempt: int
    since: float
    contributors: int
    asked: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Endorsing:
    """The sum is open and the next model computed; key holders check it. Left when t have signed the model."""

    round: int
    attempt: int
    since: float
    asked: frozenset[str] = frozenset()
    endorsed: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finished:
    """All rounds are completed. Final."""


@dataclass(frozen=True)
class Failed:
    """The run cannot go on. Final."""

    sentence: str


Phase = Waiting | Committing | Closing | Uploading | Releasing | Endorsing | Finished | Failed
Attempted = Waiting | Committing | Closing | Uploading | Releasing | Endorsing
"""The phases that belong to one attempt at one round."""


@dataclass(frozen=True)
class Run:
    """The whole state: the phase, and who is there."""

    phase: Phase
    present: frozenset[str] = field(default_factory=frozenset)
    holders: frozenset[str] = field(default_factory=frozenset)
    last_arrival: float = 0.0
    begun: bool = False
    """Whether a round was opened since the process started."""


# ------------------------------------------------------------------------------------------------ events


@dataclass(frozen=True)
class ClientJoined:
    client: str


@dataclass(frozen=True)
class ClientLeft:
    client: str


@dataclass(frozen=True)
class HolderCame:
    holder: str


@dataclass(frozen=True)
class HolderLeft:
    holder: str


@dataclass(frozen=True)
class KeyChosen:
    """Enough holders have an unused share of one and the same key for this attempt."""

    round: int
    attempt: int


@dataclass(frozen=True)
class CommitmentStored:
    round: int
    attempt: int
    client: str


@dataclass(frozen=True)
class ListSigned:
    round: int
    attempt: int
    holder: str


@dataclass(frozen=True)
class SubmissionStored:
    round: int
    attempt: int
    client: str


@dataclass(frozen=True)
class SharesUnfit:
    """As many shares as are needed are there, but one of them is wrong."""

    round: int
    attempt: int


@dataclass(frozen=True)
class SumOpened:
    """The sum is opened, checked and stored, and the model that follows is computed."""

    round: int
    attempt: int


@dataclass(frozen=True)
class SumRejected:
    """The sum was opened, and is not that of honest updates."""

    round: int
    attempt: int
    sentence: str


@dataclass(frozen=True)
class ModelEndorsed:
    round: int
    attempt: int
    holder: str


@dataclass(frozen=True)
class ModelStored:
    """The endorsed model is on disk: the round is completed."""

    round: int
    attempt: int


@dataclass(frozen=True)
class TaskDeclined:
    """A holder turned down what it was asked last."""

    round: int
    attempt: int
    holder: str
    sentence: str


@dataclass(frozen=True)
class Tick:
    """Nothing happened but time."""


Event = (
    ClientJoined
    | ClientLeft
    | HolderCame
    | HolderLeft
    | KeyChosen
    | CommitmentStored
    | ListSigned
    | SubmissionStored
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
class RequestKey:
    """Ask these holders which keys they have unused shares of."""

    round: int
    attempt: int
    holders: frozenset[str]


@dataclass(frozen=True)
class OpenRound:
    round: int
    attempt: int
    expected: frozenset[str]


@dataclass(frozen=True)
class InviteClient:
    """Tell one client, who came late or came back, what it needs for the open round."""

    round: int
    attempt: int
    client: str


@dataclass(frozen=True)
class RequestList:
    """Close the list of commitments (if it is still open) and ask these holders to sign it."""

    round: int
    attempt: int
    holders: frozenset[str]


@dataclass(frozen=True)
class AnnounceList:
    """The list has its quorum: let the clients on it upload."""

    round: int
    attempt: int


@dataclass(frozen=True)
class RequestRelease:
    """Fix the contributors (if they are not yet) and ask these holders for their shares of the opening."""

    round: int
    attempt: int
    holders: frozenset[str]


@dataclass(frozen=True)
class RequestEndorsement:
    """Ask these holders to check the opened sum and to sign the model that follows."""

    round: int
    attempt: int
    holders: frozenset[str]


@dataclass(frozen=True)
class CompleteRound:
    """Store the endorsed model and the history's row."""

    round: int
    attempt: int


@dataclass(frozen=True)
class AbandonAttempt:
    round: int
    attempt: int
    sentence: str


@dataclass(frozen=True)
class EndRun:
    completed: bool
    sentence: str


Command = (
    RequestKey
    | OpenRound
    | InviteClient
    | RequestList
    | AnnounceList
    | RequestRelease
    | RequestEndorsement
    | CompleteRound
    | AbandonAttempt
    | EndRun
)
Step = tuple[Run, tuple[Command, ...]]
