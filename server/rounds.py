"""The rules of a run, as a pure state machine: what happened and what time it is go in, the next state and commands
come out. No sockets, threads, files or clock; everything that can arrive twice, late or never is decided here.

    Waiting ──(key, clients, holders)──> Committing ──(all, or deadline)──> Closing ──(t have signed)──> Uploading
       ^ ^                                    │                                │                            │
       │ └──────(abandoned: too few, or too many holders decline) <────────────┴────────────────────────────┤
       │                                                                                                    v
       └──(next round)── Endorsing <──(t shares fit)── Releasing <──(all, enough, or deadline with the minimum)

    Failed <── (waited too long, too many attempts, or a sum that no honest cohort has)     Finished <── (last round)

After a restart the machine is built anew from the store and waits its full times again, so a wrong wall clock changes
nothing.
"""

from __future__ import annotations

import random
from dataclasses import replace

from server.rules import RoundRules
from server.states import (
    AbandonAttempt,
    AnnounceList,
    Attempted,
    ClientJoined,
    ClientLeft,
    Closing,
    Command,
    CommitmentStored,
    Committing,
    CompleteRound,
    Endorsing,
    EndRun,
    Event,
    Failed,
    Finished,
    HolderCame,
    HolderLeft,
    InviteClient,
    KeyChosen,
    ListSigned,
    ModelEndorsed,
    ModelStored,
    OfAttempt,
    OpenRound,
    Releasing,
    RequestEndorsement,
    RequestKey,
    RequestList,
    RequestRelease,
    Run,
    SharesUnfit,
    Step,
    SubmissionStored,
    SumOpened,
    SumRejected,
    TaskDeclined,
    Tick,
    Uploading,
    Waiting,
)

KEY_SECONDS = 0.5
"""While no key is there that enough holders have a share of, they are asked again so often: one may be being dealt."""

LONGEST_PAUSE_SECONDS = 10.0

# ------------------------------------------------------------------------------------------------ beginnings


def start(round_number: int, attempt: int, now: float) -> Run:
    """The state before an attempt that has never been opened; after a restart, unless it is the first of all."""
    waiting = Waiting(round_number, attempt, since=now)
    return Run(waiting, last_arrival=now, resumed=(round_number, attempt) != (1, 1))


def resume_committing(
    round_number: int, attempt: int, expected: frozenset[str], committed: frozenset[str], now: float, rules: RoundRules
) -> Step:
    """The state after a restart while clients committed: the full time again, nothing received is forgotten."""
    phase = Committing(round_number, attempt, now + rules.round_seconds, expected, committed)
    return _closed_if_complete(Run(phase, last_arrival=now, begun=True, resumed=True), phase, now, rules)


def resume_closing(round_number: int, attempt: int, listed: frozenset[str], now: float) -> Step:
    """The state after a restart while the list was being signed: whoever comes is asked again."""
    return Run(Closing(round_number, attempt, now, listed), last_arrival=now, begun=True, resumed=True), ()


def resume_uploading(
    round_number: int, attempt: int, listed: frozenset[str], received: frozenset[str], now: float, rules: RoundRules
) -> Step:
    """The state after a restart while updates came in."""
    phase = Uploading(round_number, attempt, now + rules.upload_seconds, listed, received)
    return _fixed_if_complete(Run(phase, last_arrival=now, begun=True, resumed=True), phase, now, rules)


def resume_releasing(round_number: int, attempt: int, contributors: int, now: float) -> Step:
    """The state after a restart while a sum was being opened: ask again, the answers are the same."""
    return Run(Releasing(round_number, attempt, now, contributors), last_arrival=now, begun=True, resumed=True), ()


def resume_endorsing(round_number: int, attempt: int, now: float) -> Step:
    """The state after a restart while the next model was being checked."""
    return Run(Endorsing(round_number, attempt, now), last_arrival=now, begun=True, resumed=True), ()


# ------------------------------------------------------------------------------------------------ one step


