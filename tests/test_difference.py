"""Sums whose contributors differ by a few are named, whichever way round; equal and very different ones are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyholder.difference import exposed_by

CLIENTS = st.frozensets(st.sampled_from("abcdefgh"), min_size=1)


def exposed(now: str, *before: str, min_cohort: int = 3) -> str:
    earlier = [("0123456789abcdef", number, frozenset(each)) for number, each in enumerate(before, start=1)]
    return exposed_by(frozenset(now), earlier, min_cohort, "0123456789abcdef")


@pytest.mark.parametrize(
    ("now", "before"),
    [
        ("abcde", ()),
        ("abcde", ("abcde",)),
        ("abcde", ("edcba", "abcde")),
        ("abcde", ("ab",)),  # c, d and e: as many as the minimum
        ("abc", ("def",)),
        ("abcf", ("abde",)),  # c, d, e and f
    ],
)
def test_the_same_clients_or_enough_others_expose_no_client(now: str, before: tuple[str, ...]) -> None:
    assert exposed(now, *before) == ""


@pytest.mark.parametrize(
    ("now", "before", "round_number", "names"),
    [
        ("abcd", ("abcde",), 1, "1 of the clients sent (e)"),  # n - 1 after n
        ("abcde", ("abcd",), 1, "1 of the clients sent (e)"),  # n after n - 1
        ("abcd", ("abce",), 1, "2 of the clients sent (d, e)"),  # one exchanged
        ("abcd", ("efgh", "abcd", "abc"), 3, "1 of the clients sent (d)"),
        ("abcd", ("abc", "abcd"), 1, "1 of the clients sent (d)"),
    ],
)
def test_a_few_that_differ_are_named_with_the_round(
    now: str, before: tuple[str, ...], round_number: int, names: str
) -> None:
    sentence = exposed(now, *before)
    assert sentence.startswith(f"together with the sum of round {round_number} it tells what {names}")
    assert sentence.endswith(f"({names.partition('(')[2]}")


def test_a_sum_of_another_run_is_said_to_be_one() -> None:
    now, before = frozenset("abcd"), [("f" * 16, 20, frozenset("abc"))]
    assert "the sum of round 20 of the earlier run ffffffffffffffff it tells" in exposed_by(now, before, 3, "0" * 16)
    assert "the sum of round 20 it tells" in exposed_by(now, before, 3, "f" * 16)


def test_no_more_than_five_names_are_written_out() -> None:
    assert "7 of the clients sent (b, c, d, e, f)" in exposed("abcdefgh", "a", min_cohort=8)


@given(CLIENTS, CLIENTS, st.integers(1, 6))
def test_the_rule_is_the_same_both_ways_and_is_that_of_the_threat_model(
    one: frozenset[str], other: frozenset[str], min_cohort: int
) -> None:
    """THREAT_MODEL: |S xor S'| = 0 or >= min_cohort."""
    there = exposed_by(one, [("r", 1, other)], min_cohort)
    assert there == exposed_by(other, [("r", 1, one)], min_cohort)
    assert (there == "") == (len(one ^ other) == 0 or len(one ^ other) >= min_cohort)
