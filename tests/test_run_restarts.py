"""Parties come and go, and the aggregator is restarted, in every phase: nothing is lost and nothing counts twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from in_process import RULES, SpamFederation, Start, another_start
from refusals import refused_with

from core.errors import Reason
from server import states

pytestmark = pytest.mark.slow

TWO_ROUNDS = replace(RULES, rounds=2)
PHASES = [
    states.Waiting, states.Committing, states.Closing, states.Uploading, states.Releasing, states.Endorsing,
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ coming and going


@pytest.mark.parametrize("phase", PHASES)
async def test_everyone_may_go_and_come_back_in_any_phase(start: Start, phase: type[states.Phase]) -> None:
    federation = await start()
    await federation.play_until(phase)
    for party in federation.parties:
        await party.hang_up()
    assert federation.run.state.present == federation.run.state.holders == frozenset()
    await federation.finish()


async def test_a_second_process_under_the_same_name_is_refused_and_a_reconnection_is_not(start: Start) -> None:
    federation = await start(gather=False)
    await federation.gather("client-1", "keyholder-1")
    client, holder = federation.party("client-1"), federation.party("keyholder-1")
    other = {
        client: federation.new_client(client.identity).subscription(),
        holder: another_start(holder.identity),
    }
    again = []
    for party in (client, holder):
        with refused_with(Reason.NAME_TAKEN):
            await federation.aggregator.subscribe(party.identity, other[party])
        again.append(await federation.aggregator.subscribe(party.identity, party.session.subscription()))
        await party.hang_up()
    state = federation.run.state
    assert state.present == {"client-1"}, "the end of the old connection came after the new one"
    assert set(federation.run.audience.holders) == {"keyholder-1"}
    for stream in again:
        await stream.close()
    assert federation.run.state.present == frozenset()
    assert federation.run.audience.holders == {}


# ------------------------------------------------------------------------------------------------ restarts


@pytest.mark.parametrize("phase", ["committing", "closing", "uploading", "releasing", "endorsing"])
@pytest.mark.parametrize("scheme", ["paillier", "plain"])
async def test_a_restart_in_any_phase_goes_on_where_the_store_says(start: Start, phase: str, scheme: str) -> None:
    federation = await start(scheme=scheme)
    run = federation.run.context.id
    await federation.play(lambda: getattr(federation.store.last_attempt(run), "state", "") == phase)
    before = federation.signed_round()
    await federation.restart_aggregator()
    assert type(federation.phase).__name__.lower() == phase
    assert federation.signed_round() == before
    await federation.finish()
    assert federation.signed_round() == before, "the same attempt was completed"


def acknowledged(federation: SpamFederation) -> dict[str, bytes]:
    """The commitments of the open attempt that the aggregator has acknowledged, by client."""
    attempt = federation.run.attempt
    return {} if attempt is None else {part.client: part.digest for part in attempt.listed()}


async def test_restarts_every_few_messages_of_two_rounds_lose_nothing_and_count_nothing_twice(start: Start) -> None:
    federation = await start(TWO_ROUNDS)
    restarts = 0
    while not federation.over:
        for _ in range(50):  # half of the parties lose what was pushed to them and not read
            await federation.step()
        committed = acknowledged(federation)
        await federation.restart_aggregator()
        restarts += 1
        if federation.run.attempt is not None:
            assert committed.items() <= acknowledged(federation).items(), "what was acknowledged is there"
    await federation.finish()
    assert restarts > 5
    last = federation.store.last_attempt(federation.run.context.id)
    assert last is not None
    assert last.id == federation.id(round_number=2), "no attempt was given up"


async def test_after_a_restart_holders_may_be_missing_and_come_one_by_one(start: Start) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Releasing)
    await federation.restart_aggregator()
    await federation.settle("client-1")
    assert isinstance(federation.phase, states.Releasing)
    await federation.settle("keyholder-3")
    assert isinstance(federation.phase, states.Releasing), "one share of two"
    await federation.settle("keyholder-3", "keyholder-1")
    assert federation.phase == states.Finished()
    await federation.finish()


async def test_a_restart_after_an_abandoned_attempt_goes_on_with_the_next(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.pass_time(RULES.round_seconds)
    await federation.restart_aggregator()
    assert (federation.phase.round, federation.phase.attempt) == (1, 2)
    await federation.finish()


async def test_a_restart_between_two_rounds_begins_the_next(start: Start) -> None:
    federation = await start(TWO_ROUNDS)
    await federation.play(lambda: len(federation.run.results) == 1)
    await federation.restart_aggregator()
    assert (type(federation.phase), federation.phase.round, federation.phase.attempt) == (states.Waiting, 2, 1)
    assert len(federation.run.results) == 1
    await federation.finish()


async def test_a_restart_after_the_last_round_ends_the_run_for_those_who_come_back(start: Start) -> None:
    federation = await start()
    await federation.finish()
    assert not federation.run.ended_before_start
    await federation.restart_aggregator()
    assert federation.run.ended_before_start
    client = federation.clients["client-1"]
    await client.restart()
    federation.messages.clear()
    await federation.settle("client-1")
    pushed = [each.content for each in federation.messages if each.receiver == "client-1"]
    assert [notice.WhichOneof("notice") for notice in pushed] == ["welcome", "run_ended"]
    assert "its data was not used" in client.session.ending


async def test_a_clock_that_jumps_between_restarts_closes_nothing(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    for jump in (2 * 86400.0, -4 * 86400.0):
        await federation.restart_aggregator(away=jump)
        await federation.pass_time(RULES.round_seconds - 1.0)
        assert isinstance(federation.phase, states.Committing)
    for party in federation.parties:
        party.ready_at = federation.now  # their own clocks did not jump
    await federation.finish()
