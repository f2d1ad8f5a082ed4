"""After a restart the next round waits for those who were there before, but not for long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server import rounds
from server.rounds import resuming
from server.rules import RoundRules
from server.states import ClientJoined, Committing, HolderCame, KeyChosen, ModelStored, RunState, Tick, Waiting

RULES = RoundRules(holders=3, threshold=2, rounds=3, min_cohort=2, target=3, gather_seconds=5.0, patience_seconds=100.0)


def after_restart(rules: RoundRules = RULES) -> RunState:
    """Taken up at 0 while round 1 was being endorsed, which is over at 1; two of three clients are back."""
    run, _ = resuming.resume_endorsing(1, 1, now=0.0)
    for event in (HolderCame("h1"), HolderCame("h2"), ClientJoined("a"), ClientJoined("b"), ModelStored(1, 1)):
        run, _ = rounds.advance(run, event, 1.0, rules)
    run, _ = rounds.advance(run, KeyChosen(2, 1), 1.0, rules)
    return run


@pytest.mark.parametrize("rules", [RULES, replace(RULES, target=None)])
def test_who_is_on_the_way_back_is_waited_for(rules: RoundRules) -> None:
    run = after_restart(rules)
    assert isinstance(run.phase, Waiting)
    assert rounds.next_wakeup(run, rules) == 6.0  # five seconds after the last one came
    run, _ = rounds.advance(run, Tick(), 5.9, rules)
    assert isinstance(run.phase, Waiting)
    run, _ = rounds.advance(run, Tick(), 6.0, rules)
    assert isinstance(run.phase, Committing)
    assert run.phase.expected == {"a", "b"}, "and not for longer, for one may have gone for good"


def test_when_all_are_back_it_begins_at_once() -> None:
    run, _ = rounds.advance(after_restart(), ClientJoined("c"), 1.5, RULES)
    assert isinstance(run.phase, Committing)
    assert run.phase.expected == {"a", "b", "c"}


def test_after_that_rounds_begin_with_the_clients_that_are_there() -> None:
    run, _ = rounds.advance(after_restart(), Tick(), 6.0, RULES)
    assert not run.resumed
    waiting = replace(run, phase=Waiting(3, 1, since=7.0, key_ready=True))
    run, _ = rounds.advance(waiting, Tick(), 7.0, RULES)
    assert isinstance(run.phase, Committing)


def test_a_restart_between_two_rounds_is_one_too_but_not_the_first_start() -> None:
    assert resuming.start(2, 1, now=0.0).resumed
    assert resuming.start(1, 2, now=0.0).resumed
    assert not resuming.start(1, 1, now=0.0).resumed