def advance(run: Run, event: Event, now: float, rules: RoundRules) -> Step:
    """One step. An event that does not fit the phase (late, repeated, of another attempt) changes nothing."""
    run = _who_is_there(run, event, now)
    if not _of_this_attempt(run, event):
        event = Tick()
    match run.phase:
        case Waiting():
            return _in_waiting(run, run.phase, event, now, rules)
        case Committing():
            return _in_committing(run, run.phase, event, now, rules)
        case Closing():
            return _in_closing(run, run.phase, event, now, rules)
        case Uploading():
            return _in_uploading(run, run.phase, event, now, rules)
        case Releasing():
            return _in_releasing(run, run.phase, event, now, rules)
        case Endorsing():
            return _in_endorsing(run, run.phase, event, now, rules)
        case Finished() | Failed():
            return run, ()


def next_wakeup(run: Run, rules: RoundRules) -> float | None:
    """When a Tick is due if nothing happens before; None if time alone changes nothing."""
    match run.phase:
        case Waiting(since=since):
            patience_over = since + rules.patience_seconds
            if (rules.target is None or run.resumed) and _could_open(run, run.phase, rules):
                return min(run.last_arrival + rules.gather_seconds, patience_over)
            return patience_over
        case Committing(deadline=deadline) | Uploading(deadline=deadline):
            return deadline
        case Closing(since=since):
            return since + rules.patience_seconds
        case Releasing(since=since) | Endorsing(since=since):
            asked_all = run.holders <= run.phase.asked
            return since + (rules.patience_seconds if asked_all else rules.answer_seconds)
        case _:
            return None


def longest_pause(run: Run) -> float:
    """Seconds after which a Tick is due even if nothing is."""
    waits_for_key = isinstance(run.phase, Waiting) and not run.phase.key_ready and bool(run.holders)
    return KEY_SECONDS if waits_for_key else LONGEST_PAUSE_SECONDS


def waiting_for(run: Run, rules: RoundRules) -> str:
    """What the run waits for, in words."""
    match run.phase:
        case Waiting(key_ready=key_ready):
            if len(run.holders) < rules.threshold:
                return f"waiting for key holders: {len(run.holders)} here, {rules.threshold} needed"
            if not key_ready:
                return f"waiting for a fresh key that enough key holders have a share of ({rules.deal} makes some)"
            wanted = rules.target or f"at least {rules.min_cohort}"
            return f"waiting for clients: {len(run.present)} here, {wanted} wanted"
        case Committing(expected=expected, committed=committed):
            return f"waiting for updates: {len(committed)} of {len(expected)} ready"
        case Closing(signed=signed):
            return f"waiting for key holders to sign the list: {len(signed)} of {rules.threshold}"
        case Uploading(listed=listed, received=received):
            return f"waiting for updates: {len(received)} of {len(listed)} here"
        case Releasing():
            return f"waiting for {rules.threshold} key holders to open the sum"
        case Endorsing(endorsed=endorsed):
            return f"waiting for key holders to check the new model: {len(endorsed)} of {rules.threshold}"
        case Finished():
            return rules.ending
        case Failed(sentence=sentence):
            return sentence


def _who_is_there(run: Run, event: Event, now: float) -> Run:
    match event:
        case ClientJoined(client):
            return replace(run, present=run.present | {client}, last_arrival=now)
        case ClientLeft(client):
            return replace(run, present=run.present - {client})
        case HolderCame(holder):
            return replace(run, holders=run.holders | {holder})
        case HolderLeft(holder):
            return replace(run, holders=run.holders - {holder})
    return run


def _of_this_attempt(run: Run, event: Event) -> bool:
    """False for an event about another attempt than the one that is going on."""
    if not isinstance(run.phase, Attempted) or not isinstance(event, OfAttempt):
        return True
    return (event.round, event.attempt) == (run.phase.round, run.phase.attempt)


# ------------------------------------------------------------------------------------------------ Waiting


def _in_waiting(run: Run, phase: Waiting, event: Event, now: float, rules: RoundRules) -> Step:
    commands: tuple[Command, ...] = ()
    match event:
        case KeyChosen():
            phase = replace(phase, key_ready=True)
        case HolderLeft() if len(run.holders) < rules.threshold:
            phase = replace(phase, key_ready=False)
        case HolderCame(holder) if not phase.key_ready:
            commands = (RequestKey(phase.round, phase.attempt, frozenset({holder})),)
        case Tick() if not phase.key_ready and run.holders:
            commands = (RequestKey(phase.round, phase.attempt, run.holders),)
    run = replace(run, phase=phase)
    if _may_open(run, phase, now, rules):
        expected = select(run.present, phase.round, phase.attempt, rules.selected, rules.selection_secret)
        opened = Committing(phase.round, phase.attempt, now + rules.round_seconds, expected)
        run = replace(run, phase=opened, begun=True, resumed=False)
        return run, (*commands, OpenRound(phase.round, phase.attempt, expected))
    if now >= phase.since + rules.patience_seconds:
        return _fail(run, _why_waiting_failed(run, phase, rules))
    return run, commands


