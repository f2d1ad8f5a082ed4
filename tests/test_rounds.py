"""The rules of a run: one table of transitions, and the stories that people would tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import SettingsError
from server import rounds as r

RULES = r.RoundRules(
    rounds=2,
    min_cohort=2,
    max_cohort=4,
    target=3,
    gather_seconds=5,
    round_seconds=60,
    patience_seconds=100,
    max_attempts=2,
)
ALL = frozenset({"a", "b", "c"})
WAITING = r.Run(r.Waiting(1, 1, since=0.0), holder_present=True)
COLLECTING = r.Run(r.Collecting(1, 1, 60.0, ALL), present=ALL, holder_present=True)
RELEASING = r.Run(r.Releasing(1, 1, since=0.0, contributors=3), present=ALL, holder_present=True)
FINISHED, FAILED = r.Run(r.Finished()), r.Run(r.Failed("over"))


def collecting(*received: str, **changes: object) -> r.Run:
    phase = r.Collecting(
        **{"round": 1, "attempt": 1, "deadline": 60.0, "expected": ALL, **changes}, received=frozenset(received)
    )
    return r.Run(phase, present=ALL, holder_present=True)


def waiting(*present: str, key: bool, last_arrival: float = 0.0, attempt: int = 1) -> r.Run:
    return r.Run(r.Waiting(1, attempt, 0.0, key), frozenset(present), True, last_arrival)


NOTHING: tuple[r.Command, ...] = ()
OPEN = r.OpenRound(1, 1, ALL)
KEY2 = r.RequestKey(1, 2)

TABLE = [
    # what is told                            before                      event                          time  after            commands
    ("key alone opens nothing",               WAITING,                    r.KeyOffered(1, 1),            1.0,  r.Waiting,       NOTHING),
    ("clients alone open nothing",            waiting("a", "b", key=False), r.ClientJoined("c"),         1.0,  r.Waiting,       NOTHING),
    ("the last client opens",                 waiting("a", "b", key=True), r.ClientJoined("c"),          1.0,  r.Collecting,    (OPEN,)),
    ("the key opens when all are here",       waiting("a", "b", "c", key=False), r.KeyOffered(1, 1),     1.0,  r.Collecting,    (OPEN,)),
    ("another attempt's key opens nothing",   waiting("a", "b", "c", key=False), r.KeyOffered(1, 2),     1.0,  r.Waiting,       NOTHING),
    ("fewer than the target do not begin",   waiting("a", key=True),     r.ClientJoined("b"),           1.0,  r.Waiting,       NOTHING),
    ("not even when nobody else comes",        waiting("a", "b", key=True, last_arrival=1.0), r.Tick(),    6.0,  r.Waiting,       NOTHING),
    ("until patience is over",                waiting("a", "b", key=True, last_arrival=1.0), r.Tick(), 100.0,  r.Collecting,    (r.OpenRound(1, 1, frozenset("ab")),)),
    ("fewer than the minimum never begin",    waiting("a", key=True),     r.Tick(),                      99.0, r.Waiting,       NOTHING),
    ("a client that leaves is not waited for", waiting("a", "b", key=True, last_arrival=1.0), r.ClientLeft("b"), 50.0, r.Waiting, NOTHING),
    ("a returning holder is asked again",     waiting("a", key=True),     r.HolderCame(),                1.0,  r.Waiting,       (r.RequestKey(1, 1),)),
    ("a holder that leaves takes its key along", waiting("a", key=True),  r.HolderLeft(),                1.0,  r.Waiting,       NOTHING),
    ("endless comings and goings do not hold up the others", waiting("a", "b", key=True, last_arrival=99.0), r.ClientJoined("c"), 100.0, r.Collecting, (OPEN,)),
    ("patience ends without clients",         waiting("a", key=True),     r.Tick(),                      100.0, r.Failed,       (r.EndRun(False, "1 clients are here after 100 seconds, 2 are needed"),)),
    ("patience ends without a key",           waiting("a", "b", key=False), r.Tick(),                    100.0, r.Failed,       (r.EndRun(False, "the key holder offered no key within 100 seconds"),)),
    ("patience ends without a holder",        r.Run(r.Waiting(1, 1, 0.0)), r.Tick(),                     100.0, r.Failed,       (r.EndRun(False, "no key holder came within 100 seconds"),)),
    ("an early update changes nothing",       WAITING,                    r.SubmissionStored(1, 1, "a"), 1.0,  r.Waiting,       NOTHING),
    ("a first update waits for the others",   COLLECTING,                 r.SubmissionStored(1, 1, "a"), 1.0,  r.Collecting,    NOTHING),
    ("a repeated update changes nothing",     collecting("a"),            r.SubmissionStored(1, 1, "a"), 1.0,  r.Collecting,    NOTHING),
    ("the last update closes",                collecting("a", "b"),       r.SubmissionStored(1, 1, "c"), 1.0,  r.Releasing,     (r.RequestRelease(1, 1),)),
    ("another attempt's update counts not",   collecting("a", "b"),       r.SubmissionStored(1, 2, "c"), 1.0,  r.Collecting,    NOTHING),
    ("a client that dies is waited for",      collecting("a", "b"),       r.ClientLeft("c"),             59.0, r.Collecting,    NOTHING),
    ("until the deadline",                    collecting("a", "b"),       r.Tick(),                      60.0, r.Releasing,     (r.RequestRelease(1, 1),)),
    ("too few at the deadline: abandoned",    collecting("a"),            r.Tick(),                      60.0, r.Waiting,       (r.AbandonAttempt(1, 1, "1 updates came before the deadline, 2 are needed"), KEY2)),
    ("a late client is invited",              COLLECTING,                 r.ClientJoined("d"),           1.0,  r.Collecting,    (r.InviteClient(1, 1, "d"),)),
    ("a returning client is invited again",   COLLECTING,                 r.ClientJoined("a"),           1.0,  r.Collecting,    (r.InviteClient(1, 1, "a"),)),
    ("one more than the slots can hold is not", collecting(expected=frozenset("abcd")), r.ClientJoined("e"), 1.0, r.Collecting, NOTHING),
    ("a returning holder is asked for its key", COLLECTING,               r.HolderCame(),                1.0,  r.Collecting,    (r.RequestKey(1, 1),)),
    ("it still has the key",                  COLLECTING,                 r.KeyOffered(1, 1),            1.0,  r.Collecting,    NOTHING),
    ("it has lost the key: abandoned",        COLLECTING,                 r.KeyOffered(1, 1, known=False), 1.0, r.Waiting,      (r.AbandonAttempt(1, 1, "the key holder came back without the round's key"), KEY2)),
    ("the sum is opened: the next round",     RELEASING,                  r.SumOpened(1, 1),             1.0,  r.Waiting,       (r.RequestKey(2, 1),)),
    ("another attempt's sum is not ours",     RELEASING,                  r.SumOpened(1, 2),             1.0,  r.Releasing,     NOTHING),
    ("opening is declined: abandoned",        RELEASING,                  r.ReleaseDeclined(1, 1, "no"), 1.0,  r.Waiting,       (r.AbandonAttempt(1, 1, "no"), KEY2)),
    ("a returning holder is asked to open",   RELEASING,                  r.HolderCame(),                1.0,  r.Releasing,     (r.RequestRelease(1, 1),)),
    ("a late update changes nothing",         RELEASING,                  r.SubmissionStored(1, 1, "c"), 1.0,  r.Releasing,     NOTHING),
    ("a client that comes waits its turn",    RELEASING,                  r.ClientJoined("d"),           1.0,  r.Releasing,     NOTHING),
    ("patience ends without an opening",      RELEASING,                  r.Tick(),                      100.0, r.Failed,       (r.EndRun(False, "the key holder did not open the sum within 100 seconds"),)),
    ("after the end nothing happens",         FINISHED,                   r.ClientJoined("a"),           1.0,  r.Finished,      NOTHING),
    ("after a failure nothing happens",       FAILED,                     r.SumOpened(1, 1),             1.0,  r.Failed,        NOTHING),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "event", "now", "after", "commands"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_transition(before: r.Run, event: r.Event, now: float, after: type, commands: tuple[r.Command, ...]) -> None:
    run, given = r.advance(before, event, now, RULES)
    assert type(run.phase) is after
    assert given == commands


def test_every_phase_meets_every_event_without_an_error() -> None:
    events = [
        r.ClientJoined("x"), r.ClientLeft("a"), r.HolderCame(), r.HolderLeft(), r.KeyOffered(1, 1), r.KeyOffered(9, 9, False),
        r.SubmissionStored(1, 1, "a"), r.SumOpened(1, 1), r.ReleaseDeclined(1, 1, "no"), r.Tick(),
    ]  # fmt: skip
    for run in (WAITING, COLLECTING, RELEASING, FINISHED, FAILED):
        for event in events:
            for now in (0.0, 1e9):
                r.advance(run, event, now, RULES)
                r.next_wakeup(run, RULES)
                assert r.waiting_for(run, RULES)


def test_a_whole_run_of_two_rounds() -> None:
    run, commands = r.start(1, 1, now=0.0)
    assert commands == (r.RequestKey(1, 1),)
    events: list[r.Event] = [r.HolderCame(), r.KeyOffered(1, 1), *(r.ClientJoined(c) for c in "abc")]
    for number in (1, 2):
        events += [r.SubmissionStored(number, 1, c) for c in "abc"]
        events += [r.SumOpened(number, 1), r.KeyOffered(2, 1)]
    told: list[r.Command] = []
    for event in events:
        run, commands = r.advance(run, event, 10.0, RULES)
        told += commands
    assert [type(command).__name__ for command in told] == [
        "RequestKey", "OpenRound", "RequestRelease", "RequestKey", "OpenRound", "RequestRelease", "EndRun",
    ]  # fmt: skip
    assert run.phase == r.Finished()


def test_without_a_target_the_first_round_begins_when_nobody_else_comes() -> None:
    rules = r.RoundRules(min_cohort=2, gather_seconds=5, patience_seconds=100)
    run = waiting("a", "b", key=True, last_arrival=1.0)
    assert r.next_wakeup(run, rules) == 6.0
    assert r.advance(run, r.Tick(), 5.9, rules) == (run, ())
    _, commands = r.advance(run, r.Tick(), 6.0, rules)
    assert commands == (r.OpenRound(1, 1, frozenset("ab")),)


def test_later_rounds_begin_with_whoever_is_there() -> None:
    run, _ = r.advance(replace(waiting("a", "b", key=False), begun=True), r.KeyOffered(1, 1), 1.0, RULES)
    assert isinstance(run.phase, r.Collecting)


def test_no_round_is_opened_while_the_holder_is_away() -> None:
    run, _ = r.advance(waiting("a", key=True), r.HolderLeft(), 1.0, RULES)
    for event in (r.ClientJoined("b"), r.ClientJoined("c"), r.Tick()):
        run, commands = r.advance(run, event, 50.0, RULES)
        assert commands == ()


def test_the_last_allowed_attempt_fails_the_run() -> None:
    run, commands = r.advance(collecting("a", attempt=2), r.Tick(), 60.0, RULES)
    assert isinstance(run.phase, r.Failed)
    assert commands[0] == r.AbandonAttempt(1, 2, "1 updates came before the deadline, 2 are needed")
    assert "abandoned 2 times" in run.phase.sentence


def test_more_clients_than_the_slots_can_hold_are_left_out_of_a_round() -> None:
    _run, commands = r.advance(waiting(*"abcde", key=False), r.KeyOffered(1, 1), 10.0, RULES)
    assert commands == (r.OpenRound(1, 1, frozenset("abcd")),)


def test_a_restart_forgets_no_update_and_gives_the_full_time_again() -> None:
    run, commands = r.resume_collecting(1, 1, ALL, frozenset("ab"), now=1000.0, rules=RULES)
    assert run.phase == r.Collecting(1, 1, 1060.0, ALL, frozenset("ab"))
    assert commands == ()
    run, commands = r.advance(run, r.SubmissionStored(1, 1, "c"), 1001.0, RULES)
    assert commands == (r.RequestRelease(1, 1),)


def test_a_restart_after_the_last_update_goes_straight_on() -> None:
    run, commands = r.resume_collecting(1, 1, ALL, ALL, now=0.0, rules=RULES)
    assert isinstance(run.phase, r.Releasing)
    assert commands == (r.RequestRelease(1, 1),)


def test_a_restart_while_releasing_asks_again() -> None:
    _run, commands = r.resume_releasing(1, 1, 3, now=0.0)
    assert commands == (r.RequestRelease(1, 1),)


@pytest.mark.parametrize(
    ("run", "due"),
    [(waiting("a", "b", key=True, last_arrival=2.0), 100.0), (waiting("a", key=True, last_arrival=2.0), 100.0),
     (COLLECTING, 60.0), (RELEASING, 100.0), (FINISHED, None), (FAILED, None)],
)  # fmt: skip
def test_the_clock_is_asked_only_when_time_alone_decides(run: r.Run, due: float | None) -> None:
    assert r.next_wakeup(run, RULES) == due


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"min_cohort": 0},
        {"min_cohort": 5, "max_cohort": 4},
        {"target": 1},
        {"target": 65},
        {"round_seconds": 0},
    ],
)
def test_contradictory_rules_cannot_be_made(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        r.RoundRules(**wrong)
