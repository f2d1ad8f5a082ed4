"""Waiting: when a round may open, for which clients, and when the run gives up."""

from __future__ import annotations

from dataclasses import replace

from round_cases import (
    CHOSEN,
    NOTHING,
    OPEN,
    RULES,
    Row,
    ask_key,
    failed,
    names,
    require_transition,
    transitions,
    waiting,
)

from server import rounds as r
from server import states as s
from server.rounds import waiting as w

# what is shown                                  before                           event                          time   after          commands
WAITING = [
    ("a first holder is asked for its keys",       waiting("", "", key=False),      s.HolderCame("h1"),              1.0, s.Waiting,     (ask_key("1"),)),
    ("a returning holder is asked again",          waiting("a", "1", key=False),    s.HolderCame("h1"),              1.0, s.Waiting,     (ask_key("1"),)),
    ("a holder that comes late is not asked",      waiting("a", "12"),              s.HolderCame("h3"),              1.0, s.Waiting,     NOTHING),
    ("all are asked again as long as no key is there", waiting("a", "12", key=False), s.Tick(),                      1.0, s.Waiting,     (ask_key("12"),)),
    ("no holder is asked when none is there",      waiting("a", "", key=False),     s.Tick(),                        1.0, s.Waiting,     NOTHING),
    ("a key alone opens nothing",                  waiting("", "12", key=False),    s.KeyChosen(1, 1),               1.0, s.Waiting,     NOTHING),
    ("clients alone open nothing",                 waiting("ab", key=False),        s.ClientJoined("c"),             1.0, s.Waiting,     NOTHING),
    ("holders alone open nothing",                 waiting("ab", "1"),              s.HolderCame("h2"),              1.0, s.Waiting,     NOTHING),
    ("the last client opens",                      waiting("ab"),                   s.ClientJoined("c"),             1.0, s.Committing,  (OPEN,)),
    ("the key opens when all are here",            waiting("abc", key=False),       s.KeyChosen(1, 1),               1.0, s.Committing,  (OPEN,)),
    ("the quorum's last holder opens when all are here", waiting("abc", "1"),       s.HolderCame("h2"),              1.0, s.Committing,  (OPEN,)),
    ("another attempt's key opens nothing",        waiting("abc", key=False),       s.KeyChosen(1, 2),               1.0, s.Waiting,     (ask_key("12"),)),
    ("another round's key opens nothing",          waiting("abc", key=False),       s.KeyChosen(2, 1),               1.0, s.Waiting,     (ask_key("12"),)),
    ("fewer than the target do not begin",         waiting("a"),                    s.ClientJoined("b"),             1.0, s.Waiting,     NOTHING),
    ("not even when no other comes",               waiting("ab", last_arrival=1.0), s.Tick(),                       50.0, s.Waiting,     NOTHING),
    ("until patience is over",                     waiting("ab", last_arrival=1.0), s.Tick(),                      100.0, s.Committing,  (s.OpenRound(1, 1, names("ab")),)),
    ("fewer than the minimum never begin",         waiting("a"),                    s.Tick(),                       99.0, s.Waiting,     NOTHING),
    ("a client that leaves is not waited for",     waiting("ab"),                   s.ClientLeft("b"),              50.0, s.Waiting,     NOTHING),
    ("a holder that leaves takes the key along if too few stay", waiting("ab"),     s.HolderLeft("h1"),              1.0, s.Waiting,     NOTHING),
    ("comings and goings do not hold up the others", waiting("ab", last_arrival=99.0), s.ClientJoined("c"),        100.0, s.Committing,  (OPEN,)),
    ("patience ends without clients",              waiting("a"),                    s.Tick(),                      100.0, s.Failed,      failed("1 client is here after 100 seconds, 2 are needed")),
    ("patience ends without a key",                waiting("ab", key=False),        s.Tick(),                      100.0, s.Failed,      failed(f"the key holders had no unused round key of the right kind in common within 100 seconds; {RULES.deal} makes some")),
    ("patience ends without holders",              waiting("ab", "1"),              s.Tick(),                      100.0, s.Failed,      failed("1 key holder serves after 100 seconds, 2 are needed")),
    ("an early commitment changes nothing",        waiting("ab"),                   s.CommitmentStored(1, 1, "a"),   1.0, s.Waiting,     NOTHING),
    ("what an earlier attempt left changes nothing", waiting("ab"),                 s.TaskDeclined(1, 2, "h1", "no"), 1.0, s.Waiting,    NOTHING),
]  # fmt: skip


@transitions(WAITING)
def test_transition(row: Row) -> None:
    require_transition(row)


def test_without_a_target_the_first_round_begins_when_no_other_client_comes() -> None:
    rules = replace(RULES, target=None)
    state = waiting("ab", last_arrival=1.0)
    assert r.next_wakeup(state, rules) == 6.0
    assert r.advance(state, s.Tick(), 5.9, rules) == (state, ())
    assert r.advance(state, s.Tick(), 6.0, rules)[1] == (s.OpenRound(1, 1, names("ab")),)


def test_without_a_target_who_arrives_is_waited_for_a_while_again() -> None:
    rules = replace(RULES, target=None)
    state, _ = r.advance(waiting("ab", last_arrival=1.0), s.ClientJoined("c"), 5.0, rules)
    assert r.next_wakeup(state, rules) == 10.0


def test_later_rounds_begin_with_the_clients_that_are_there() -> None:
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


# ------------------------------------------------------------------------------------------------ which clients


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
