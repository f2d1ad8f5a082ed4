"""Where key holders enforce the difference rule, others are left out besides a client that drops out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from in_process import OPTIONS, RULES, SpamFederation
from round_cases import HOLDERS, holders, names, run
from round_cases import RULES as CASE_RULES

from core.difference import too_similar
from keyholder.difference import DifferenceRule
from server import rounds as r
from server import states as s
from server.rounds.leaving_out import allowed_cohort, least_difference
from server.rules import RoundRules

TWENTY = frozenset(f"client-{number:02}" for number in range(1, 21))
RULES_OF_FIVE = RoundRules(holders=3, threshold=2, min_cohort=5, max_cohort=20, target=20)
ENFORCED = {"h1": 5, "h2": 5, "h3": 5}


def state(*opened: frozenset[str], demands: dict[str, int] = ENFORCED) -> s.RunState:
    return s.RunState(s.Waiting(1, 1, 0.0), TWENTY, HOLDERS, opened=opened, demands=demands)


def test_everyone_is_in_the_first_sum() -> None:
    assert allowed_cohort(state(), TWENTY, RULES_OF_FIVE) == TWENTY


def test_besides_one_that_drops_out_four_are_left_out_so_that_five_differ() -> None:
    left = TWENTY - {"client-07"}
    chosen = allowed_cohort(state(TWENTY), left, RULES_OF_FIVE)
    assert chosen is not None
    assert chosen < left
    assert (len(chosen), len(chosen ^ TWENTY)) == (15, 5)


def test_the_same_cohort_is_taken_again_rather_than_another_as_large() -> None:
    left = TWENTY - {"client-07"}
    fifteen = allowed_cohort(state(TWENTY), left, RULES_OF_FIVE)
    assert fifteen is not None
    assert allowed_cohort(state(fifteen, TWENTY), left, RULES_OF_FIVE) == fifteen


def test_when_the_missing_one_returns_everyone_is_in_again() -> None:
    fifteen = allowed_cohort(state(TWENTY), TWENTY - {"client-07"}, RULES_OF_FIVE)
    assert fifteen is not None
    assert allowed_cohort(state(fifteen, TWENTY), TWENTY, RULES_OF_FIVE) == TWENTY


@pytest.mark.parametrize("seed", range(20))
def test_whichever_clients_are_missing_no_two_sums_are_too_similar(seed: int) -> None:
    """Twenty rounds in which another client is missing each time."""
    opened: list[frozenset[str]] = [TWENTY]
    for number in range(20):
        missing = f"client-{(number * (seed + 1)) % 20 + 1:02}"
        chosen = allowed_cohort(state(*opened), TWENTY - {missing}, RULES_OF_FIVE)
        assert chosen is not None
        assert missing not in chosen
        assert not any(too_similar(chosen, other, 5) for other in opened)
        opened.append(chosen)


def test_where_no_cohort_is_allowed_there_is_none() -> None:
    six = names("abcdef")
    assert allowed_cohort(state(six), six - {"f"}, RULES_OF_FIVE) is None
    assert allowed_cohort(state(six, demands={}), six - {"f"}, RULES_OF_FIVE) == six - {"f"}


@pytest.mark.parametrize(
    ("demands", "least"),
    [
        ({}, 0),
        ({"h1": 7}, 0),
        ({"h1": 0, "h2": 0, "h3": 7}, 0),
        ({"h1": 0, "h2": 7, "h3": 7}, 7),
        ({"h1": 3, "h2": 4, "h3": 1_000_000}, 5),
    ],
    ids=["none attends", "too few to tell", "two report", "two enforce", "one wants more than there are"],
)
def test_what_counts_is_what_enough_key_holders_agree_to(demands: dict[str, int], least: int) -> None:
    assert least_difference(state(demands=demands), replace(RULES_OF_FIVE, threshold=2)) == least


def enforced(phase: s.Phase, present: str, *opened: frozenset[str], **more: bool) -> s.RunState:
    return run(phase, present, opened=opened, demands={"h1": 2, "h2": 2, "h3": 2}, **more)


def test_the_rules_say_who_is_left_out_before_the_sum_is_asked_for() -> None:
    """Two must differ from a, b, c and d: without d, one of the others is left out too."""
    before = enforced(s.Uploading(2, 1, 30.0, names("abc"), names("ab")), "abc", names("abcd"))
    after, commands = r.advance(before, s.SubmissionStored(2, 1, "c"), 1.0, CASE_RULES)
    leave_out, request = commands
    assert isinstance(leave_out, s.LeaveOut)
    assert len(leave_out.clients) == 1
    assert "differ from those of an earlier one by fewer than 2" in leave_out.message
    assert isinstance(request, s.RequestRelease)
    assert after.phase.contributors == 2
    assert after.opened[0] == names("abc") - leave_out.clients


def test_a_round_that_no_cohort_could_end_is_not_opened_and_uses_no_key() -> None:
    waiting = enforced(s.Waiting(2, 1, 0.0, True), "ab", names("abc"), begun=True)
    after, commands = r.advance(waiting, s.Tick(), 1.0, CASE_RULES)
    assert (type(after.phase), commands) == (s.Waiting, ())
    after, commands = r.advance(waiting, s.ClientJoined("c"), 1.0, CASE_RULES)
    assert commands == (s.OpenRound(2, 1, names("abc")),)
    after, _ = r.advance(waiting, s.Tick(), 1000.0, CASE_RULES)
    assert "no 2 or more of them differ from the contributors of every earlier sum by 2 or more" in after.phase.message


def test_an_attempt_whose_clients_cannot_make_an_allowed_sum_is_given_up() -> None:
    before = enforced(s.Uploading(2, 1, 30.0, names("abc"), names("ab")), "ab", names("abc"))
    after, commands = r.advance(before, s.Tick(), 31.0, CASE_RULES)
    assert isinstance(after.phase, s.Waiting)
    assert isinstance(commands[0], s.AbandonAttempt)


async def test_a_run_in_which_a_client_drops_out_ends_with_all_its_rounds_though_holders_enforce(
    tmp_path: Path,
) -> None:
    """Five clients, a difference of two: when client-5 is gone, one of the others is left out; then it comes back."""
    rules = replace(RULES, rounds=4, target=5, round_seconds=5.0, upload_seconds=5.0)
    federation = SpamFederation(tmp_path, rules, clients=5, options=replace(OPTIONS, rule=DifferenceRule.ENFORCE))
    await federation.start()
    await federation.play(lambda: len(federation.run.results) == 1)
    await federation.clients["client-5"].stop()
    await federation.play(lambda: len(federation.run.results) == 3)
    await federation.clients["client-5"].restart()
    await federation.restart_aggregator()
    for holder in federation.holders.values():
        await holder.restart()
    await federation.finish()
    counts = [result.contributors for result in federation.run.results]
    assert counts[:3] == [5, 3, 3]
    assert counts[3] in (3, 5), "client-5 may come too late for the last round"
    cohorts = federation.store.latest_cohorts(10)
    assert not any(too_similar(one, other, 2) for one in cohorts for other in cohorts)
    await federation.close()


def test_holders_that_only_report_have_no_client_left_out() -> None:
    before = run(s.Uploading(2, 1, 30.0, names("abc"), names("ab")), "abc", opened=(names("abcd"),))
    _, commands = r.advance(before, s.SubmissionStored(2, 1, "c"), 1.0, CASE_RULES)
    assert commands == (s.RequestRelease(2, 1, holders("31")),)
