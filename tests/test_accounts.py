"""What key holders remember of clients: a budget that got older, and what each client has spent in all runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import pytest
from asking import restarted
from federations import ID, POLICY, RUN, HonestAttempt, SmallFederation
from in_process import OPTIONS, RULES, SpamFederation
from private_attempts import OTHER, PRIVACY, private_round
from refusals import refused_with

from client.memory import Memory
from core.errors import Reason, Refused
from core.protocol import Head, digest
from server import states
from server.budget import spent_in_all
from server.refused_clients import RefusedClients
from server.report import report
from server.settings import RunSettings

LIMITED = replace(POLICY, max_epsilon=7.0)
"""Two rounds of a noise multiplier of 1 fit, at an epsilon of 6.57; three do not."""
FIRST, SECOND = "client-1", "client-2"


@pytest.fixture
def federation(tmp_path):
    federation = SmallFederation(tmp_path / "federation")
    yield federation
    federation.close()


def with_memory(attempt: HonestAttempt, client: str, number: int, content: bytes = b"") -> HonestAttempt:
    """Let one client's commitment carry this entry of its budget."""
    commitment = replace(attempt.commitment(client), memory=Head(number, digest(content)))
    attempt.commitments[client] = attempt.federation.sign_commitment(commitment)
    return attempt


