"""The state in which a run begins or continues after a restart; waits start again, nothing received is lost."""

from __future__ import annotations

from server.rounds.cohort import close_if_complete, fix_if_complete
from server.rules import RoundRules
from server.states import Closing, Committing, Endorsing, Phase, Releasing, RunState, Step, Uploading, Waiting


def start(round_number: int, attempt: int, now: float) -> RunState:
    """Return the state before an attempt that was never opened; past the first of all it follows a restart."""
    waiting = Waiting(round_number, attempt, since=now)
    return RunState(waiting, last_arrival=now, resumed=(round_number, attempt) != (1, 1))


def resume_committing(
    round_number: int, attempt: int, expected: frozenset[str], committed: frozenset[str], now: float, rules: RoundRules
) -> Step:
    """Return the state after a restart while clients committed; they have the full time again."""
    phase = Committing(round_number, attempt, now + rules.round_seconds, expected, committed)
    return close_if_complete(_resumed(phase, now), phase, now, rules)


def resume_closing(round_number: int, attempt: int, listed: frozenset[str], now: float) -> Step:
    """Return the state after a restart while the list was signed; holders are asked again when they connect."""
    return _resumed(Closing(round_number, attempt, now, listed), now), ()


def resume_uploading(
    round_number: int, attempt: int, listed: frozenset[str], received: frozenset[str], now: float, rules: RoundRules
) -> Step:
    """Return the state after a restart while updates came in."""
    phase = Uploading(round_number, attempt, now + rules.upload_seconds, listed, received)
    return fix_if_complete(_resumed(phase, now), phase, now, rules)


def resume_releasing(round_number: int, attempt: int, contributors: int, now: float) -> Step:
    """Return the state after a restart while the sum was opened; holders that answered give the same answer again."""
    return _resumed(Releasing(round_number, attempt, now, contributors), now), ()


def resume_endorsing(round_number: int, attempt: int, now: float) -> Step:
    """Return the state after a restart while the next model was checked."""
    return _resumed(Endorsing(round_number, attempt, now), now), ()


def _resumed(phase: Phase, now: float) -> RunState:
    return RunState(phase, last_arrival=now, begun=True, resumed=True)
