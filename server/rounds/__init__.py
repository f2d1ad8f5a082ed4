"""The rules of a run, as a pure state machine: an event and the time go in, the next state and commands come out.

No sockets, threads, files or clock. Everything that can arrive twice, late or never is decided here.

    Waiting ──(key, clients, holders)──> Committing ──(all, or deadline)──> Closing ──(t have signed)──> Uploading
       ^ ^                                    │                                │                            │
       │ └──────(abandoned: too few, or too many holders decline) <────────────┴────────────────────────────┤
       │                                                                                                    v
       └──(next round)── Endorsing <──(t shares fit)── Releasing <──(all, enough, or deadline with the minimum)

    Failed <── (waited too long, too many attempts, or a sum that no honest cohort has)     Finished <── (last round)

After a restart the state is built from the store (resuming.py) and every wait begins anew, so a wrong wall clock
changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from server.rounds import agreement, cohort, waiting
from server.rounds.agreement import in_closing, in_endorsing, in_releasing
from server.rounds.cohort import in_committing, in_uploading
from server.rounds.waiting import in_waiting
from server.rules import RoundRules
from server.states import (
    Attempted,
    ClientJoined,
    ClientLeft,
    Closing,
    Committing,
    Endorsing,
    Event,
    Failed,
    Finished,
    HolderCame,
    HolderLeft,
    HolderStarts,
    OfAttempt,
    Releasing,
    RunState,
    Step,
    Tick,
    Uploading,
    Waiting,
)

KEY_SECONDS = 0.5
"""How often key holders are asked again while they have no key in common: one may be being dealt."""

LONGEST_PAUSE_SECONDS = 10.0


def advance(run: RunState, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the next state and its commands.

    An event that does not fit the phase (late, repeated, of another attempt) changes nothing.
    """
    run = _with_connections(run, event, now)
    if not _of_this_attempt(run, event):
        event = Tick()
    match run.phase:
        case Waiting():
            return in_waiting(run, run.phase, event, now, rules)
        case Committing():
            return in_committing(run, run.phase, event, now, rules)
        case Closing():
            return in_closing(run, run.phase, event, now, rules)
        case Uploading():
            return in_uploading(run, run.phase, event, now, rules)
        case Releasing():
            return in_releasing(run, run.phase, event, now, rules)
        case Endorsing():
            return in_endorsing(run, run.phase, event, now, rules)
        case Finished() | Failed():
            return run, ()


def next_wakeup(run: RunState, rules: RoundRules) -> float | None:
    """Return when a Tick is due if nothing happens before; None if time alone changes nothing."""
    match run.phase:
        case Waiting():
            return waiting.due(run, run.phase, rules)
        case Committing() | Uploading():
            return cohort.due(run, run.phase, rules)
        case Closing() | Releasing() | Endorsing():
            return agreement.due(run, run.phase, rules)
        case _:
            return None


def longest_pause(run: RunState) -> float:
    """Return the seconds after which a Tick is due in any case."""
    waits_for_key = isinstance(run.phase, Waiting) and not run.phase.key_ready and bool(run.holders)
    return KEY_SECONDS if waits_for_key else LONGEST_PAUSE_SECONDS


def _with_connections(run: RunState, event: Event, now: float) -> RunState:
    match event:
        case ClientJoined(client):
            return replace(run, present=run.present | {client}, last_arrival=now)
        case ClientLeft(client):
            return replace(run, present=run.present - {client}, last_departure=now)
        case HolderStarts(holder):
            return replace(run, starting=run.starting | {holder})
        case HolderCame(holder, least_difference):
            demands = {**run.demands, holder: least_difference}
            return replace(run, holders=run.holders | {holder}, starting=run.starting - {holder}, demands=demands)
        case HolderLeft(holder):
            return replace(run, holders=run.holders - {holder}, starting=run.starting - {holder})
    return run


def _of_this_attempt(run: RunState, event: Event) -> bool:
    """Return False for an event about another attempt than the current one."""
    if not isinstance(run.phase, Attempted) or not isinstance(event, OfAttempt):
        return True
    return (event.round, event.attempt) == (run.phase.round, run.phase.attempt)
