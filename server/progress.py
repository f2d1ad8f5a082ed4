"""The progress reported to observers: the state of the run, in numbers and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from core.protocol import RoundResult
from core.wire import federation_pb2 as pb
from core.wire.messages import result_to_wire
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


def waiting_for(run: RunState, rules: RoundRules) -> str:
    """Say in one sentence what the run waits for."""
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
        case Closing(quorum=quorum):
            return f"waiting for key holders to sign the list: {len(quorum.answered)} of {rules.threshold}"
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


def progress(state: RunState, rules: RoundRules, results: Sequence[RoundResult]) -> pb.Progress:
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
        sentence=waiting_for(state, rules),
    )


def _counts(phase: Phase) -> tuple[int, int]:
    match phase:
        case Committing(expected=expected, committed=committed):
            return len(committed), len(expected)
        case Uploading(listed=listed, received=received):
            return len(received), len(listed)
    return 0, 0
