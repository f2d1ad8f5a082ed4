"""The progress reported to observers: the state of the run, in numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from core.protocol import RoundResult
from core.wire import federation_pb2 as pb
from core.wire.messages import result_to_wire
from core.wording import listing
from server.rounds.waiting import starting
from server.rules import RoundRules
from server.states import (
    Closing,
    Committing,
    Endorsing,
    Failed,
    Finished,
    Phase,
    Releasing,
    RunState,
    Uploading,
    Waiting,
)

MOST_NAMES = 3
"""Missing clients that are named; more are counted."""
MOST_SOUGHT = 100
"""Missing clients among which names are looked for before the first round, at every arrival."""


def waiting_for(run: RunState, rules: RoundRules, members: Collection[str] = ()) -> str:
    """Say in one sentence what the run waits for.

    Args:
        members: all clients of the federation, by name; those that are missing are named where that is known.
    """
    match run.phase:
        case Waiting(key_ready=key_ready):
            if len(run.holders) < rules.threshold:
                here = f"{len(run.holders)} here, {rules.threshold} needed"
                return f"waiting for key holders: {here}{starting(run)}"
            if not key_ready:
                return f"waiting for a fresh key that enough key holders have a share of ({rules.deal} makes some)"
            if missing := _missing_members(run, rules, members):
                return _here(len(run.present), missing)
            wanted = rules.target or f"at least {rules.least}"
            return f"waiting for clients: {len(run.present)} here, {wanted} wanted"
        case Committing(expected=expected, committed=committed) if _worth_naming(run, rules, expected, committed):
            return _here(len(committed), expected - committed, gone=expected - committed - run.present)
        case Committing(expected=expected, committed=committed):
            return f"waiting for updates: {len(committed)} of {len(expected)} ready"
        case Closing(quorum=quorum):
            return f"waiting for key holders to sign the list: {len(quorum.answered)} of {rules.threshold}"
        case Uploading(listed=listed, received=received) if _worth_naming(run, rules, listed, received):
            return _here(len(received), listed - received, gone=listed - received - run.present)
        case Uploading(listed=listed, received=received):
            return f"waiting for updates: {len(received)} of {len(listed)} here"
        case Releasing():
            return f"waiting for {rules.threshold} key holders to open the sum"
        case Endorsing(quorum=quorum):
            return f"waiting for key holders to check the new model: {len(quorum.answered)} of {rules.threshold}"
        case Finished():
            return rules.ending
        case Failed(message=message):
            return message


def _missing_members(run: RunState, rules: RoundRules, members: Collection[str]) -> frozenset[str]:
    """Return who is missing before the first round, where the whole federation is waited for."""
    if rules.target is None or len(members) != rules.target:
        return frozenset()
    few = rules.target - len(run.present) <= min(len(run.present), MOST_SOUGHT)
    return frozenset(members) - run.present if few else frozenset()


def _worth_naming(run: RunState, rules: RoundRules, expected: frozenset[str], here: frozenset[str]) -> bool:
    """Return whether to name who is missing: if it is not most of them, or if a connection was lost.

    Not where clients are drawn in secret: it would say who was.
    """
    missing = expected - here
    return not rules.drawn_in_secret and (0 < len(missing) <= len(here) or bool(missing - run.present))


def _here(count: int, missing: frozenset[str], gone: frozenset[str] = frozenset()) -> str:
    """Name the missing, and first those of them whose connection is gone."""
    names = [*(f"{name} (not connected)" for name in sorted(gone)), *sorted(missing - gone)]
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f"{count} of {count + len(missing)} here, waiting for {listing([*names[:MOST_NAMES], *more])}"


def progress(
    state: RunState, rules: RoundRules, results: Sequence[RoundResult], members: Collection[str] = ()
) -> pb.Progress:
    """Build the message for observers: the state of the run, and results they have not seen yet."""
    phase = state.phase
    received, expected = _counts(phase)
    return pb.Progress(
        phase=type(phase).__name__.lower(),
        round=getattr(phase, "round", rules.rounds),
        rounds=rules.rounds,
        attempt=getattr(phase, "attempt", 0),
        present=len(state.present),
        holders=len(state.holders),
        received=received,
        expected=expected,
        results=[result_to_wire(result) for result in results],
        sentence=waiting_for(state, rules, members),
    )


def _counts(phase: Phase) -> tuple[int, int]:
    match phase:
        case Committing(expected=expected, committed=committed):
            return len(committed), len(expected)
        case Uploading(listed=listed, received=received):
            return len(received), len(listed)
    return 0, 0
