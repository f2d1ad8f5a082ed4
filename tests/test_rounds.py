"""The rules of a run: one table of transitions, the stories that people would tell, and what no sequence can break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import progress
from server import rounds as r
from server import states as s
from server.rounds import resuming
from server.rounds import waiting as w
from server.rules import RoundRules

RULES = RoundRules(
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


def closing(signed: str = "", declined: str = "", attempt: int = 1) -> s.RunState:
    return run(s.Closing(1, attempt, 0.0, ALL, s.Quorum(HOLDERS, holders(signed), holders(declined))))


def uploading(received: str = "", listed: str = "abc") -> s.RunState:
    return run(s.Uploading(1, 1, 30.0, names(listed), names(received)))


def releasing(asked: str = "23", declined: str = "", here: str = "123") -> s.RunState:
    return run(s.Releasing(1, 1, 0.0, 3, s.Quorum(holders(asked), declined=holders(declined))), holders=here)


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


# what is told                                   before                           event                          time   after          commands
WAITING = [
    ("a first holder is asked for its keys",       waiting("", "", key=False),      s.HolderCame("h1"),              1.0, s.Waiting,     (ask_key("1"),)),
    ("a returning holder is asked again",          waiting("a", "1", key=False),    s.HolderCame("h1"),              1.0, s.Waiting,     (ask_key("1"),)),
    ("a holder that comes late is not asked",      waiting("a", "12"),              s.HolderCame("h3"),              1.0, s.Waiting,     NOTHING),
    ("all are asked again as long as no key is there", waiting("a", "12", key=False), s.Tick(),                      1.0, s.Waiting,     (ask_key("12"),)),
    ("nobody is asked when nobody is there",       waiting("a", "", key=False),     s.Tick(),                        1.0, s.Waiting,     NOTHING),
    ("a key alone opens nothing",                  waiting("", "12", key=False),    s.KeyChosen(1, 1),               1.0, s.Waiting,     NOTHING),
    ("clients alone open nothing",                 waiting("ab", key=False),        s.ClientJoined("c"),             1.0, s.Waiting,     NOTHING),
    ("holders alone open nothing",                 waiting("ab", "1"),              s.HolderCame("h2"),              1.0, s.Waiting,     NOTHING),
    ("the last client opens",                      waiting("ab"),                   s.ClientJoined("c"),             1.0, s.Committing,  (OPEN,)),
    ("the key opens when all are here",            waiting("abc", key=False),       s.KeyChosen(1, 1),               1.0, s.Committing,  (OPEN,)),
    ("the quorum's last holder opens when all are here", waiting("abc", "1"),       s.HolderCame("h2"),              1.0, s.Committing,  (OPEN,)),
    ("another attempt's key opens nothing",        waiting("abc", key=False),       s.KeyChosen(1, 2),               1.0, s.Waiting,     (ask_key("12"),)),
    ("another round's key opens nothing",          waiting("abc", key=False),       s.KeyChosen(2, 1),               1.0, s.Waiting,     (ask_key("12"),)),
    ("fewer than the target do not begin",         waiting("a"),                    s.ClientJoined("b"),             1.0, s.Waiting,     NOTHING),
    ("not even when nobody else comes",            waiting("ab", last_arrival=1.0), s.Tick(),                       50.0, s.Waiting,     NOTHING),
    ("until patience is over",                     waiting("ab", last_arrival=1.0), s.Tick(),                      100.0, s.Committing,  (s.OpenRound(1, 1, names("ab")),)),
    ("fewer than the minimum never begin",         waiting("a"),                    s.Tick(),                       99.0, s.Waiting,     NOTHING),
    ("a client that leaves is not waited for",     waiting("ab"),                   s.ClientLeft("b"),              50.0, s.Waiting,     NOTHING),
    ("a holder that leaves takes the key along if too few stay", waiting("ab"),     s.HolderLeft("h1"),              1.0, s.Waiting,     NOTHING),
    ("comings and goings do not hold up the others", waiting("ab", last_arrival=99.0), s.ClientJoined("c"),        100.0, s.Committing,  (OPEN,)),
    ("patience ends without clients",              waiting("a"),                    s.Tick(),                      100.0, s.Failed,      failed("1 clients are here after 100 seconds, 2 are needed")),
    ("patience ends without a key",                waiting("ab", key=False),        s.Tick(),                      100.0, s.Failed,      failed("the key holders had no unused round key of the right kind in common within 100 seconds; python -m registrar deal makes some")),
    ("patience ends without holders",              waiting("ab", "1"),              s.Tick(),                      100.0, s.Failed,      failed("1 key holders are here after 100 seconds, 2 are needed")),
    ("an early commitment changes nothing",        waiting("ab"),                   s.CommitmentStored(1, 1, "a"),   1.0, s.Waiting,     NOTHING),
    ("what an earlier attempt left changes nothing", waiting("ab"),                 s.TaskDeclined(1, 2, "h1", "no"), 1.0, s.Waiting,    NOTHING),
]  # fmt: skip
COMMITTING = [
    ("a first commitment waits for the others",    committing(),                    s.CommitmentStored(1, 1, "a"),   1.0, s.Committing,  NOTHING),
    ("a repeated commitment changes nothing",      committing("ab"),                s.CommitmentStored(1, 1, "a"),   1.0, s.Committing,  NOTHING),
    ("the last commitment closes the list",        committing("ab"),                s.CommitmentStored(1, 1, "c"),   1.0, s.Closing,     (CLOSE,)),
    ("another attempt's commitment counts not",    committing("ab"),                s.CommitmentStored(1, 2, "c"),   1.0, s.Committing,  NOTHING),
    ("a client that dies is waited for",           committing("ab"),                s.ClientLeft("c"),              59.0, s.Committing,  NOTHING),
    ("until the deadline",                         committing("ab"),                s.Tick(),                       60.0, s.Closing,     (CLOSE,)),
    ("too few at the deadline: abandoned",         committing("a"),                 s.Tick(),                       60.0, s.Waiting,     abandoned("1 updates were ready before the deadline, 2 are needed")),
    ("a late client is invited",                   committing(),                    s.ClientJoined("d"),             1.0, s.Committing,  (s.InviteClient(1, 1, "d"),)),
    ("a returning client is invited again",        committing("a"),                 s.ClientJoined("a"),             1.0, s.Committing,  (s.InviteClient(1, 1, "a"),)),
    ("one more than the slots can hold is not",    committing(expected="abcd"),     s.ClientJoined("e"),             1.0, s.Committing,  NOTHING),
    ("holders may come",                           committing(),                    s.HolderCame("h4"),              1.0, s.Committing,  NOTHING),
    ("holders may go",                             committing(),                    s.HolderLeft("h1"),              1.0, s.Committing,  NOTHING),
    ("an early signature changes nothing",         committing("a"),                 s.ListSigned(1, 1, "h1"),        1.0, s.Committing,  NOTHING),
    ("an early update changes nothing",            committing("a"),                 s.SubmissionStored(1, 1, "b"),   1.0, s.Committing,  NOTHING),
]  # fmt: skip
CLOSING = [
    ("one signature is no quorum",                 closing(),                       s.ListSigned(1, 1, "h1"),        1.0, s.Closing,     NOTHING),
    ("the same one twice is none either",          closing("1"),                    s.ListSigned(1, 1, "h1"),        1.0, s.Closing,     NOTHING),
    ("the quorum announces the list",              closing("1"),                    s.ListSigned(1, 1, "h2"),        1.0, s.Uploading,   (s.AnnounceList(1, 1),)),
    ("another attempt's signature counts not",     closing("1"),                    s.ListSigned(1, 2, "h2"),        1.0, s.Closing,     NOTHING),
    ("a returning holder is asked again",          closing("1"),                    s.HolderCame("h3"),              1.0, s.Closing,     (s.RequestList(1, 1, holders("3")),)),
    ("a holder that leaves is waited for",         closing("1"),                    s.HolderLeft("h2"),             99.0, s.Closing,     NOTHING),
    ("one that declines leaves a quorum",          closing(),                       s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Closing,    NOTHING),
    ("two that decline do not",                    closing("", "1"),                s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Waiting,    abandoned("h2 does not sign the list: no")),
    ("the same one twice is one",                  closing("", "1"),                s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Closing,    NOTHING),
    ("who declined another attempt has not this",  closing("", "1"),                s.TaskDeclined(1, 2, "h2", "no"), 1.0, s.Closing,    NOTHING),
    ("a commitment that comes too late counts not", closing(),                      s.CommitmentStored(1, 1, "d"),   1.0, s.Closing,     NOTHING),
    ("a client that comes waits its turn",         closing(),                       s.ClientJoined("d"),             1.0, s.Closing,     NOTHING),
    ("patience ends without a quorum",             closing("1"),                    s.Tick(),                      100.0, s.Failed,      failed("the key holders did not sign the list within 100 seconds")),
]  # fmt: skip
UPLOADING = [
    ("a first update waits for the others",        uploading(),                     s.SubmissionStored(1, 1, "a"),   1.0, s.Uploading,   NOTHING),
    ("a repeated update changes nothing",          uploading("ab"),                 s.SubmissionStored(1, 1, "b"),   1.0, s.Uploading,   NOTHING),
    ("the last update fixes the sum",              uploading("ab"),                 s.SubmissionStored(1, 1, "c"),   1.0, s.Releasing,   (FIX,)),
    ("another attempt's update counts not",        uploading("ab"),                 s.SubmissionStored(1, 2, "c"),   1.0, s.Uploading,   NOTHING),
    ("a client that dies is waited for",           uploading("ab"),                 s.ClientLeft("c"),              29.0, s.Uploading,   NOTHING),
    ("until the deadline",                         uploading("ab"),                 s.Tick(),                       30.0, s.Releasing,   (FIX,)),
    ("too few at the deadline: abandoned",         uploading("a"),                  s.Tick(),                       30.0, s.Waiting,     abandoned("1 updates came before the deadline, 2 are needed")),
    ("a listed client that returns is told again", uploading("a"),                  s.ClientJoined("b"),             1.0, s.Uploading,   (s.InviteClient(1, 1, "b"),)),
    ("one whose update is here is not",            uploading("a"),                  s.ClientJoined("a"),             1.0, s.Uploading,   NOTHING),
    ("nor one who is not listed",                  uploading("a"),                  s.ClientJoined("d"),             1.0, s.Uploading,   NOTHING),
    ("one more signature changes nothing",         uploading(),                     s.ListSigned(1, 1, "h3"),        1.0, s.Uploading,   NOTHING),
    ("a holder that declines too late changes nothing", uploading(),                s.TaskDeclined(1, 1, "h3", "no"), 1.0, s.Uploading,  NOTHING),
    ("holders may come",                           uploading(),                     s.HolderCame("h4"),              1.0, s.Uploading,   NOTHING),
]  # fmt: skip
RELEASING = [
    ("the open sum is to be endorsed by those who opened it", releasing(),          s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("23")),)),
    ("not by one who has gone",                    releasing(here="12"),            s.SumOpened(1, 1),               1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("12")),)),
    ("another attempt's sum is not ours",          releasing(),                     s.SumOpened(1, 2),               1.0, s.Releasing,   NOTHING),
    ("wrong shares: all others are asked",         releasing(),                     s.SharesUnfit(1, 1),             1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("wrong shares of all: nobody is left to ask", releasing("123"),                s.SharesUnfit(1, 1),             1.0, s.Releasing,   NOTHING),
    ("a sum that no honest cohort has ends the run", releasing(),                   s.SumRejected(1, 1, "bad"),      1.0, s.Failed,      failed("round 1 was opened and cannot be used, nor opened again: bad")),
    ("one that declines is replaced",              releasing(),                     s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Releasing,  (s.RequestRelease(1, 1, holders("1")),)),
    ("too many that decline: abandoned",           releasing("123", "2"),           s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Waiting,    abandoned("h1 does not open the sum: no")),
    ("the same one twice is one",                  releasing("123", "2"),           s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Releasing,  NOTHING),
    ("one that leaves is replaced",                releasing(),                     s.HolderLeft("h2"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("one that leaves and was not asked is not",   releasing(),                     s.HolderLeft("h1"),              1.0, s.Releasing,   NOTHING),
    ("one that was asked and returns is asked again", releasing(here="13"),         s.HolderCame("h2"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("2")),)),
    ("one that comes is asked if too few work",    releasing("2", here="2"),        s.HolderCame("h1"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("else it is not",                             releasing(here="23"),            s.HolderCame("h1"),              1.0, s.Releasing,   NOTHING),
    ("who declined does not work",                 releasing("23", "2", here="23"), s.HolderCame("h1"),              1.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("silence for a while is borne",               releasing(),                     s.Tick(),                       19.0, s.Releasing,   NOTHING),
    ("then the others are asked",                  releasing(),                     s.Tick(),                       20.0, s.Releasing,   (s.RequestRelease(1, 1, holders("1")),)),
    ("a late update changes nothing",              releasing(),                     s.SubmissionStored(1, 1, "c"),   1.0, s.Releasing,   NOTHING),
    ("a client that comes waits its turn",         releasing(),                     s.ClientJoined("d"),             1.0, s.Releasing,   NOTHING),
    ("patience ends without an opening",           releasing("123"),                s.Tick(),                      100.0, s.Failed,      failed("the key holders did not open the sum within 100 seconds")),
]  # fmt: skip
ENDORSING = [
    ("one endorsement is not enough",              endorsing(),                     s.ModelEndorsed(1, 1, "h2"),     1.0, s.Endorsing,   NOTHING),
    ("the same one twice is not either",           endorsing(endorsed="2"),         s.ModelEndorsed(1, 1, "h2"),     1.0, s.Endorsing,   NOTHING),
    ("enough of them complete the round",          endorsing(endorsed="2"),         s.ModelEndorsed(1, 1, "h3"),     1.0, s.Endorsing,   (s.CompleteRound(1, 1),)),
    ("once",                                       endorsing(endorsed="23"),        s.ModelEndorsed(1, 1, "h3"),     1.0, s.Endorsing,   NOTHING),
    ("however many more come",                     endorsing(endorsed="23"),        s.ModelEndorsed(1, 1, "h1"),     1.0, s.Endorsing,   NOTHING),
    ("another attempt's endorsement counts not",   endorsing(endorsed="2"),         s.ModelEndorsed(1, 2, "h3"),     1.0, s.Endorsing,   NOTHING),
    ("a stored model: the next round",             endorsing(endorsed="23"),        s.ModelStored(1, 1),             1.0, s.Waiting,     (ask_key("123", 2),)),
    ("another attempt's model is not ours",        endorsing(endorsed="23"),        s.ModelStored(1, 2),             1.0, s.Endorsing,   NOTHING),
    ("the last round: finished",                   endorsing(number=2),             s.ModelStored(2, 1),             1.0, s.Finished,    (s.EndRun(True, "all rounds are completed"),)),
    ("one that declines is replaced",              endorsing(),                     s.TaskDeclined(1, 1, "h2", "no"), 1.0, s.Endorsing,  (s.RequestEndorsement(1, 1, holders("1")),)),
    ("too many that decline end the run",          endorsing("123", declined="2"),  s.TaskDeclined(1, 1, "h1", "no"), 1.0, s.Failed,     failed("round 1 was opened, but h1 does not endorse it: no")),
    ("one that leaves is replaced",                endorsing(),                     s.HolderLeft("h2"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("one that was asked and returns is asked again", endorsing(here="13"),         s.HolderCame("h2"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("2")),)),
    ("one that comes is asked if too few work",    endorsing("2", here="2"),        s.HolderCame("h1"),              1.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("else it is not",                             endorsing(here="23"),            s.HolderCame("h1"),              1.0, s.Endorsing,   NOTHING),
    ("silence for a while is borne",               endorsing(),                     s.Tick(),                       19.0, s.Endorsing,   NOTHING),
    ("then the others are asked",                  endorsing(),                     s.Tick(),                       20.0, s.Endorsing,   (s.RequestEndorsement(1, 1, holders("1")),)),
    ("a late share changes nothing",               endorsing(),                     s.SumOpened(1, 1),               1.0, s.Endorsing,   NOTHING),
    ("patience ends without endorsements",         endorsing(endorsed="2"),         s.Tick(),                      100.0, s.Failed,      failed("the key holders did not endorse the model within 100 seconds")),
]  # fmt: skip
OVER = [
    ("after the end nothing happens",              run(s.Finished()),               s.ClientJoined("a"),             1.0, s.Finished,    NOTHING),
    ("nor does time pass",                         run(s.Finished()),               s.Tick(),                      1e9,   s.Finished,    NOTHING),
    ("after a failure nothing happens",            run(s.Failed("over")),           s.ModelStored(1, 1),             1.0, s.Failed,      NOTHING),
]  # fmt: skip
TABLE = WAITING + COMMITTING + CLOSING + UPLOADING + RELEASING + ENDORSING + OVER


@pytest.mark.parametrize(
    ("before", "event", "now", "after", "commands"),
    [row[1:] for row in TABLE],
    ids=[f"{type(row[1].phase).__name__.lower()}: {row[0]}" for row in TABLE],
)
def test_transition(
    before: s.RunState, event: s.Event, now: float, after: type, commands: tuple[s.Command, ...]
) -> None:
    found, given_commands = r.advance(before, event, now, RULES)
    assert given_commands == commands
    assert type(found.phase) is after


def test_what_changes_nothing_leaves_the_very_same_phase() -> None:
    for _, before, event, now, _, commands in TABLE:
        about_this = getattr(event, "attempt", 1) == 1 and getattr(event, "round", 1) == 1
        if isinstance(event, s.OfAttempt) and not about_this and not commands:
            assert r.advance(before, event, now, RULES)[0].phase == before.phase


# ------------------------------------------------------------------------------------------------ stories

HONEST_ROUND = (
    "RequestKey", "OpenRound", "RequestList", "AnnounceList", "RequestRelease", "RequestEndorsement", "CompleteRound",
)  # fmt: skip


def played(events: list[s.Event], rules: RoundRules = RULES, now: float = 10.0) -> tuple[s.RunState, list[s.Command]]:
    state, told = resuming.start(1, 1, now=0.0), []
    for event in events:
        state, commands = r.advance(state, event, now, rules)
        told += commands
    return state, told


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
    state, told = played([*HERE, *round_of(1), *round_of(2)])
    kinds = [type(command).__name__ for command in told]
    assert kinds == ["RequestKey", *HONEST_ROUND, *HONEST_ROUND, "EndRun"]  # each holder is asked as it comes
    assert state.phase == s.Finished()


def test_an_attempt_that_is_given_up_is_repeated_with_the_next_number() -> None:
    state, _ = played([*HERE, s.KeyChosen(1, 1), *(s.TaskDeclined(1, 1, h, "no") for h in ("h1", "h2"))])
    assert isinstance(state.phase, s.Committing), "nobody was asked to sign yet"
    state, commands = r.advance(state, s.Tick(), 70.0, RULES)
    assert state.phase == s.Waiting(1, 2, since=70.0)
    state, commands = r.advance(state, s.KeyChosen(1, 2), 71.0, RULES)
    assert commands == (s.OpenRound(1, 2, ALL),)


def test_the_last_allowed_attempt_fails_the_run() -> None:
    state, commands = r.advance(committing("a", attempt=2), s.Tick(), 60.0, RULES)
    why = "1 updates were ready before the deadline, 2 are needed"
    assert commands == (
        s.AbandonAttempt(1, 2, why),
        s.EndRun(False, f"round 1 was abandoned 2 times, the last time because {why}"),
    )
    assert state.phase == s.Failed(commands[1].message)  # type: ignore[union-attr]


def test_without_a_target_the_first_round_begins_when_nobody_else_comes() -> None:
    rules = replace(RULES, target=None)
    state = waiting("ab", last_arrival=1.0)
    assert r.next_wakeup(state, rules) == 6.0
    assert r.advance(state, s.Tick(), 5.9, rules) == (state, ())
    assert r.advance(state, s.Tick(), 6.0, rules)[1] == (s.OpenRound(1, 1, names("ab")),)


def test_without_a_target_who_arrives_is_waited_for_a_while_again() -> None:
    rules = replace(RULES, target=None)
    state, _ = r.advance(waiting("ab", last_arrival=1.0), s.ClientJoined("c"), 5.0, rules)
    assert r.next_wakeup(state, rules) == 10.0


def test_later_rounds_begin_with_whoever_is_there() -> None:
    _, commands = r.advance(waiting("ab", key=False, begun=True), s.KeyChosen(1, 1), 1.0, RULES)
    assert commands == (s.OpenRound(1, 1, names("ab")),)


def test_no_round_is_opened_while_too_few_holders_are_there() -> None:
    state, _ = r.advance(waiting("ab"), s.HolderLeft("h1"), 1.0, RULES)
    for event in (s.ClientJoined("c"), s.ClientJoined("d"), s.Tick()):
        state, commands = r.advance(state, event, 50.0, RULES)
        assert not any(isinstance(command, s.OpenRound) for command in commands)


def test_a_holder_that_leaves_while_enough_stay_changes_nothing() -> None:
    state, commands = r.advance(waiting("ab", "123"), s.HolderLeft("h1"), 1.0, RULES)
    assert (state.phase, commands) == (s.Waiting(1, 1, 0.0, key_ready=True), ())


def test_holders_take_turns_in_opening() -> None:
    """Of three, each round asks the next two in the circle."""
    asked = []
    for number in (1, 2, 3):
        state = run(s.Uploading(number, 1, 30.0, ALL, names("ab")))
        _, commands = r.advance(state, s.SubmissionStored(number, 1, "c"), 1.0, replace(RULES, rounds=3))
        asked.append(commands)
    assert asked == [
        (s.RequestRelease(1, 1, holders("23")),),
        (s.RequestRelease(2, 1, holders("31")),),
        (s.RequestRelease(3, 1, holders("12")),),
    ]


def test_a_sum_is_fixed_even_while_no_holder_is_there_and_opened_when_they_come() -> None:
    state = replace(uploading("ab"), holders=frozenset())
    state, commands = r.advance(state, s.SubmissionStored(1, 1, "c"), 1.0, RULES)
    assert (type(state.phase), commands) == (s.Releasing, ())
    for number in "12":
        state, commands = r.advance(state, s.HolderCame(f"h{number}"), 2.0, RULES)
        assert commands == (s.RequestRelease(1, 1, holders(number)),)


# ------------------------------------------------------------------------------------------------ over-selection


def test_more_clients_than_the_slots_can_hold_are_left_out_of_a_round() -> None:
    _, commands = r.advance(waiting("abcdef", key=False), s.KeyChosen(1, 1), 10.0, RULES)
    (opened,) = commands
    assert isinstance(opened, s.OpenRound)
    assert len(opened.expected) == 4
    assert opened.expected < names("abcdef")


def test_the_choice_can_be_repeated_and_changes_with_round_and_attempt() -> None:
    present = names("abcdefghij")
    chosen = {(n, a): w.select(present, n, a, 5) for n in (1, 2, 3) for a in (1, 2)}
    assert all(len(each) == 5 and each < present for each in chosen.values())
    assert w.select(frozenset(sorted(present, reverse=True)), 1, 1, 5) == chosen[1, 1]
    assert len(set(chosen.values())) > 1
    assert w.select(present, 1, 1, 10) == present


def test_over_a_hundred_rounds_every_client_is_chosen_about_equally_often() -> None:
    present = names("abcdefghij")
    times = [sum(name in w.select(present, n, 1, 5) for n in range(1, 101)) for name in present]
    assert 35 <= min(times) <= max(times) <= 65  # mean 50, three standard deviations


def test_twice_as_many_clients_are_opened_for_as_updates_are_wanted() -> None:
    _, commands = r.advance(waiting("abcdefgh", key=False, begun=True), s.KeyChosen(1, 1), 1.0, CHOSEN)
    assert isinstance(commands[0], s.OpenRound)
    assert len(commands[0].expected) == 4


def test_where_clients_are_chosen_late_ones_are_not_taken_in_but_chosen_ones_that_return_are() -> None:
    state = committing("a", expected="abc")
    assert r.advance(state, s.ClientJoined("d"), 1.0, CHOSEN)[1] == ()
    assert r.advance(state, s.ClientJoined("b"), 1.0, CHOSEN)[1] == (s.InviteClient(1, 1, "b"),)


def test_nobody_waits_for_chosen_clients_that_left_before_they_committed_once_enough_have() -> None:
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


# ------------------------------------------------------------------------------------------------ restarts


def test_a_start_asks_nothing_until_somebody_comes() -> None:
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


def test_a_restart_while_closing_asks_whoever_comes() -> None:
    state, commands = resuming.resume_closing(1, 1, ALL, now=7.0)
    assert (state.phase, commands) == (s.Closing(1, 1, 7.0, ALL), ())
    assert r.advance(state, s.HolderCame("h1"), 8.0, RULES)[1] == (s.RequestList(1, 1, holders("1")),)


def test_a_restart_while_uploading_forgets_no_update_and_gives_the_full_time_again() -> None:
    state, commands = resuming.resume_uploading(1, 1, ALL, names("a"), now=1000.0, rules=RULES)
    assert (state.phase, commands) == (s.Uploading(1, 1, 1030.0, ALL, names("a")), ())
    state, commands = resuming.resume_uploading(1, 1, ALL, ALL, now=1000.0, rules=RULES)
    assert (type(state.phase), commands) == (s.Releasing, ())


def test_a_restart_while_releasing_or_endorsing_asks_whoever_comes_until_enough_work() -> None:
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
    """Else whoever keeps time would spin."""
    for state in (waiting("ab"), committing("ab"), closing(), uploading("ab"), releasing(), endorsing()):
        due = r.next_wakeup(state, RULES)
        assert due is not None
        assert r.advance(state, s.Tick(), due, RULES)[0] != state
        assert r.advance(state, s.Tick(), due - 0.1, RULES)[0] == state


def test_holders_without_a_key_are_asked_often_and_nobody_else_is() -> None:
    assert r.longest_pause(waiting("ab", key=False)) == r.KEY_SECONDS == 0.5
    assert r.longest_pause(waiting("ab", "", key=False)) == r.LONGEST_PAUSE_SECONDS == 10.0
    assert r.longest_pause(waiting("ab")) == r.longest_pause(committing()) == 10.0


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (waiting("ab", "1"), "waiting for key holders: 1 here, 2 needed"),
        (
            waiting("ab", key=False),
            "waiting for a fresh key that enough key holders have a share of (python -m registrar deal makes some)",
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


# ------------------------------------------------------------------------------------------------ any sequence

CLIENTS, KEYHOLDERS = st.sampled_from("abcde"), st.sampled_from(["h1", "h2", "h3"])
ROUNDS, ATTEMPTS = st.integers(1, 2), st.integers(1, 3)
OF_CLIENT = (s.CommitmentStored, s.SubmissionStored)
OF_HOLDER = (s.ListSigned, s.ModelEndorsed)
OF_NOBODY = (s.KeyChosen, s.SharesUnfit, s.SumOpened, s.ModelStored)
ON, AGAIN_THE_SAME = "what lets an honest run go on", "the same event again"
Told = tuple[s.Event | str, float]
"""An event, and the seconds before it."""


def anything() -> st.SearchStrategy[s.Event]:
    return st.one_of(
        st.builds(s.ClientJoined, CLIENTS),
        st.builds(s.ClientLeft, CLIENTS),
        st.builds(s.HolderCame, KEYHOLDERS),
        st.builds(s.HolderLeft, KEYHOLDERS),
        st.just(s.Tick()),
        *(st.builds(event, ROUNDS, ATTEMPTS, CLIENTS) for event in OF_CLIENT),
        *(st.builds(event, ROUNDS, ATTEMPTS, KEYHOLDERS) for event in OF_HOLDER),
        *(st.builds(event, ROUNDS, ATTEMPTS) for event in OF_NOBODY),
        st.builds(s.SumRejected, ROUNDS, ATTEMPTS, st.just("bad")),
        st.builds(s.TaskDeclined, ROUNDS, ATTEMPTS, KEYHOLDERS, st.just("no")),
    )


def honest(state: s.Run) -> s.Event:
    """What would happen next if everybody were there and did their part."""
    phase = state.phase
    id = (getattr(phase, "round", 1), getattr(phase, "attempt", 1))
    if missing := sorted(HOLDERS - state.holders):
        return s.HolderCame(missing[0])
    match phase:
        case s.Waiting(key_ready=False):
            return s.KeyChosen(*id)
        case s.Waiting():
            return s.ClientJoined(min(names("abcde") - state.present, default="a"))
        case s.Committing():
            return s.CommitmentStored(*id, min(phase.expected - phase.committed, default="a"))
        case s.Closing():
            return s.ListSigned(*id, min(HOLDERS - phase.quorum.answered))
        case s.Uploading():
            return s.SubmissionStored(*id, min(phase.listed - phase.received, default="a"))
        case s.Releasing():
            return s.SumOpened(*id)
        case s.Endorsing() if len(phase.quorum.answered) >= 2:
            return s.ModelStored(*id)
        case s.Endorsing():
            return s.ModelEndorsed(*id, min(HOLDERS - phase.quorum.answered))
    return s.Tick()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9).flatmap(lambda n: st.just((ON, AGAIN_THE_SAME)[n > 6]) if n < 9 else anything()),
            st.sampled_from([*[0.0] * 10, 0.1, 1.0, 25.0, 110.0]),
        ),
        min_size=30,
        max_size=80,
    ),
    st.sampled_from([RULES, CHOSEN, replace(RULES, target=None, threshold=3)]),
)
def test_no_sequence_of_events_loses_the_order_or_completes_a_round_twice(story: list[Told], rules: RoundRules) -> None:
    state, now, told = resuming.start(1, 1, 0.0), 0.0, honest(resuming.start(1, 1, 0.0))
    opened: list[tuple[int, int]] = []
    completed: list[int] = []
    ended: list[s.EndRun] = []
    places = [(1, 1)]
    for event, seconds in story:
        now += seconds
        was = state.phase
        told = honest(state) if event == ON else told if isinstance(event, str) else event
        state, commands = r.advance(state, told, now, rules)
        if isinstance(state.phase, s.Attempted):
            places.append((state.phase.round, state.phase.attempt))
        for command in commands:
            match command:
                case s.OpenRound(number, attempt, expected):
                    opened.append((number, attempt))
                    assert rules.min_cohort <= len(expected) <= rules.max_cohort
                    assert expected <= state.present
                case s.RequestRelease() | s.RequestEndorsement() | s.RequestKey() | s.RequestList():
                    assert command.holders <= state.holders
                case s.CompleteRound(number, _):
                    completed.append(number)
                    assert isinstance(state.phase, s.Endorsing)
                    assert len(state.phase.quorum.answered) >= rules.threshold
                case s.EndRun():
                    ended.append(command)
        if isinstance(was, s.Finished | s.Failed):
            assert (state.phase, commands) == (was, ())
        assert progress.waiting_for(state, rules)
        due = r.next_wakeup(state, rules)
        assert (due is None) == isinstance(state.phase, s.Finished | s.Failed)
    assert places == sorted(places), "rounds and attempts only go forward"
    assert all(number <= 2 and attempt <= rules.max_attempts for number, attempt in places)
    assert opened == sorted(set(opened)), "an attempt is opened once"
    assert completed == sorted(set(completed)), "a round is completed once"
    assert len(ended) == isinstance(state.phase, s.Finished | s.Failed)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(anything(), st.sampled_from([0.0, 1.0, 25.0])), max_size=30))
def test_whatever_happened_before_honest_parties_or_patience_bring_the_run_to_an_end(
    story: list[tuple[s.Event, float]],
) -> None:
    state, now = resuming.start(1, 1, 0.0), 0.0
    for event, seconds in story:
        now += seconds
        state, _ = r.advance(state, event, now, RULES)
    for _ in range(200):
        now += 1.0
        state, _ = r.advance(state, honest(state), now, RULES)
    for _ in range(20):
        now += 110.0
        state, _ = r.advance(state, s.Tick(), now, RULES)
    assert isinstance(state.phase, s.Finished | s.Failed)


def test_everything_may_arrive_twice() -> None:
    state, told = played([event for event in [*HERE, *round_of(1), *round_of(2)] for _ in (1, 2)])
    kinds = [type(command).__name__ for command in told if not isinstance(command, s.RequestKey)]
    assert state.phase == s.Finished()
    assert kinds == [*HONEST_ROUND[1:], *HONEST_ROUND[1:], "EndRun"]
