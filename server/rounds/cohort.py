"""The phases that wait for clients: to commit to their updates, and to upload those on the signed list."""

from __future__ import annotations

from dataclasses import replace

from core.wording import counted
from server.rounds.agreement import close_list, fix_contributors
from server.rounds.waiting import abandon
from server.rules import RoundRules
from server.states import (
    ClientJoined,
    ClientLeft,
    CommitmentStored,
    Committing,
    Event,
    HolderCame,
    InviteClient,
    RunState,
    Step,
    SubmissionRefused,
    SubmissionStored,
    Uploading,
)

RETURN_SECONDS = 15.0
"""How long clients whose connection was lost are waited for, if only these are missing and enough are here."""


def due(run: RunState, phase: Committing | Uploading, rules: RoundRules) -> float:
    """Return when the phase ends if nothing happens before: at its deadline, or when the missing will not return.

    Just after a restart no client has reconnected yet, so its absence says nothing.
    """
    expected, here = _counted(phase)
    all_gone = not (expected - here) & run.present
    if run.resumed or not all_gone or len(here) < rules.least:
        return phase.deadline
    return min(phase.deadline, run.last_departure + RETURN_SECONDS)


def _counted(phase: Committing | Uploading) -> tuple[frozenset[str], frozenset[str]]:
    if isinstance(phase, Committing):
        return phase.expected, phase.committed
    return phase.listed, phase.received


# ------------------------------------------------------------------------------------------------ Committing


def in_committing(run: RunState, phase: Committing, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while clients train and commit."""
    match event:
        case CommitmentStored(client=client):
            phase = replace(phase, committed=phase.committed | {client})
            return close_if_complete(replace(run, phase=phase), phase, now, rules)
        case ClientLeft():
            return close_if_complete(run, phase, now, rules)
        case ClientJoined(client) if client in phase.expected or _room_for_more(phase, rules):
            widened = replace(phase, expected=phase.expected | {client})
            return replace(run, phase=widened), (InviteClient(phase.round, phase.attempt, client),)
    if now < due(run, phase, rules):
        return run, ()
    if len(phase.committed) >= rules.least:
        return close_list(run, phase.round, phase.attempt, phase.committed, now)
    ready = counted(len(phase.committed), "update was", "updates were")
    message = f"{ready} ready before the deadline, {rules.least} are needed"
    return abandon(run, phase, message, now, rules)


def _room_for_more(phase: Committing, rules: RoundRules) -> bool:
    """Late clients are taken in, unless clients are drawn at random."""
    return rules.cohort is None and len(phase.expected) < rules.max_cohort


def close_if_complete(run: RunState, phase: Committing, now: float, rules: RoundRules) -> Step:
    """Close the list if every expected client has committed, or enough have and the rest are gone."""
    if phase.expected and (phase.expected <= phase.committed or _enough_and_the_rest_gone(run, phase, rules)):
        return close_list(run, phase.round, phase.attempt, phase.committed, now)
    return run, ()


def _enough_and_the_rest_gone(run: RunState, phase: Committing, rules: RoundRules) -> bool:
    """With over-selection, clients that left before they committed are not waited for.

    Just after a restart no client has reconnected yet, so its absence says nothing.
    """
    if rules.cohort is None or run.resumed:
        return False
    here = phase.committed & run.present
    return len(here) >= rules.cohort and not (phase.expected - phase.committed) & run.present


# ------------------------------------------------------------------------------------------------ Uploading


def in_uploading(run: RunState, phase: Uploading, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while clients upload."""
    match event:
        case SubmissionStored(client=client):
            phase = replace(phase, received=phase.received | {client})
            return fix_if_complete(replace(run, phase=phase), phase, now, rules)
        case SubmissionRefused(client=client):
            return _without(run, phase, client, now, rules)
        case ClientJoined(client) if client in phase.listed - phase.received:
            return run, (InviteClient(phase.round, phase.attempt, client),)
        case HolderCame():
            return fix_if_complete(run, phase, now, rules)
    if now < due(run, phase, rules):
        return run, ()
    if len(phase.received) >= rules.least:
        return fix_contributors(run, phase, now, rules)
    message = f"{counted(len(phase.received), 'update')} came before the deadline, {rules.least} are needed"
    return abandon(run, phase, message, now, rules)


def _without(run: RunState, phase: Uploading, client: str, now: float, rules: RoundRules) -> Step:
    """Wait no longer for a client that lied; give the attempt up at once if too few others are left."""
    phase = replace(phase, listed=phase.listed - {client})
    if len(phase.listed) < rules.least:
        left = counted(len(phase.listed), "client is", "clients are")
        message = f"the update of {client} is false; {left} left, {rules.least} are needed"
        return abandon(run, phase, message, now, rules)
    return fix_if_complete(replace(run, phase=phase), phase, now, rules)


def fix_if_complete(run: RunState, phase: Uploading, now: float, rules: RoundRules) -> Step:
    """Fix the contributors if every listed client has uploaded, or as many as are wanted.

    Just after a restart no key holder has reconnected yet, and which sums they open is not known.
    """
    if run.resumed and len(run.demands) < rules.threshold:
        return run, ()
    enough = rules.cohort is not None and len(phase.received) >= rules.cohort
    if phase.listed <= phase.received or enough:
        return fix_contributors(run, phase, now, rules)
    return run, ()
