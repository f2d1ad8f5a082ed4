"""States of a run to begin a test from, and one row of the table of transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server import rounds
from server import states as s
from server.rules import RoundRules

RULES = RoundRules(
    holders=3,
    threshold=2,
    rounds=2,
    min_cohort=2,
    max_cohort=4,
    target=3,
    gather_seconds=5,
    round_seconds=60,
    upload_seconds=30,
    answer_seconds=20,
    patience_seconds=100,
    max_attempts=2,
)
CHOSEN = replace(RULES, cohort=2, over_selection=2.0)
"""Two updates are wanted, of four clients chosen at random."""


def names(letters: str) -> frozenset[str]:
    return frozenset(letters)


ALL, HOLDERS = names("abc"), frozenset({"h1", "h2", "h3"})
NOTHING: tuple[s.Command, ...] = ()


def run(phase: s.Phase, present: str = "abc", holders: str = "123", **more: Any) -> s.RunState:
    return s.RunState(phase, names(present), frozenset(f"h{n}" for n in holders), **more)


def waiting(present: str = "", holders: str = "12", *, key: bool = True, **more: Any) -> s.RunState:
    return run(s.Waiting(1, 1, 0.0, key), present, holders, **more)


def committing(committed: str = "", expected: str = "abc", attempt: int = 1, present: str = "abc") -> s.RunState:
    return run(s.Committing(1, attempt, 60.0, names(expected), names(committed)), present)


def closing(signed: str = "", declined: str = "", here: str = "123") -> s.RunState:
    return run(s.Closing(1, 1, 0.0, ALL, s.Quorum(holders(here), holders(signed), holders(declined))), holders=here)


def uploading(received: str = "", listed: str = "abc") -> s.RunState:
    return run(s.Uploading(1, 1, 30.0, names(listed), names(received)))


def releasing(asked: str = "23", declined: str = "", here: str = "123", signed: str = "") -> s.RunState:
    quorum = s.Quorum(holders(asked), declined=holders(declined))
    return run(s.Releasing(1, 1, 0.0, 3, quorum, signed=holders(signed)), holders=here)


def endorsing(
    asked: str = "23", endorsed: str = "", declined: str = "", here: str = "123", number: int = 1
) -> s.RunState:
    return run(
        s.Endorsing(number, 1, 0.0, s.Quorum(holders(asked), holders(endorsed), holders(declined))),
        holders=here,
        begun=True,
    )


def holders(numbers: str) -> frozenset[str]:
    return frozenset(f"h{n}" for n in numbers)


def ask_key(numbers: str, round_number: int = 1, attempt: int = 1) -> s.RequestKey:
    return s.RequestKey(round_number, attempt, holders(numbers))


OPEN = s.OpenRound(1, 1, ALL)
CLOSE = s.RequestList(1, 1, HOLDERS)
FIX = s.RequestRelease(1, 1, holders("23"))  # in round 1, the turn begins with the second
AGAIN = ask_key("123", attempt=2)


def abandoned(sentence: str) -> tuple[s.Command, ...]:
    return (s.AbandonAttempt(1, 1, sentence), AGAIN)


def failed(sentence: str) -> tuple[s.Command, ...]:
    return (s.EndRun(False, sentence),)


Row = tuple[str, s.RunState, s.Event, float, type, tuple[s.Command, ...]]
"""What is shown, the state before, the event, the time, the phase after, and the commands."""


def transitions(rows: list[Row]) -> pytest.MarkDecorator:
    """Run a test once for each row."""
    names = [f"{type(row[1].phase).__name__.lower()}: {row[0]}" for row in rows]
    return pytest.mark.parametrize("row", rows, ids=names)


def require_transition(row: Row) -> None:
    """The event leads to the phase and the commands of the row; one about another attempt leaves the very same phase."""
    _, before, event, now, after, commands = row
    state, given = rounds.advance(before, event, now, RULES)
    assert given == commands
    assert type(state.phase) is after
    about_this = (getattr(event, "round", 1), getattr(event, "attempt", 1)) == (1, 1)
    if isinstance(event, s.OfAttempt) and not about_this and not commands:
        assert state.phase == before.phase
