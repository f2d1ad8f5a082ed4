"""What a run can be in, what can happen to it, and what the rules can command: plain data without behaviour.

The rules themselves are in server/rounds.py. Times are seconds on any clock that never runs backwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OfAttempt:
    """An event or a command that is about one attempt at one round."""

    round: int
    attempt: int


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
    """The list of commitments is closed; key holders check and sign it. Left when t have signed."""

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
    resumed: bool = False
    """Whether the run was taken up after a restart, and who was there then has not yet had time to come back."""


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
class KeyChosen(OfAttempt):
    """Enough holders have an unused share of one and the same key for this attempt."""


@dataclass(frozen=True)
class CommitmentStored(OfAttempt):
    client: str


@dataclass(frozen=True)
class ListSigned(OfAttempt):
    holder: str


@dataclass(frozen=True)
class SubmissionStored(OfAttempt):
    client: str


@dataclass(frozen=True)
class SharesUnfit(OfAttempt):
    """As many shares as are needed are there, but one of them is wrong."""


@dataclass(frozen=True)
class SumOpened(OfAttempt):
    """The sum is opened, checked and stored, and the model that follows is computed."""


@dataclass(frozen=True)
class SumRejected(OfAttempt):
    """The sum was opened, and is not that of honest updates."""

    sentence: str


@dataclass(frozen=True)
class ModelEndorsed(OfAttempt):
    holder: str


@dataclass(frozen=True)
class ModelStored(OfAttempt):
    """The endorsed model is on disk: the round is completed."""


@dataclass(frozen=True)
class TaskDeclined(OfAttempt):
    """A holder turned down what it was asked last."""

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
class RequestKey(OfAttempt):
    """Ask these holders which keys they have unused shares of."""

    holders: frozenset[str]


@dataclass(frozen=True)
class OpenRound(OfAttempt):
    expected: frozenset[str]


@dataclass(frozen=True)
class InviteClient(OfAttempt):
    """Tell one client, who came late or came back, what it needs for the open round."""

    client: str


@dataclass(frozen=True)
class RequestList(OfAttempt):
    """Close the list of commitments (if it is still open) and ask these holders to sign it."""

    holders: frozenset[str]


@dataclass(frozen=True)
class AnnounceList(OfAttempt):
    """Enough holders have signed the list: let the clients on it upload."""


@dataclass(frozen=True)
class RequestRelease(OfAttempt):
    """Fix the contributors (if they are not yet) and ask these holders for their shares of the opening."""

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
