"""Waiting for a round to open: a key, enough clients, enough key holders; and how an attempt ends up here again."""

from __future__ import annotations

import random
from dataclasses import replace

from core.wording import counted, listing
from server.rounds.leaving_out import allowed_cohort, least_difference
from server.rules import RoundRules
from server.states import (
    AbandonAttempt,
    Attempted,
    Command,
    Committing,
    EndRun,
    Event,
    Failed,
    HolderCame,
    HolderLeft,
    KeyChosen,
    OpenRound,
    RequestKey,
    RunState,
    Step,
    Tick,
    Waiting,
)


def in_waiting(run: RunState, phase: Waiting, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while no round is open."""
    phase, commands = _with_key(run, phase, event, rules)
    run = replace(run, phase=phase)
    if _may_open(run, phase, now, rules):
        attempt = phase.attempt - run.interrupted  # the same clients as if nothing had been interrupted
        expected = select(run.present, phase.round, attempt, rules.selected, rules.selection_secret)
        opened = Committing(phase.round, phase.attempt, now + rules.round_seconds, expected)
        run = replace(run, phase=opened, begun=True, resumed=False)
        return run, (*commands, OpenRound(phase.round, phase.attempt, expected))
    if now >= phase.since + rules.patience_seconds:
        return fail(run, _missing(run, phase, rules))
    return run, commands


def _with_key(run: RunState, phase: Waiting, event: Event, rules: RoundRules) -> tuple[Waiting, tuple[Command, ...]]:
    """Note whether a key is ready, and ask for one while none is."""
    match event:
        case KeyChosen():
            return replace(phase, key_ready=True), ()
        case HolderLeft() if len(run.holders) < rules.threshold:
            return replace(phase, key_ready=False), ()
        case HolderCame(holder) if not phase.key_ready:
            return phase, (RequestKey(phase.round, phase.attempt, frozenset({holder})),)
        case Tick() if not phase.key_ready and run.holders:
            return phase, (RequestKey(phase.round, phase.attempt, run.holders),)
    return phase, ()


def select(present: frozenset[str], round_number: int, attempt: int, most: int, secret: str = "") -> frozenset[str]:
    """Return the clients of one attempt: all of them, or `most` drawn at random.

    Without a secret the draw can be repeated from the names alone; it spreads the work and protects no client. With one
    it hides the contributors from parties that see models only. The aggregator always decides which clients take part.
    """
    names = sorted(present)
    if len(names) <= most:
        return frozenset(names)
    return frozenset(names[place] for place in draw_places(len(names), round_number, attempt, most, secret))


def draw_places(clients: int, round_number: int, attempt: int, most: int, secret: str = "") -> list[int]:
    """Draw `most` of the places 0 ... clients - 1, as `select` draws names."""
    # Python seeds with the SHA-512 of such a text.
    return random.Random(f"{secret}{round_number}.{attempt}").sample(range(clients), most)  # noqa: S311


def due(run: RunState, phase: Waiting, rules: RoundRules) -> float:
    """Return the time at which waiting ends if nothing happens before."""
    patience_over = phase.since + rules.patience_seconds
    if _opens_when_quiet(run, rules) and _could_open(run, phase, rules):
        return min(run.last_arrival + rules.gather_seconds, patience_over)
    return patience_over


def _may_open(run: RunState, phase: Waiting, now: float, rules: RoundRules) -> bool:
    if not _could_open(run, phase, rules):
        return False
    if run.begun and not run.resumed:
        return True
    full = rules.target is not None and len(run.present) >= rules.target
    quiet = _opens_when_quiet(run, rules) and now >= run.last_arrival + rules.gather_seconds
    return full or quiet or now >= phase.since + rules.patience_seconds


def _opens_when_quiet(run: RunState, rules: RoundRules) -> bool:
    # After a restart the round does not wait for all clients: one of them may be gone for good. But those about to
    # reconnect get time to do so, or the difference rule would find its sum too similar to the last.
    return rules.target is None or run.resumed


def _could_open(run: RunState, phase: Waiting, rules: RoundRules) -> bool:
    return (
        phase.key_ready
        and len(run.present) >= rules.least
        and len(run.holders) >= rules.threshold
        and allowed_cohort(run, run.present, rules) is not None
    )


def _missing(run: RunState, phase: Waiting, rules: RoundRules) -> str:
    seconds = f"{rules.patience_seconds:g} seconds"
    if len(run.holders) < rules.threshold:
        here = counted(len(run.holders), "key holder serves", "key holders serve")
        return f"{here} after {seconds}, {rules.threshold} are needed{starting(run)}"
    if not phase.key_ready:
        return (
            f"the key holders had no unused round key of the right kind in common within {seconds}; "
            f"{rules.deal} makes some"
        )
    here = counted(len(run.present), "client is", "clients are")
    if len(run.present) < rules.least:
        return f"{here} here after {seconds}, {rules.least} are needed"
    return (
        f"{here} here after {seconds}, and no {rules.least} or more of them differ from the contributors of every "
        f"earlier sum by {least_difference(run, rules)} or more, as the key holders' difference rule demands"
    )


def starting(run: RunState) -> str:
    """Say which key holders are connected and do not serve yet; empty if none."""
    if not run.starting:
        return ""
    wait = (
        "waits for others to vouch for its ledger"
        if len(run.starting) == 1
        else "wait for others to vouch for their ledgers"
    )
    return f"; {listing(sorted(run.starting))} {wait}"


# ------------------------------------------------------------------------------------------------ back to waiting


def wait(run: RunState, round_number: int, attempt: int, now: float) -> Step:
    """Wait for the next attempt, and ask for its key."""
    same_round = isinstance(run.phase, Attempted) and run.phase.round == round_number
    interrupted = run.interrupted if same_round else 0
    run = replace(run, phase=Waiting(round_number, attempt, since=now), interrupted=interrupted)
    return run, (RequestKey(round_number, attempt, run.holders),)


def abandon(run: RunState, phase: Attempted, message: str, now: float, rules: RoundRules) -> Step:
    """Give the attempt up and wait for the next one; fail if it was the last allowed."""
    abandoned = AbandonAttempt(phase.round, phase.attempt, message)
    attempts = phase.attempt - run.interrupted
    if attempts >= rules.max_attempts:
        times = counted(attempts, "time")
        run, commands = fail(run, f"round {phase.round} was abandoned {times}, the last time because {message}")
        return run, (abandoned, *commands)
    run, commands = wait(run, phase.round, phase.attempt + 1, now)
    return run, (abandoned, *commands)


def fail(run: RunState, message: str) -> Step:
    """End the run without a model."""
    return replace(run, phase=Failed(message)), (EndRun(False, message),)