def select(present: frozenset[str], round_number: int, attempt: int, most: int, secret: str = "") -> frozenset[str]:
    """The clients of one attempt: everyone, or so many at random.

    Without a secret the choice can be repeated from the names alone; it spreads the work and protects nobody. With one
    it hides who took part from those that see models only. Which clients take part is the aggregator's to say anyway.
    """
    names = sorted(present)
    if len(names) <= most:
        return frozenset(names)
    # Python seeds with the SHA-512 of such a text.
    return frozenset(random.Random(f"{secret}{round_number}.{attempt}").sample(names, most))  # noqa: S311


def _may_open(run: Run, phase: Waiting, now: float, rules: RoundRules) -> bool:
    if not _could_open(run, phase, rules):
        return False
    if run.begun and not run.resumed:
        return True
    full = rules.target is not None and len(run.present) >= rules.target
    # After a restart the round does not wait for all: one of them may have gone for good. But it does not run away from
    # those who are on their way back either, or the difference rule would find its sum too similar to the last.
    quiet = (rules.target is None or run.resumed) and now >= run.last_arrival + rules.gather_seconds
    return full or quiet or now >= phase.since + rules.patience_seconds


def _could_open(run: Run, phase: Waiting, rules: RoundRules) -> bool:
    return phase.key_ready and len(run.present) >= rules.min_cohort and len(run.holders) >= rules.threshold


def _why_waiting_failed(run: Run, phase: Waiting, rules: RoundRules) -> str:
    seconds = f"{rules.patience_seconds:g} seconds"
    if len(run.holders) < rules.threshold:
        return f"{len(run.holders)} key holders are here after {seconds}, {rules.threshold} are needed"
    if not phase.key_ready:
        return (
            f"the key holders had no unused round key of the right kind in common within {seconds}; "
            f"{rules.deal} makes some"
        )
    return f"{len(run.present)} clients are here after {seconds}, {rules.min_cohort} are needed"


# ------------------------------------------------------------------------------------------------ Committing


