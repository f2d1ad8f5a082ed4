"""The rules of a run, as a pure state machine: what happened and what time it is go in, the next state and commands
come out. No sockets, threads, files or clock; everything that can arrive twice, late or never is decided here.

    Waiting ──(enough clients, and a key)──> Collecting ──(all came, or deadline)──> Releasing ──(sum opened)─┐
      ^  ^                                       │                                       │                    │
      │  └──(abandoned: too few at the deadline, key lost, opening declined)─────────────┘                    │
      └──────────────────────────────────(next round)─────────────────────────────────────────────────────────┤
                                                                                                              v
                   Failed <──(waited too long, or too many attempts)                            Finished <──(last round)

Times are seconds on any clock that never runs backwards. After a restart the machine is built anew from the store and
waits its full times again, so a wrong wall clock changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.errors import SettingsError

LONGEST_SECONDS = 1e6
LARGEST = 1_000_000
"""Rounds of a run, and clients of a round."""


@dataclass(frozen=True)
class RoundRules:
    """How rounds are run. Raises SettingsError when made with values that contradict each other."""

    rounds: int = 5
    min_cohort: int = 3
    max_cohort: int = 64
    target: int | None = None
    """Clients to wait for before the first round, as long as patience lasts; without it, whoever has come when
    `gather_seconds` passed without another arrival. Later rounds begin with whoever is there."""
    gather_seconds: float = 5.0
    round_seconds: float = 120.0
    """From the opening of a round to its deadline."""
    patience_seconds: float = 600.0
    """Longest wait for clients, for a key, or for the opening of a sum."""
    max_attempts: int = 3
    """Attempts at one round before the run fails."""

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= LARGEST:
            raise SettingsError(f"the number of rounds is {self.rounds}; it must be at least 1 and at most {LARGEST}")
        if self.max_cohort > LARGEST:
            raise SettingsError(f"the largest cohort is {self.max_cohort}; at most {LARGEST} are supported")
        if not 1 <= self.min_cohort <= self.max_cohort:
            raise SettingsError(
                f"the minimum cohort is {self.min_cohort}; "
                f"it must lie between 1 and the largest cohort, {self.max_cohort}"
            )
        if self.target is not None and not self.min_cohort <= self.target <= self.max_cohort:
            raise SettingsError(
                f"{self.target} clients are expected; that must lie between the minimum cohort, {self.min_cohort}, "
                f"and the largest, {self.max_cohort}"
            )
        for name in ("round_seconds", "patience_seconds", "gather_seconds"):
            if not 0 < getattr(self, name) <= LONGEST_SECONDS:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected seconds, up to {LONGEST_SECONDS:g}")


# ------------------------------------------------------------------------------------------------ states


@dataclass(frozen=True)
class Waiting:
    """No round is open. Left when a key is there and enough clients are; fails when patience is over."""

    round: int
    attempt: int
    since: float
    key_ready: bool = False


@dataclass(frozen=True)
class Collecting:
    """The round is open for updates. Left when every expected client's is stored, or at the deadline."""

    round: int
    attempt: int
    deadline: float
    expected: frozenset[str]
    received: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Releasing:
    """The list of contributors is closed; the key holder is asked for their sum."""

    round: int
    attempt: int
    since: float
    contributors: int


@dataclass(frozen=True)
class Finished:
    """All rounds are completed. Final."""


@dataclass(frozen=True)
class Failed:
    """The run cannot go on. Final."""

    sentence: str


Phase = Waiting | Collecting | Releasing | Finished | Failed


@dataclass(frozen=True)
class Run:
    """The whole state: the phase, and who is there."""

    phase: Phase
    present: frozenset[str] = field(default_factory=frozenset)
    holder_present: bool = False
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
    pass


@dataclass(frozen=True)
class HolderLeft:
    pass


@dataclass(frozen=True)
class KeyOffered:
    """The key holder has a key for this attempt. `known` is false if it is another than the round was opened with."""

    round: int
    attempt: int
    known: bool = True


@dataclass(frozen=True)
class SubmissionStored:
    round: int
    attempt: int
    client: str


@dataclass(frozen=True)
class SumOpened:
    """The sum is opened, checked, and the new model is stored."""

    round: int
    attempt: int


@dataclass(frozen=True)
class ReleaseDeclined:
    round: int
    attempt: int
    sentence: str


@dataclass(frozen=True)
class Tick:
    """Nothing happened but time."""


Event = (
    ClientJoined
    | ClientLeft
    | HolderCame
    | HolderLeft
    | KeyOffered
    | SubmissionStored
    | SumOpened
    | ReleaseDeclined
    | Tick
)