def test_a_holder_refuses_a_client_whose_budget_is_older_than_it_was_and_names_it(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h")
    holder.sign_list(with_memory(private_round(federation), FIRST, 7).list_order())
    holder = restarted(federation, holder, tmp_path / "h")
    sentence = f"the budget of {FIRST} is older than it was in an earlier commitment, or another one: restore"
    for number, content in ((6, b""), (1, b""), (7, b"another")):
        with refused_with(Reason.STALE_MEMORY, sentence) as refused:
            holder.sign_list(with_memory(private_round(federation, run=OTHER), FIRST, number, content).list_order())
        assert refused.value.clients == (FIRST,)


@pytest.mark.parametrize("number", [7, 8, 100])
def test_a_holder_takes_the_same_entry_or_a_newer_one(federation, tmp_path, number):
    holder = federation.key_holder(1, tmp_path / "h")
    holder.sign_list(with_memory(private_round(federation), FIRST, 7).list_order())
    holder.sign_list(
        with_memory(private_round(federation, run=OTHER), FIRST, number, b"" if number == 7 else b"x").list_order()
    )


def test_a_holder_remembers_a_client_from_the_request_if_it_signed_no_list(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", policy=LIMITED)
    attempt = private_round(federation)
    holder.ledger.accounts.saw(LIMITED, attempt.description, [attempt.commitment(FIRST)])
    holder.ledger.record_model(ID, bytes(32))  # the next entry makes it durable
    assert restarted(federation, holder, tmp_path / "h").ledger.accounts.spent(FIRST) == pytest.approx(1.0)


def test_a_holder_refuses_the_round_that_brings_a_client_beyond_its_limit_over_all_runs(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", policy=LIMITED)
    for number, run in enumerate(("a" * 16, "b" * 16), start=1):
        attempt = private_round(federation, run=run)
        for client in attempt.commitments:
            with_memory(attempt, client, number, run.encode())
        holder.sign_list(attempt.list_order())
        holder.sign_list(attempt.list_order())  # asked again
    third = private_round(federation, run="c" * 16)
    for client in third.commitments:
        with_memory(third, client, 3)
    with refused_with(Reason.BUDGET_SPENT, f"would bring {FIRST}, .* beyond an epsilon of 7 at delta 1e-05") as refused:
        holder.sign_list(third.list_order())
    assert refused.value.clients == tuple(third.commitments)
    assert holder.ledger.accounts.spent(FIRST) == pytest.approx(2.0)


def test_attempts_at_a_round_are_charged_once_by_a_holder_too(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", policy=LIMITED)
    for attempt in (1, 2, 3):
        holder.sign_list(private_round(federation, attempt=attempt).list_order())
    assert holder.ledger.accounts.spent(FIRST) == pytest.approx(1.0)


def test_a_holder_with_a_limit_signs_no_list_of_a_round_without_privacy(federation, tmp_path):
    limited = federation.key_holder(1, tmp_path / "h", policy=replace(LIMITED, max_epsilon=1e6))
    with refused_with(Reason.BUDGET_SPENT):
        limited.sign_list(private_round(federation, noise=0).list_order())
    assert limited.ledger.accounts.spent(FIRST) == 0
    other = federation.key_holder(2, tmp_path / "h2")
    other.sign_list(private_round(federation, noise=0).list_order())
    assert other.ledger.accounts.spent(FIRST) == inf


# ------------------------------------------------------------------------------------------------ the aggregator


def test_a_client_is_left_out_when_too_few_holders_are_left_that_would_sign_with_it():
    clients, refusal = RefusedClients(enough=2), Refused(Reason.STALE_MEMORY, "why")
    clients.name("keyholder-1", [FIRST], refusal)
    clients.name("keyholder-1", [FIRST], refusal)
    clients.require_welcome(FIRST)
    clients.name("keyholder-2", [FIRST, SECOND], refusal)
    clients.require_welcome(SECOND)
    with refused_with(Reason.STALE_MEMORY, "why"):
        clients.require_welcome(FIRST)


async def played(federation: SpamFederation) -> SpamFederation:
    try:
        await federation.start()
        await federation.play()
        await federation.conclude()
    finally:
        await federation.close()
    return federation


async def test_a_client_that_lost_its_budget_is_left_out_and_says_what_to_do_and_the_others_go_on(tmp_path):
    rules = replace(RULES, min_cohort=2)
    first = await played(SpamFederation(tmp_path, rules, scheme="paillier"))
    memories = first.memories | {FIRST: Memory()}
    second = await played(
        SpamFederation(tmp_path, rules, options=replace(OPTIONS, memories=memories), scheme="paillier")
    )
    assert second.phase == states.Finished()
    assert {each.contributors for each in second.results} == {2}
    error = second.clients[FIRST].error
    assert isinstance(error, Refused)
    assert error.reason is Reason.STALE_MEMORY
    assert "restore the newest copy of" in str(error)
    assert "or enrol under another name" in str(error)


async def test_clients_that_kept_their_budgets_take_part_in_the_next_run(tmp_path):
    first = await played(SpamFederation(tmp_path, RULES, scheme="paillier"))
    second = await played(
        SpamFederation(tmp_path, RULES, options=replace(OPTIONS, memories=first.memories), scheme="paillier")
    )
    assert {each.contributors for each in second.results} == {3}
    budget = second.memories[FIRST].budget.own
    assert (budget.rounds, budget.runs) == (2 * RULES.rounds, 2)


# ------------------------------------------------------------------------------------------------ the report


def test_the_report_has_what_the_client_that_took_part_most_has_spent_in_all_runs(federation):
    rounds = [private_round(federation, run=run).signed.body for run in ("a" * 16, "b" * 16)]
    said = spent_in_all([(rounds[0], [FIRST, SECOND]), (rounds[1], [SECOND])], 1e-5)
    assert said.startswith(f"{SECOND} has taken part in 2 rounds of 2 runs and spent an epsilon of 6.573 in all")
    words = report(RUN, RunSettings(privacy=PRIVACY), federation.roster, [], Counter(), "", said)
    assert f"- over all runs in this aggregator's database: {said}" in words


def test_the_report_says_so_when_a_round_in_the_database_had_no_privacy(federation):
    body = private_round(federation, noise=0).signed.body
    assert "no epsilon bounds what it has spent" in spent_in_all([(body, [FIRST])], 1e-5)
    assert spent_in_all([], 1e-5) == ""