def _in_committing(run: Run, phase: Committing, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case CommitmentStored(client=client):
            phase = replace(phase, committed=phase.committed | {client})
            return _closed_if_complete(replace(run, phase=phase), phase, now, rules)
        case ClientLeft():
            return _closed_if_complete(run, phase, now, rules)
        case ClientJoined(client) if client in phase.expected or _room_for_more(phase, rules):
            widened = replace(phase, expected=phase.expected | {client})
            return replace(run, phase=widened), (InviteClient(phase.round, phase.attempt, client),)
    if now < phase.deadline:
        return run, ()
    if len(phase.committed) >= rules.min_cohort:
        return _close(run, phase, now)
    sentence = f"{len(phase.committed)} updates were ready before the deadline, {rules.min_cohort} are needed"
    return _abandon(run, phase, sentence, now, rules)


def _room_for_more(phase: Committing, rules: RoundRules) -> bool:
    """Late clients are taken in, but where clients are chosen at random only the chosen ones count."""
    return rules.cohort is None and len(phase.expected) < rules.max_cohort


def _closed_if_complete(run: Run, phase: Committing, now: float, rules: RoundRules) -> Step:
    if phase.expected and (phase.expected <= phase.committed or _enough_and_the_rest_gone(run, phase, rules)):
        return _close(run, phase, now)
    return run, ()


def _enough_and_the_rest_gone(run: Run, phase: Committing, rules: RoundRules) -> bool:
    """Where more are chosen than are wanted, nobody waits for those who left before they committed.

    Just after a restart nobody has come back yet, and being away says nothing.
    """
    if rules.cohort is None or run.resumed:
        return False
    here = phase.committed & run.present
    return len(here) >= rules.cohort and not (phase.expected - phase.committed) & run.present


def _close(run: Run, phase: Committing, now: float) -> Step:
    closing = Closing(phase.round, phase.attempt, since=now, listed=phase.committed)
    return replace(run, phase=closing), (RequestList(phase.round, phase.attempt, run.holders),)


# ------------------------------------------------------------------------------------------------ Closing


def _in_closing(run: Run, phase: Closing, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case ListSigned(holder=holder):
            phase = replace(phase, signed=phase.signed | {holder})
            if len(phase.signed) >= rules.threshold:
                uploading = Uploading(phase.round, phase.attempt, now + rules.upload_seconds, phase.listed)
                return replace(run, phase=uploading), (AnnounceList(phase.round, phase.attempt),)
            return replace(run, phase=phase), ()
        case HolderCame(holder):
            return run, (RequestList(phase.round, phase.attempt, frozenset({holder})),)
        case TaskDeclined(holder=holder, sentence=sentence):
            phase = replace(phase, declined=phase.declined | {holder})
            run = replace(run, phase=phase)
            if rules.holders - len(phase.declined) < rules.threshold:
                return _abandon(run, phase, f"{holder} does not sign the list: {sentence}", now, rules)
            return run, ()
    if now >= phase.since + rules.patience_seconds:
        return _fail(run, f"the key holders did not sign the list within {rules.patience_seconds:g} seconds")
    return run, ()


# ------------------------------------------------------------------------------------------------ Uploading


def _in_uploading(run: Run, phase: Uploading, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case SubmissionStored(client=client):
            phase = replace(phase, received=phase.received | {client})
            return _fixed_if_complete(replace(run, phase=phase), phase, now, rules)
        case ClientJoined(client) if client in phase.listed - phase.received:
            return run, (InviteClient(phase.round, phase.attempt, client),)
    if now < phase.deadline:
        return run, ()
    if len(phase.received) >= rules.min_cohort:
        return _fix(run, phase, now, rules)
    sentence = f"{len(phase.received)} updates came before the deadline, {rules.min_cohort} are needed"
    return _abandon(run, phase, sentence, now, rules)


def _fixed_if_complete(run: Run, phase: Uploading, now: float, rules: RoundRules) -> Step:
    enough = rules.cohort is not None and len(phase.received) >= rules.cohort
    if phase.listed <= phase.received or enough:
        return _fix(run, phase, now, rules)
    return run, ()


def _fix(run: Run, phase: Uploading, now: float, rules: RoundRules) -> Step:
    releasing = Releasing(phase.round, phase.attempt, since=now, contributors=len(phase.received))
    return _ask_to_release(replace(run, phase=releasing), releasing, rules.threshold)


# ------------------------------------------------------------------------------------------------ Releasing


def _in_releasing(run: Run, phase: Releasing, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case SumOpened():
            endorsing = Endorsing(phase.round, phase.attempt, since=now)
            # Those who opened the sum have it at hand; they check the model with the least work.
            first = run.holders & phase.asked - phase.declined
            return _ask_to_endorse(replace(run, phase=endorsing), endorsing, first, rules.threshold)
        case SumRejected(sentence=sentence):
            return _fail(run, f"round {phase.round} was opened and cannot be used, nor opened again: {sentence}")
        case SharesUnfit():
            return _ask_to_release(run, phase, rules.holders)
        case HolderCame(holder) if holder in phase.asked or len(_working(run, phase)) < rules.threshold:
            phase = replace(phase, asked=phase.asked | {holder})
            return replace(run, phase=phase), (RequestRelease(phase.round, phase.attempt, frozenset({holder})),)
        case HolderLeft(holder) if holder in phase.asked:
            return _ask_to_release(run, phase, 1)
        case TaskDeclined(holder=holder, sentence=sentence):
            phase = replace(phase, declined=phase.declined | {holder})
            run = replace(run, phase=phase)
            if rules.holders - len(phase.declined) < rules.threshold:
                return _abandon(run, phase, f"{holder} does not open the sum: {sentence}", now, rules)
            return _ask_to_release(run, phase, 1)
    if now >= phase.since + rules.patience_seconds:
        sentence = f"the key holders did not open the sum within {rules.patience_seconds:g} seconds"
        return _fail(run, sentence)
    if now >= phase.since + rules.answer_seconds:
        return _ask_to_release(run, phase, rules.holders)
    return run, ()


def _ask_to_release(run: Run, phase: Releasing, more: int) -> Step:
    """Ask so many holders who are there and were not asked yet, each round beginning with another one."""
    chosen = _next_holders(run, phase.asked, phase.round, more)
    if not chosen:
        return run, ()
    asked = replace(phase, asked=phase.asked | chosen)
    return replace(run, phase=asked), (RequestRelease(phase.round, phase.attempt, chosen),)


def _working(run: Run, phase: Releasing | Endorsing) -> frozenset[str]:
    """Holders that were asked, are there, and have not declined."""
    return phase.asked & run.holders - phase.declined


def _next_holders(run: Run, asked: frozenset[str], round_number: int, more: int) -> frozenset[str]:
    names = sorted(run.holders)
    turn = round_number % len(names) if names else 0
    waiting = [name for name in names[turn:] + names[:turn] if name not in asked]
    return frozenset(waiting[:more])


# ------------------------------------------------------------------------------------------------ Endorsing


def _in_endorsing(run: Run, phase: Endorsing, event: Event, now: float, rules: RoundRules) -> Step:
    match event:
        case ModelEndorsed(holder=holder) if holder not in phase.endorsed:
            phase = replace(phase, endorsed=phase.endorsed | {holder})
            run = replace(run, phase=phase)
            # Asked again by ModelStored only: until then the model is not on disk.
            enough = len(phase.endorsed) == rules.threshold
            return run, (CompleteRound(phase.round, phase.attempt),) if enough else ()
        case ModelStored():
            return _next_round(run, phase, now, rules)
        case HolderCame(holder) if holder in phase.asked or len(_working(run, phase)) < rules.threshold:
            phase = replace(phase, asked=phase.asked | {holder})
            return replace(run, phase=phase), (RequestEndorsement(phase.round, phase.attempt, frozenset({holder})),)
        case HolderLeft(holder) if holder in phase.asked:
            return _ask_to_endorse(run, phase, frozenset(), 1)
        case TaskDeclined(holder=holder, sentence=sentence):
            phase = replace(phase, declined=phase.declined | {holder})
            run = replace(run, phase=phase)
            if rules.holders - len(phase.declined) < rules.threshold:
                return _fail(run, f"round {phase.round} was opened, but {holder} does not endorse it: {sentence}")
            return _ask_to_endorse(run, phase, frozenset(), 1)
    if now >= phase.since + rules.patience_seconds:
        return _fail(run, f"the key holders did not endorse the model within {rules.patience_seconds:g} seconds")
    if now >= phase.since + rules.answer_seconds:
        return _ask_to_endorse(run, phase, frozenset(), rules.holders)
    return run, ()


def _ask_to_endorse(run: Run, phase: Endorsing, first: frozenset[str], more: int) -> Step:
    chosen = frozenset(sorted(first - phase.asked)[:more])
    chosen |= _next_holders(run, phase.asked | chosen, phase.round, more - len(chosen))
    if not chosen:
        return run, ()
    asked = replace(phase, asked=phase.asked | chosen)
    return replace(run, phase=asked), (RequestEndorsement(phase.round, phase.attempt, chosen),)


def _next_round(run: Run, phase: Endorsing, now: float, rules: RoundRules) -> Step:
    if phase.round == rules.rounds:
        return replace(run, phase=Finished()), (EndRun(True, rules.ending),)
    return _wait(run, phase.round + 1, 1, now)


# ------------------------------------------------------------------------------------------------ ends


def _wait(run: Run, round_number: int, attempt: int, now: float) -> Step:
    run = replace(run, phase=Waiting(round_number, attempt, since=now))
    return run, (RequestKey(round_number, attempt, run.holders),)


def _abandon(run: Run, phase: Attempted, sentence: str, now: float, rules: RoundRules) -> Step:
    abandoned = AbandonAttempt(phase.round, phase.attempt, sentence)
    if phase.attempt >= rules.max_attempts:
        run, commands = _fail(
            run, f"round {phase.round} was abandoned {phase.attempt} times, the last time because {sentence}"
        )
        return run, (abandoned, *commands)
    run, commands = _wait(run, phase.round, phase.attempt + 1, now)
    return run, (abandoned, *commands)


def _fail(run: Run, sentence: str) -> Step:
    return replace(run, phase=Failed(sentence)), (EndRun(False, sentence),)