# ------------------------------------------------------------------------------------------------ commands


@dataclass(frozen=True)
class RequestKey:
    round: int
    attempt: int


@dataclass(frozen=True)
class OpenRound:
    round: int
    attempt: int
    expected: frozenset[str]


@dataclass(frozen=True)
class InviteClient:
    """Tell one client, who came late or came back, about the open round."""

    round: int
    attempt: int
    client: str


@dataclass(frozen=True)
class RequestRelease:
    """Close the list of contributors (if it is still open) and ask the key holder for their sum."""

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


Command = RequestKey | OpenRound | InviteClient | RequestRelease | AbandonAttempt | EndRun
Step = tuple[Run, tuple[Command, ...]]

# ------------------------------------------------------------------------------------------------ transitions


def start(round_number: int, attempt: int, now: float) -> Step:
    """The state before a round that has never been opened, and the first commands."""
    return Run(Waiting(round_number, attempt, since=now), last_arrival=now), (RequestKey(round_number, attempt),)


def resume_collecting(
    round_number: int, attempt: int, expected: frozenset[str], received: frozenset[str], now: float, rules: RoundRules
) -> Step:
    """The state after a restart in the middle of collecting: the full time again, nothing received is forgotten."""
    phase = Collecting(round_number, attempt, now + rules.round_seconds, expected, received)
    return _closed_if_complete(Run(phase, last_arrival=now), now)


def resume_releasing(round_number: int, attempt: int, contributors: int, now: float) -> Step:
    """The state after a restart while a sum was being opened: ask again, the answer is the same."""
    phase = Releasing(round_number, attempt, since=now, contributors=contributors)
    return Run(phase, last_arrival=now), (RequestRelease(round_number, attempt),)


def advance(run: Run, event: Event, now: float, rules: RoundRules) -> Step:
    """One step. An event that does not fit the phase (late, repeated, of another attempt) changes nothing."""
    run = _who_is_there(run, event, now)
    match run.phase:
        case Waiting():
            return _in_waiting(run, run.phase, event, now, rules)
        case Collecting():
            return _in_collecting(run, run.phase, event, now, rules)
        case Releasing():
            return _in_releasing(run, run.phase, event, now, rules)
        case Finished() | Failed():
            return run, ()


def next_wakeup(run: Run, rules: RoundRules) -> float | None:
    """When a Tick is due if nothing happens before; None if time alone changes nothing."""
    match run.phase:
        case Waiting(since=since):
            patience_over = since + rules.patience_seconds
            if rules.target is None and _could_open(run, run.phase, rules):
                return min(run.last_arrival + rules.gather_seconds, patience_over)
            return patience_over
        case Collecting(deadline=deadline):
            return deadline
        case Releasing(since=since):
            return since + rules.patience_seconds
        case _:
            return None


def waiting_for(run: Run, rules: RoundRules) -> str:
    """What the run waits for, in words."""
    match run.phase:
        case Waiting(key_ready=key_ready):
            if not run.holder_present:
                return "waiting for the key holder"
            if not key_ready:
                return "waiting for a fresh key"
            wanted = rules.target or f"at least {rules.min_cohort}"
            return f"waiting for clients: {len(run.present)} here, {wanted} wanted"
        case Collecting(expected=expected, received=received):
            return f"waiting for updates: {len(received)} of {len(expected)} here"
        case Releasing():
            return "waiting for the key holder to open the sum"
        case Finished():
            return "all rounds are completed"
        case Failed(sentence=sentence):
            return sentence


def _who_is_there(run: Run, event: Event, now: float) -> Run:
    match event:
        case ClientJoined(client):
            return replace(run, present=run.present | {client}, last_arrival=now)
        case ClientLeft(client):
            return replace(run, present=run.present - {client})
        case HolderCame():
            return replace(run, holder_present=True)
        case HolderLeft():
            return replace(run, holder_present=False)
    return run


def _in_waiting(run: Run, phase: Waiting, event: Event, now: float, rules: RoundRules) -> Step:
    commands: tuple[Command, ...] = ()
    if isinstance(event, KeyOffered) and (event.round, event.attempt) == (phase.round, phase.attempt):
        phase = replace(phase, key_ready=True)
    if isinstance(event, HolderCame):
        # A holder that came back as a new process has lost the key it offered: ask again.
        phase = replace(phase, key_ready=False)
        commands = (RequestKey(phase.round, phase.attempt),)
    if isinstance(event, HolderLeft):
        phase = replace(phase, key_ready=False)
    run = replace(run, phase=phase)
    if _may_open(run, phase, now, rules):
        expected = frozenset(sorted(run.present)[: rules.max_cohort])
        opened = Collecting(phase.round, phase.attempt, now + rules.round_seconds, expected)
        return replace(run, phase=opened, begun=True), (*commands, OpenRound(phase.round, phase.attempt, expected))
    if now >= phase.since + rules.patience_seconds:
        return _fail(run, _why_waiting_failed(run, phase, rules))
    return run, commands


