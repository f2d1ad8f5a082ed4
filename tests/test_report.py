"""report.md says what a run protected, from whom, and what not, in sentences that depend on how it was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from core.identity.members import Member, Role, Roster
from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from server.report import report
from server.rules import RoundRules
from server.settings import RunSettings

RESULT = RoundResult(1, 3, 0.9, 0.1, 100.0, 1.0, 2.0, 0.5, 0.25, 0.8, 0.2)


def roster(threshold: int, holders: int, operators: Sequence[str] = ()) -> Roster:
    """A roster in which no operator runs two, or the members in their order are run by these."""
    seats = [
        (Role.SERVER, "server", 1),
        *((Role.KEYHOLDER, f"keyholder-{number}", number) for number in range(1, holders + 1)),
        (Role.CLIENT, "client-1", 1),
    ]
    members = tuple(
        Member(name, role, number, bytes(32), bytes(32) * (role is Role.KEYHOLDER), operator)
        for (role, name, number), operator in zip(seats, operators or "abcdefghi", strict=False)
    )
    return Roster("0123456789abcdef", 1, threshold, members)


def written(
    roster_of: Roster, results: Sequence[RoundResult] = (RESULT,), refusals: Counter[str] | None = None, **settings: Any
) -> str:
    rules = RoundRules(threshold=roster_of.threshold, holders=len(roster_of.holders))
    return report("0" * 16, RunSettings(rules=rules, **settings), roster_of, results, refusals or Counter())


@pytest.mark.parametrize(
    ("threshold", "holders", "sentence"),
    [
        (1, 1, "The key holder reads everything."),
        (2, 3, "With the aggregator and a client, 1 dishonest key holder can have two sums of one round opened"),
        (3, 4, "With the aggregator and a client, 2 dishonest key holders can have two sums of one round opened"),
        (3, 3, "3 of the 3 key holders together read everything."),
        (4, 5, "and so read a single update; 2 cannot."),
    ],
)
def test_how_many_dishonest_holders_can_do_what(threshold: int, holders: int, sentence: str) -> None:
    assert sentence in written(roster(threshold, holders))


def test_a_weaker_key_is_said_to_be_one() -> None:
    assert "Keys of 2048 bits are weaker than the 3072 that are advised" in written(roster(2, 3), key_bits=2048)
    assert "weaker" not in written(roster(2, 3), key_bits=3072)


def test_roles_in_one_hand_are_named() -> None:
    assert "every party has a different operator" in written(roster(2, 3))
    shared = written(roster(2, 3, ["Ada", "Ada", "Bob", "Eve", "Eve"]))
    assert "- Ada: server, keyholder-1" in shared
    assert "- Eve: keyholder-3, client-1" in shared
    assert "Bob" not in shared


def test_what_was_switched_off_stands_at_the_top() -> None:
    lines = written(roster(2, 3), insecure_plaintext=True).split("\n\n")
    assert lines[1] == "**INSECURE: connections without TLS.**"


def test_refusals_are_counted_by_name() -> None:
    assert "- duplicate: 3" in written(roster(2, 3), refusals=Counter({"duplicate": 3}))
    assert "Nothing was refused." in written(roster(2, 3))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"scheme": "plain"}, "Nothing was encrypted: the aggregator could read every client's update"),
        ({"key_bits": 512, "insecure_demo_keys": True}, "Keys this short can be factored"),
    ],
)
def test_where_nothing_protects_nothing_is_said_to_protect(settings: dict[str, Any], sentence: str) -> None:
    words = written(roster(2, 3), **settings)
    assert sentence in words
    assert "Nothing hid who sent what." in words
    for claim in ("together read everything", "Encryption hides"):
        assert claim not in words
        assert claim in written(roster(2, 3))


def test_epsilon_is_not_claimed_against_an_aggregator_that_sees_single_updates() -> None:
    private = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)
    assert "not against the aggregator" in written(roster(2, 3), scheme="plain", privacy=private)
    assert "not against the aggregator" not in written(roster(2, 3), privacy=private)


def test_a_run_that_failed_says_so_and_why() -> None:
    failed = report("0" * 16, RunSettings(), roster(2, 3), [RESULT], Counter(), "no client came")
    assert "**The run failed:** no client came." in failed
    assert "failed" not in written(roster(2, 3))


def test_exposures_of_one_kind_are_one_line() -> None:
    results = [replace(RESULT, round=n, exposure="" if n == 1 else "anna" if n < 5 else "bert") for n in range(1, 6)]
    words = written(roster(2, 3), results)
    assert "- rounds 2 to 4: anna\n- round 5: bert\n" in words
