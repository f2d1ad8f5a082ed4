"""Whole runs by the rules: honest rounds, restarts, time, and what is said meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from round_cases import (
    ALL,
    NOTHING,
    RULES,
    Row,
    closing,
    committing,
    endorsing,
    holders,
    names,
    releasing,
    require_transition,
    run,
    transitions,
    uploading,
    waiting,
)

from server import progress
from server import rounds as r
from server import states as s
from server.rounds import resuming
from server.rules import RoundRules

OVER = [
    ("after the end nothing happens",              run(s.Finished()),               s.ClientJoined("a"),             1.0, s.Finished,    NOTHING),
    ("nor does time pass",                         run(s.Finished()),               s.Tick(),                      1e9,   s.Finished,    NOTHING),
    ("after a failure nothing happens",            run(s.Failed("over")),           s.ModelStored(1, 1),             1.0, s.Failed,      NOTHING),
]  # fmt: skip


@transitions(OVER)
def test_transition(row: Row) -> None:
    require_transition(row)


HONEST_ROUND = (
    "RequestKey", "OpenRound", "RequestList", "AnnounceList", "RequestRelease", "RequestEndorsement", "CompleteRound",
)  # fmt: skip


def played(events: list[s.Event], rules: RoundRules = RULES, now: float = 10.0) -> tuple[s.RunState, list[s.Command]]:
    state, commanded = resuming.start(1, 1, now=0.0), []
    for event in events:
        state, commands = r.advance(state, event, now, rules)
        commanded += commands
    return state, commanded


def round_of(number: int) -> list[s.Event]:
    return [
        s.KeyChosen(number, 1),
        *(s.CommitmentStored(number, 1, c) for c in "abc"),
        *(s.ListSigned(number, 1, h) for h in ("h1", "h2", "h3")),
        *(s.SubmissionStored(number, 1, c) for c in "abc"),
        s.SumOpened(number, 1),
        *(s.ModelEndorsed(number, 1, h) for h in ("h1", "h2")),
        s.ModelStored(number, 1),
    ]


HERE: list[s.Event] = [s.HolderCame("h1"), s.HolderCame("h2"), *(s.ClientJoined(c) for c in "abc")]


def test_a_whole_run_of_two_rounds() -> None:
    state, commanded = played([*HERE, *round_of(1), *round_of(2)])
    kinds = [type(command).__name__ for command in commanded]
    assert kinds == ["RequestKey", *HONEST_ROUND, *HONEST_ROUND, "EndRun"]  # each holder is asked as it comes
    assert state.phase == s.Finished()


def test_everything_may_arrive_twice() -> None:
    state, commanded = played([event for event in [*HERE, *round_of(1), *round_of(2)] for _ in (1, 2)])
    kinds = [type(command).__name__ for command in commanded if not isinstance(command, s.RequestKey)]
    assert state.phase == s.Finished()
    assert kinds == [*HONEST_ROUND[1:], *HONEST_ROUND[1:], "EndRun"]


def test_an_attempt_that_is_given_up_is_repeated_with_the_next_number() -> None:
    state, _ = played([*HERE, s.KeyChosen(1, 1), *(s.TaskDeclined(1, 1, h, "no") for h in ("h1", "h2"))])
    assert isinstance(state.phase, s.Committing), "no holder was asked to sign yet"
    state, commands = r.advance(state, s.Tick(), 70.0, RULES)
    assert state.phase == s.Waiting(1, 2, since=70.0)
    state, commands = r.advance(state, s.KeyChosen(1, 2), 71.0, RULES)
    assert commands == (s.OpenRound(1, 2, ALL),)


# ------------------------------------------------------------------------------------------------ restarts


def test_a_start_asks_nothing_until_a_party_comes() -> None:
    assert resuming.start(1, 1, now=5.0) == s.RunState(s.Waiting(1, 1, since=5.0), last_arrival=5.0)
    # Past the first attempt it is a restart: those who were there are given time to come back.
    assert resuming.start(2, 3, now=5.0) == s.RunState(s.Waiting(2, 3, since=5.0), last_arrival=5.0, resumed=True)


def test_a_restart_while_committing_forgets_no_commitment_and_gives_the_full_time_again() -> None:
    state, commands = resuming.resume_committing(1, 1, ALL, names("ab"), now=1000.0, rules=RULES)
    assert state.phase == s.Committing(1, 1, 1060.0, ALL, names("ab"))
    assert (commands, state.begun) == ((), True)
    _, commands = r.advance(state, s.CommitmentStored(1, 1, "c"), 1001.0, RULES)
    assert commands == (s.RequestList(1, 1, frozenset()),)


def test_a_restart_after_the_last_commitment_goes_straight_on() -> None:
    state, commands = resuming.resume_committing(1, 1, ALL, ALL, now=0.0, rules=RULES)
    assert state.phase == s.Closing(1, 1, 0.0, ALL)
    assert commands == (s.RequestList(1, 1, frozenset()),)


def test_a_restart_while_closing_asks_the_holders_that_come() -> None:
    state, commands = resuming.resume_closing(1, 1, ALL, now=7.0)
    assert (state.phase, commands) == (s.Closing(1, 1, 7.0, ALL), ())
    assert r.advance(state, s.HolderCame("h1"), 8.0, RULES)[1] == (s.RequestList(1, 1, holders("1")),)


def test_a_restart_while_uploading_forgets_no_update_and_gives_the_full_time_again() -> None:
    state, commands = resuming.resume_uploading(1, 1, ALL, names("a"), now=1000.0, rules=RULES)
    assert (state.phase, commands) == (s.Uploading(1, 1, 1030.0, ALL, names("a")), ())
    state, commands = resuming.resume_uploading(1, 1, ALL, ALL, now=1000.0, rules=RULES)
    assert (type(state.phase), commands) == (s.Uploading, ()), "which sums the key holders open is not known yet"
    for number, phase in (("1", s.Uploading), ("2", s.Releasing)):
        state, commands = r.advance(state, s.HolderCame(f"h{number}"), 1001.0, RULES)
        assert type(state.phase) is phase
    assert commands == (s.RequestRelease(1, 1, holders("12")),)


def test_a_restart_while_releasing_or_endorsing_asks_the_holders_that_come_until_enough_work() -> None:
    for (state, commands), request in (
        (resuming.resume_releasing(1, 1, 3, now=0.0), s.RequestRelease),
        (resuming.resume_endorsing(1, 1, now=0.0), s.RequestEndorsement),
    ):
        assert commands == ()
        for number, expected in (("1", True), ("2", True), ("3", False)):
            state, commands = r.advance(state, s.HolderCame(f"h{number}"), 1.0, RULES)
            assert commands == ((request(1, 1, holders(number)),) if expected else ())


# ------------------------------------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (waiting("ab", last_arrival=2.0), 100.0),  # there is a target: time alone begins only when patience is over
        (committing(), 60.0),
        (closing(), 100.0),
        (uploading(), 30.0),
        (releasing(), 20.0),
        (releasing("123"), 100.0),
        (endorsing(), 20.0),
        (endorsing("123"), 100.0),
        (run(s.Finished()), None),
        (run(s.Failed("over")), None),
    ],
)
def test_the_clock_is_asked_only_when_time_alone_decides(state: s.RunState, due: float | None) -> None:
    assert r.next_wakeup(state, RULES) == due


def test_time_that_is_due_changes_something() -> None:
    """Otherwise the timer would spin."""
    for state in (waiting("ab"), committing("ab"), closing(), uploading("ab"), releasing(), endorsing()):
        due = r.next_wakeup(state, RULES)
        assert due is not None
        assert r.advance(state, s.Tick(), due, RULES)[0] != state
        assert r.advance(state, s.Tick(), due - 0.1, RULES)[0] == state


def test_only_holders_without_a_key_are_asked_often() -> None:
    assert r.longest_pause(waiting("ab", key=False)) == r.KEY_SECONDS == 0.5
    assert r.longest_pause(waiting("ab", "", key=False)) == r.LONGEST_PAUSE_SECONDS == 10.0
    assert r.longest_pause(waiting("ab")) == r.longest_pause(committing()) == 10.0


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (waiting("ab", "1"), "waiting for key holders: 1 here, 2 needed"),
        (
            waiting("ab", key=False),
            f"waiting for a fresh key that enough key holders have a share of ({RULES.deal} makes some)",
        ),
        (waiting("ab"), "waiting for clients: 2 here, 3 wanted"),
        (committing("a"), "waiting for updates: 1 of 3 ready"),
        (closing("1"), "waiting for key holders to sign the list: 1 of 2"),
        (uploading("a"), "waiting for updates: 1 of 3 here"),
        (releasing(), "waiting for 2 key holders to open the sum"),
        (endorsing(endorsed="1"), "waiting for key holders to check the new model: 1 of 2"),
        (run(s.Finished()), "all rounds are completed"),
        (run(s.Failed("it is over")), "it is over"),
    ],
)
def test_what_is_waited_for_is_one_sentence(state: s.RunState, sentence: str) -> None:
    assert progress.waiting_for(state, RULES) == sentence


def test_without_a_target_at_least_the_minimum_is_waited_for() -> None:
    assert (
        progress.waiting_for(waiting("a"), replace(RULES, target=None))
        == "waiting for clients: 1 here, at least 2 wanted"
    )
