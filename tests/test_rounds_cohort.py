"""Committing and Uploading: which clients are waited for, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from round_cases import (
    CHOSEN,
    CLOSE,
    FIX,
    NOTHING,
    RULES,
    Row,
    abandoned,
    committing,
    holders,
    names,
    require_transition,
    transitions,
    uploading,
    waiting,
)

from server import rounds as r
from server import states as s
from server.progress import waiting_for
from server.rules import RoundRules

# what is shown                                  before                           event                          time   after          commands
COMMITTING = [
    ("a first commitment waits for the others",    committing(),                    s.CommitmentStored(1, 1, "a"),   1.0, s.Committing,  NOTHING),
    ("a repeated commitment changes nothing",      committing("ab"),                s.CommitmentStored(1, 1, "a"),   1.0, s.Committing,  NOTHING),
    ("the last commitment closes the list",        committing("ab"),                s.CommitmentStored(1, 1, "c"),   1.0, s.Closing,     (CLOSE,)),
    ("another attempt's commitment counts not",    committing("ab"),                s.CommitmentStored(1, 2, "c"),   1.0, s.Committing,  NOTHING),
    ("a client that dies is waited for",           committing("ab"),                s.ClientLeft("c"),              59.0, s.Committing,  NOTHING),
    ("until the deadline",                         committing("ab"),                s.Tick(),                       60.0, s.Closing,     (CLOSE,)),
    ("too few at the deadline: abandoned",         committing("a"),                 s.Tick(),                       60.0, s.Waiting,     abandoned("1 update was ready before the deadline, 2 are needed")),
    ("a late client is invited",                   committing(),                    s.ClientJoined("d"),             1.0, s.Committing,  (s.InviteClient(1, 1, "d"),)),
    ("a returning client is invited again",        committing("a"),                 s.ClientJoined("a"),             1.0, s.Committing,  (s.InviteClient(1, 1, "a"),)),
    ("one more than the slots can hold is not",    committing(expected="abcd"),     s.ClientJoined("e"),             1.0, s.Committing,  NOTHING),
    ("holders may come",                           committing(),                    s.HolderCame("h4"),              1.0, s.Committing,  NOTHING),
    ("holders may go",                             committing(),                    s.HolderLeft("h1"),              1.0, s.Committing,  NOTHING),
    ("an early signature changes nothing",         committing("a"),                 s.ListSigned(1, 1, "h1"),        1.0, s.Committing,  NOTHING),
    ("an early update changes nothing",            committing("a"),                 s.SubmissionStored(1, 1, "b"),   1.0, s.Committing,  NOTHING),
]  # fmt: skip
UPLOADING = [
    ("a first update waits for the others",        uploading(),                     s.SubmissionStored(1, 1, "a"),   1.0, s.Uploading,   NOTHING),
    ("a repeated update changes nothing",          uploading("ab"),                 s.SubmissionStored(1, 1, "b"),   1.0, s.Uploading,   NOTHING),
    ("the last update fixes the sum",              uploading("ab"),                 s.SubmissionStored(1, 1, "c"),   1.0, s.Releasing,   (FIX,)),
    ("another attempt's update counts not",        uploading("ab"),                 s.SubmissionStored(1, 2, "c"),   1.0, s.Uploading,   NOTHING),
    ("a client that dies is waited for",           uploading("ab"),                 s.ClientLeft("c"),              29.0, s.Uploading,   NOTHING),
    ("until the deadline",                         uploading("ab"),                 s.Tick(),                       30.0, s.Releasing,   (FIX,)),
    ("too few at the deadline: abandoned",         uploading("a"),                  s.Tick(),                       30.0, s.Waiting,     abandoned("1 update came before the deadline, 2 are needed")),
    ("a listed client that returns is invited again", uploading("a"),                  s.ClientJoined("b"),             1.0, s.Uploading,   (s.InviteClient(1, 1, "b"),)),
    ("one whose update is here is not",            uploading("a"),                  s.ClientJoined("a"),             1.0, s.Uploading,   NOTHING),
    ("nor one who is not listed",                  uploading("a"),                  s.ClientJoined("d"),             1.0, s.Uploading,   NOTHING),
    ("one more signature changes nothing",         uploading(),                     s.ListSigned(1, 1, "h3"),        1.0, s.Uploading,   NOTHING),
    ("a holder that declines too late changes nothing", uploading(),                s.TaskDeclined(1, 1, "h3", "no"), 1.0, s.Uploading,  NOTHING),
    ("holders may come",                           uploading(),                     s.HolderCame("h4"),              1.0, s.Uploading,   NOTHING),
]  # fmt: skip


@transitions(COMMITTING + UPLOADING)
def test_transition(row: Row) -> None:
    require_transition(row)


def test_a_closed_list_is_sent_to_every_holder_once() -> None:
    state, commands = r.advance(committing("ab"), s.CommitmentStored(1, 1, "c"), 1.0, RULES)
    assert commands == (CLOSE,)
    assert r.next_wakeup(state, RULES) == 101.0, "none is left to ask"
    assert r.advance(state, s.Tick(), 50.0, RULES) == (state, ())


def test_the_last_allowed_attempt_fails_the_run() -> None:
    state, commands = r.advance(committing("a", attempt=2), s.Tick(), 60.0, RULES)
    why = "1 update was ready before the deadline, 2 are needed"
    assert commands == (
        s.AbandonAttempt(1, 2, why),
        s.EndRun(False, f"round 1 was abandoned 2 times, the last time because {why}"),
    )
    assert state.phase == s.Failed(commands[1].message)  # type: ignore[union-attr]


def test_a_sum_is_fixed_even_while_no_holder_is_there_and_opened_when_they_come() -> None:
    state = replace(uploading("ab"), holders=frozenset())
    state, commands = r.advance(state, s.SubmissionStored(1, 1, "c"), 1.0, RULES)
    assert (type(state.phase), commands) == (s.Releasing, ())
    for number in "12":
        state, commands = r.advance(state, s.HolderCame(f"h{number}"), 2.0, RULES)
        assert commands == (s.RequestRelease(1, 1, holders(number)),)


# ------------------------------------------------------------------------------------------------ over-selection


def test_where_clients_are_chosen_late_ones_are_not_taken_in_but_chosen_ones_that_return_are() -> None:
    state = committing("a", expected="abc")
    assert r.advance(state, s.ClientJoined("d"), 1.0, CHOSEN)[1] == ()
    assert r.advance(state, s.ClientJoined("b"), 1.0, CHOSEN)[1] == (s.InviteClient(1, 1, "b"),)


def test_chosen_clients_that_left_before_they_committed_are_not_waited_for_once_enough_have() -> None:
    left = committing(committed="ab", expected="abc", present="abc")
    after, commands = r.advance(left, s.ClientLeft("c"), 1.0, CHOSEN)
    assert isinstance(after.phase, s.Closing)
    assert commands == (CLOSE,)
    last = committing(committed="a", expected="abc", present="ab")
    assert isinstance(r.advance(last, s.CommitmentStored(1, 1, "b"), 1.0, CHOSEN)[0].phase, s.Closing)


@pytest.mark.parametrize(
    ("before", "rules"),
    [
        (committing(committed="a", expected="abc", present="abc"), CHOSEN),  # one of two wanted
        (committing(committed="ab", expected="abcd", present="abcd"), CHOSEN),  # d is still at work
        (committing(committed="ab", expected="abc", present="ac"), CHOSEN),  # b has committed, and cannot upload
        (replace(committing(committed="ab", expected="abc", present="abc"), resumed=True), CHOSEN),
        (committing(committed="ab", expected="abc", present="abc"), RULES),  # all are waited for
    ],
)
def test_everything_else_waits_for_who_has_not_committed(before: s.RunState, rules: RoundRules) -> None:
    assert isinstance(r.advance(before, s.ClientLeft("c"), 1.0, rules)[0].phase, s.Committing)


def test_the_first_updates_count_and_the_sum_is_fixed_at_the_wanted_number() -> None:
    state = uploading("", listed="abcd")
    state, commands = r.advance(state, s.SubmissionStored(1, 1, "c"), 1.0, CHOSEN)
    assert isinstance(state.phase, s.Uploading)
    state, commands = r.advance(state, s.SubmissionStored(1, 1, "a"), 1.0, CHOSEN)
    assert (type(state.phase), commands) == (s.Releasing, (FIX,))
    assert state.phase.contributors == 2  # type: ignore[union-attr]
    late, commands = r.advance(state, s.SubmissionStored(1, 1, "b"), 1.0, CHOSEN)
    assert (late, commands) == (state, ())


# ------------------------------------------------------------------------------------------------ clients that are gone


def without_c(before: s.RunState) -> s.RunState:
    """The state after c's connection was lost, at second 10."""
    return r.advance(before, s.ClientLeft("c"), 10.0, RULES)[0]


