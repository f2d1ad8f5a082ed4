"""What one member may ask for: bounded at a time and a second, each member by itself, and refused by name."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from refusals import refused_with

from core.errors import PASSING, Reason
from core.identity.members import Member
from core.identity.roster import Role
from server.call_limits import MOST_CALLS, MOST_CONNECTIONS, MOST_STREAMS, RATES, CallLimits


def client(number: int) -> Member:
    return Member(name=f"client-{number}", role=Role.CLIENT, number=number, signing_key=bytes([number]) * 32)


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(limits: CallLimits, member: Member, name: str, connection: str = "") -> None:
    with limits.admitted(member, name, connection):
        pass


@pytest.mark.parametrize("name", sorted(RATES))
def test_a_burst_is_taken_and_then_as_many_calls_as_the_rate_allows(name: str) -> None:
    time, rate = Time(), RATES[name]
    limits = CallLimits(time)
    for _ in range(int(rate.burst)):
        call(limits, client(1), name)
    with refused_with(Reason.TOO_MANY_CALLS):
        call(limits, client(1), name)
    time.now += 1.01 / rate.per_second
    call(limits, client(1), name)
    with refused_with(Reason.TOO_MANY_CALLS):
        call(limits, client(1), name)


def test_refused_calls_do_not_prolong_the_wait() -> None:
    time = Time()
    limits = CallLimits(time)
    for _ in range(20):
        call(limits, client(1), "Join")
    for _ in range(100):
        with refused_with(Reason.TOO_MANY_CALLS):
            call(limits, client(1), "Join")
    time.now += 2.1
    call(limits, client(1), "Join")


def test_a_long_silence_earns_no_more_than_one_burst() -> None:
    time = Time()
    limits = CallLimits(time)
    call(limits, client(1), "Join")
    time.now += 1e6
    for _ in range(20):
        call(limits, client(1), "Join")
    with refused_with(Reason.TOO_MANY_CALLS):
        call(limits, client(1), "Join")


def test_one_member_does_not_use_up_the_calls_of_another() -> None:
    limits = CallLimits(Time())
    for _ in range(20):
        call(limits, client(1), "Watch")
    with refused_with(Reason.TOO_MANY_CALLS):
        call(limits, client(1), "Watch")
    call(limits, client(2), "Watch")
    call(limits, client(1), "Commit")


def test_calls_of_key_holders_that_a_large_cohort_needs_have_no_rate() -> None:
    limits = CallLimits(Time())
    for _ in range(100_000):
        call(limits, client(1), "FetchSubmissions")


def test_open_streams_of_one_kind_are_bounded_and_closed_ones_make_room() -> None:
    limits = CallLimits(Time())
    with ExitStack() as streams:
        for _ in range(MOST_STREAMS["Watch"]):
            streams.enter_context(limits.admitted(client(1), "Watch"))
        with refused_with(Reason.TOO_MANY_CALLS):
            call(limits, client(1), "Watch")
        call(limits, client(1), "Join")
    call(limits, client(1), "Watch")


def test_open_calls_of_all_kinds_together_are_bounded() -> None:
    limits = CallLimits(Time())
    with ExitStack() as calls:
        for _ in range(MOST_CALLS):
            calls.enter_context(limits.admitted(client(1), "FetchModel"))
        with refused_with(Reason.TOO_MANY_CALLS):
            call(limits, client(1), "Commit")
        call(limits, client(2), "Commit")
    call(limits, client(1), "Commit")


def test_connections_with_open_calls_are_bounded_and_old_ones_may_call_on() -> None:
    limits = CallLimits(Time())
    with ExitStack() as calls:
        for number in range(MOST_CONNECTIONS):
            calls.enter_context(limits.admitted(client(1), "FetchModel", f"ipv4:127.0.0.1:{number}"))
        with refused_with(Reason.TOO_MANY_CALLS):
            call(limits, client(1), "FetchModel", "ipv4:127.0.0.1:9999")
        call(limits, client(1), "FetchModel", "ipv4:127.0.0.1:0")
    call(limits, client(1), "FetchModel", "ipv4:127.0.0.1:9999")


def test_a_refusal_for_too_many_calls_is_one_of_a_moment() -> None:
    assert frozenset({Reason.STORAGE, Reason.TOO_MANY_CALLS}) == PASSING