def _in_collecting(run: Run, phase: Collecting, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case SubmissionStored(round_number, attempt, client) if _current(phase, round_number, attempt):
            return _closed_if_complete(replace(run, phase=replace(phase, received=phase.received | {client})), now)
        case ClientJoined(client) if client in phase.expected or len(phase.expected) < rules.max_cohort:
            widened = replace(phase, expected=phase.expected | {client})
            return replace(run, phase=widened), (InviteClient(phase.round, phase.attempt, client),)
        case HolderCame():
            # Asking again is how one learns whether it still has the key.
            return run, (RequestKey(phase.round, phase.attempt),)
        case KeyOffered(round_number, attempt, known=False) if _current(phase, round_number, attempt):
            return _abandon(run, phase, "the key holder came back without the round's key", now, rules)
    if now < phase.deadline:
        return run, ()
    if len(phase.received) >= rules.min_cohort:
        return _close(run, phase, now)
    sentence = f"{len(phase.received)} updates came before the deadline, {rules.min_cohort} are needed"
    return _abandon(run, phase, sentence, now, rules)


def _in_releasing(run: Run, phase: Releasing, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case SumOpened(round_number, attempt) if _current(phase, round_number, attempt):
            if phase.round == rules.rounds:
                return replace(run, phase=Finished()), (EndRun(True, "all rounds are completed"),)
            following = Waiting(phase.round + 1, 1, since=now)
            return replace(run, phase=following), (RequestKey(following.round, 1),)
        case ReleaseDeclined(round_number, attempt, sentence) if _current(phase, round_number, attempt):
            return _abandon(run, phase, sentence, now, rules)
        case HolderCame():
            return run, (RequestRelease(phase.round, phase.attempt),)
    if now >= phase.since + rules.patience_seconds:
        return _fail(run, f"the key holder did not open the sum within {rules.patience_seconds:g} seconds")
    return run, ()


def _may_open(run: Run, phase: Waiting, now: float, rules: RoundRules) -> bool:
    if not _could_open(run, phase, rules):
        return False
    if rules.target is not None:
        gathered = len(run.present) >= rules.target
    else:
        gathered = now >= run.last_arrival + rules.gather_seconds
    return run.begun or gathered or now >= phase.since + rules.patience_seconds


def _could_open(run: Run, phase: Waiting, rules: RoundRules) -> bool:
    return phase.key_ready and len(run.present) >= rules.min_cohort


def _closed_if_complete(run: Run, now: float) -> Step:
    phase = run.phase
    if isinstance(phase, Collecting) and phase.expected and phase.expected <= phase.received:
        return _close(run, phase, now)
    return run, ()


def _close(run: Run, phase: Collecting, now: float) -> Step:
    releasing = Releasing(phase.round, phase.attempt, since=now, contributors=len(phase.received))
    return replace(run, phase=releasing), (RequestRelease(phase.round, phase.attempt),)


def _abandon(run: Run, phase: Collecting | Releasing, sentence: str, now: float, rules: RoundRules) -> Step:
    abandoned = AbandonAttempt(phase.round, phase.attempt, sentence)
    if phase.attempt >= rules.max_attempts:
        run, commands = _fail(
            run, f"round {phase.round} was abandoned {phase.attempt} times, the last time because {sentence}"
        )
        return run, (abandoned, *commands)
    again = Waiting(phase.round, phase.attempt + 1, since=now)
    return replace(run, phase=again), (abandoned, RequestKey(again.round, again.attempt))


def _fail(run: Run, sentence: str) -> Step:
    return replace(run, phase=Failed(sentence)), (EndRun(False, sentence),)


def _why_waiting_failed(run: Run, phase: Waiting, rules: RoundRules) -> str:
    seconds = f"{rules.patience_seconds:g} seconds"
    if not run.holder_present:
        return f"no key holder came within {seconds}"
    if not phase.key_ready:
        return f"the key holder offered no key within {seconds}"
    return f"{len(run.present)} clients are here after {seconds}, {rules.min_cohort} are needed"


def _current(phase: Collecting | Releasing, round_number: int, attempt: int) -> bool:
    return (phase.round, phase.attempt) == (round_number, attempt)