def test_clients_that_are_gone_are_waited_for_as_long_as_a_restart_takes_and_not_to_the_deadline() -> None:
    state = without_c(committing("ab"))
    assert r.next_wakeup(state, RULES) == 25.0
    assert r.advance(state, s.Tick(), 24.9, RULES) == (state, ())
    after, commands = r.advance(state, s.Tick(), 25.0, RULES)
    assert (after.phase.listed, commands) == (names("ab"), (CLOSE,))  # type: ignore[union-attr]


def test_so_are_those_that_have_committed_and_do_not_upload() -> None:
    state = without_c(uploading("ab"))
    assert r.next_wakeup(state, RULES) == 25.0
    assert isinstance(r.advance(state, s.Tick(), 25.0, RULES)[0].phase, s.Releasing)


@pytest.mark.parametrize(
    ("before", "deadline"),
    [
        (committing("a"), 60.0),  # b is at work
        (committing("a", expected="ac"), 60.0),  # fewer than the minimum
        (replace(committing("ab"), resumed=True), 60.0),  # no client has had time to come back
        (uploading("a"), 30.0),
    ],
)
def test_the_deadline_holds_where_another_client_is_missing_or_too_few_are_here(
    before: s.RunState, deadline: float
) -> None:
    assert r.next_wakeup(without_c(before), RULES) == deadline


