"""Where a run begins, and where it goes on: its first model, its state and the open attempt, as the store has them."""

from __future__ import annotations

import secrets
from dataclasses import replace

import structlog

from core.difference import WINDOW
from core.errors import SettingsError
from core.federated import initial_model
from core.server_rules import ServerModel
from core.tasks.task import Task
from server import states
from server.attempt import Attempt, names_of
from server.records import StoredAttempt
from server.rounds import resuming
from server.rules import RoundRules
from server.settings import RunSettings, Start
from server.signatures import Signatures
from server.store import Store

log = structlog.get_logger()
INTERRUPTED = "the simulation was interrupted"
"""Why an attempt was given up, where that says nothing of the clients: it does not count, and the draw is repeated."""


def begin(store: Store, settings: RunSettings, task: Task, start: Start = Start.CONTINUE) -> str:
    """Store a new run, and return its name.

    A model serves one round only, so a new run continues from the last model of an earlier run of the same task, if the
    store has one. The task's initial model is for the first run, and for those that ask for it.
    """
    run = secrets.token_hex(8)
    origin = store.last_model_of(settings.task) if start is Start.CONTINUE else None
    if origin is None:
        model = initial_model(task, settings.seed)
    else:
        _, model = store.model(origin.run, origin.round)
        if len(model) != (values := len(initial_model(task, settings.seed))):
            raise SettingsError(
                f"the model of {origin} has {len(model)} weights, and the task {task.name} now has {values}; give "
                "--start fresh, or another --state"
            )
    vector = ServerModel.start(settings.server_rule, model).vector  # what the rule remembers ends with a run
    store.begin_run(run, settings.to_json(), vector, origin)
    return run


def recover(store: Store, run: str, now: float, rules: RoundRules) -> tuple[states.Step, Attempt | None]:
    """Return the step to go on with, and the attempt that was open when the process ended, if one was."""
    (state, commands), attempt = _where_it_was(store, run, now, rules)
    phase = state.phase
    interrupted = store.abandoned(run, phase.round, INTERRUPTED) if isinstance(phase, states.Attempted) else 0
    state = replace(state, opened=store.latest_cohorts(WINDOW), interrupted=interrupted)
    return (state, commands), attempt


def _where_it_was(store: Store, run: str, now: float, rules: RoundRules) -> tuple[states.Step, Attempt | None]:
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
    attempt.list_signatures = Signatures(last.list_signatures)
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
