"""Where a run goes on: the state and the open attempt, as the store has them."""

from __future__ import annotations

import structlog

from server import states
from server.attempt import Attempt, names_of
from server.records import StoredAttempt
from server.rounds import resuming
from server.rules import RoundRules
from server.store import Store

log = structlog.get_logger()


def recover(store: Store, run: str, now: float, rules: RoundRules) -> tuple[states.Step, Attempt | None]:
    """Return the step to go on with, and the attempt that was open when the process ended, if one was."""
    last = store.last_attempt(run)
    if last is None:
        return (resuming.start(1, 1, now), ()), None
    if last.state == "completed" and last.id.round == rules.rounds:
        return (states.RunState(states.Finished()), (states.EndRun(True, rules.ending),)), None
    if last.state == "completed":
        return (resuming.start(last.id.round + 1, 1, now), ()), None
    if last.state == "abandoned":
        return (resuming.start(last.id.round, last.id.attempt + 1, now), ()), None
    attempt = Attempt(last.description, store)
    attempt.list_signatures = {each.holder: each.signature for each in last.list_signatures}
    if last.opened is not None:
        attempt.restore_opened(last.opened)
    return _resumed(last, attempt, now, rules), attempt


def _resumed(last: StoredAttempt, attempt: Attempt, now: float, rules: RoundRules) -> states.Step:
    number = (last.id.round, last.id.attempt)
    committed, received = names_of(attempt.listed()), frozenset(attempt.contributors())
    log.info("resumed", round=last.id.round, attempt=last.id.attempt, updates=len(received), state=last.state)
    match last.state:
        case "committing":
            return resuming.resume_committing(*number, last.expected, committed, now, rules)
        case "closing":
            return resuming.resume_closing(*number, committed, now)
        case "uploading":
            return resuming.resume_uploading(*number, committed, received, now, rules)
        case "releasing":
            return resuming.resume_releasing(*number, len(received), now)
    return resuming.resume_endorsing(*number, now)