def test_one_that_comes_back_is_waited_for_again() -> None:
    back, commands = r.advance(without_c(committing("ab")), s.ClientJoined("c"), 20.0, RULES)
    assert commands == (s.InviteClient(1, 1, "c"),)
    assert r.next_wakeup(back, RULES) == 60.0


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (committing("ab"), "2 of 3 here, waiting for c"),
        (without_c(committing("ab")), "2 of 3 here, waiting for c (not connected)"),
        (without_c(committing("")), "0 of 3 here, waiting for c (not connected), a and b"),
        (without_c(uploading("a")), "1 of 3 here, waiting for c (not connected) and b"),
        (committing("abcdef", expected="abcdefghijkl"), "6 of 12 here, waiting for g (not connected), h (not connected), i (not connected) and 3 more"),
        (waiting("ab"), "2 of 3 here, waiting for c"),
        (waiting(""), "waiting for clients: 0 here, 3 wanted"),
    ],
)  # fmt: skip
def test_who_is_missing_is_named(state: s.RunState, sentence: str) -> None:
    assert waiting_for(state, RULES, frozenset("abc")) == sentence


def test_before_the_first_round_clients_that_may_not_be_needed_are_not_named() -> None:
    assert waiting_for(waiting("ab"), RULES, frozenset("abcd")) == "waiting for clients: 2 here, 3 wanted"
