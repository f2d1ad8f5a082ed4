"""What clients send twice, late, unasked or never: each update counts once, and no client is waited for without end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from in_process import RULES, SpamFederation, Start
from refusals import refused_with

from client.session import commit_call, submit_call
from core.errors import Reason
from core.protocol import Signed
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask
from core.wire.messages import description_from_bytes, signed_commitment_to_wire
from server import states
from server.rounds.cohort import RETURN_SECONDS

ALL = {"client-1", "client-2", "client-3"}


def receipts(federation: SpamFederation, name: str) -> list[pb.Receipt]:
    contents = [each.content for each in federation.messages if each.receiver == name]
    return [content for content in contents if isinstance(content, pb.Receipt)]


# ------------------------------------------------------------------------------------------------ twice


async def test_what_is_repeated_gets_the_same_receipt_and_counts_once(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    submission = federation.submission("client-1")
    commit, submit = commit_call(submission), submit_call(submission)
    repeated = [await federation.call("client-1", commit) for _ in range(2)]
    await federation.play_until(states.Uploading)
    await federation.settle("client-1")
    repeated += [await federation.call("client-1", call) for call in (submit, submit, commit)]
    first = receipts(federation, "client-1")
    assert [receipt.repeated for receipt in first + repeated] == [False] * 2 + [True] * 5
    assert {receipt.sha256 for receipt in first + repeated} == {submission.header.digest}
    await federation.finish()
    assert (await federation.call("client-1", submit)).repeated, "even after the round"
    with refused_with(Reason.ROUND_NOT_OPEN):
        await federation.call("client-1", commit)


async def test_two_uploads_at_once_are_one_update(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    submit = submit_call(federation.submission("client-1"))
    uploads = await asyncio.gather(*(federation.call("client-1", submit) for _ in range(16)))
    assert sum(not receipt.repeated for receipt in uploads) == 1
    await federation.finish()


async def test_a_second_commitment_of_a_client_is_refused(start: Start) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    with refused_with(Reason.DUPLICATE):
        await federation.call("client-1", commit_call(await federation.another_submission("client-1")))
    await federation.play_until(states.Uploading)
    assert federation.phase.listed == ALL
    await federation.finish()


async def test_a_client_that_is_started_again_does_not_commit_twice(start: Start) -> None:
    """It remembers nothing, and learns that this round has its commitment."""
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    await federation.clients["client-1"].restart()
    await federation.settle()
    assert federation.phase.listed == ALL
    assert federation.refusals == []
    await federation.pass_time(RULES.upload_seconds)
    await federation.finish()
    assert federation.run.results[0].contributors == 2, "what it committed to is gone with its first process"


# ------------------------------------------------------------------------------------------------ unasked


async def test_who_has_not_joined_takes_no_part(start: Start) -> None:
    federation = await start(replace(RULES, target=2), absent=["client-3"])
    await federation.play_until(states.Committing)
    with refused_with(Reason.NOT_ENROLLED):
        await federation.call("client-3", commit_call(await federation.another_submission("client-3")))


async def test_a_client_of_another_task_is_not_let_in(start: Start) -> None:
    federation = await start(gather=False)
    for request in (
        pb.JoinRequest(task="babi"),
        pb.JoinRequest(task="chess"),
        pb.JoinRequest(task="spam", task_digest=bytes(32)),
    ):
        request.instance = bytes(16)
        with refused_with(Reason.WRONG_TASK):
            await federation.aggregator.subscribe(federation.identities["client-1"], Ask("Join", request))
    assert federation.run.state.present == frozenset()


async def test_before_a_round_is_open_there_is_nothing_to_commit_to(start: Start) -> None:
    federation = await start(gather=False)
    await federation.gather("client-1")
    commitment = signed_commitment_to_wire(Signed(b"anything", bytes(64)))
    with refused_with(Reason.ROUND_NOT_OPEN):
        await federation.call("client-1", Ask("Commit", pb.CommitRequest(commitment=commitment)))


async def test_who_was_not_chosen_commits_to_nothing(start: Start) -> None:
    """Otherwise a client that hears the description from another could make a cohort larger than its slots have room for."""
    federation = await start(replace(RULES, cohort=2, over_selection=1.0))
    await federation.play_until(states.Committing)
    (left_out,) = ALL - federation.phase.expected
    with refused_with(Reason.ROUND_NOT_OPEN):
        await federation.call(left_out, commit_call(await federation.another_submission(left_out)))
    await federation.finish()
    assert federation.run.results[0].contributors == 2


# ------------------------------------------------------------------------------------------------ late or never


async def test_over_selection_closes_at_the_wanted_number_and_the_rest_is_refused(start: Start) -> None:
    federation = await start(replace(RULES, cohort=2, over_selection=1.5))
    await federation.play_until(states.Uploading)
    await federation.settle("client-3")
    await federation.settle("client-1")
    assert isinstance(federation.phase, states.Releasing)
    with refused_with(Reason.ROUND_NOT_OPEN):
        await federation.call("client-2", submit_call(federation.submission("client-2")))
    await federation.finish()
    assert federation.run.results[0].contributors == 2
    assert federation.clients["client-2"].error is None, "its upload was too late, which ends nothing"


async def test_a_client_that_is_gone_is_waited_for_as_long_as_a_restart_takes_and_no_longer(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.clients["client-2"].stop()
    await federation.settle()
    await federation.pass_time(RETURN_SECONDS - 0.1)
    assert isinstance(federation.phase, states.Committing)
    await federation.pass_time(0.1)
    await federation.settle(until=lambda: isinstance(federation.phase, states.Uploading))
    assert federation.phase.listed == {"client-1", "client-3"}
    await federation.finish()


async def test_a_client_that_commits_and_does_not_upload_is_left_out_of_the_sum(start: Start) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Uploading)
    await federation.clients["client-1"].stop()
    await federation.settle()
    assert isinstance(federation.phase, states.Uploading)
    await federation.pass_time(RULES.upload_seconds)
    await federation.finish()
    assert federation.run.results[0].contributors == 2


async def test_too_few_at_the_deadline_begin_again_with_a_fresh_key(start: Start) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Committing)
    first = description_from_bytes(federation.signed_round().body)
    for name in ("client-1", "client-2"):
        await federation.clients[name].stop()
    await federation.settle()
    await federation.pass_time(RULES.round_seconds)
    assert (type(federation.phase), federation.phase.attempt) == (states.Waiting, 2)
    await federation.settle("client-3")
    closed = federation.pushed_to("client-3", "round_closed")
    assert [(each.completed, each.attempt) for each in closed] == [(False, 1)]
    for name in ("client-1", "client-2"):
        await federation.clients[name].restart()
    await federation.finish()
    second = description_from_bytes(federation.signed_round().body)
    assert second.certificate.serial != first.certificate.serial
    assert second.key.modulus != first.key.modulus


async def test_a_late_client_takes_part_and_is_still_expected_after_a_restart(start: Start) -> None:
    federation = await start(replace(RULES, target=2), absent=["client-3"])
    await federation.play_until(states.Committing)
    await federation.clients["client-3"].restart()
    await federation.gather("client-3")
    assert federation.store.last_attempt(federation.run.context.id).expected == ALL  # type: ignore[union-attr]
    await federation.restart_aggregator()
    assert federation.phase.expected == ALL
    await federation.finish()
    assert federation.run.results[0].contributors == 3


@pytest.mark.parametrize(("name", "committed"), [("client-1", True), ("client-2", False)])
async def test_a_client_that_comes_back_while_committing_learns_whether_it_has_committed(
    start: Start, name: str, committed: bool
) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    await federation.party(name).hang_up()
    await federation.settle(name)
    assert federation.pushed_to(name, "round_opened")[-1].committed is committed


# ------------------------------------------------------------------------------------------------ time


async def test_time_alone_closes_a_round(start: Start) -> None:
    """Nothing ticks by hand: the run wakes at the deadline, and its clock ends when the run does."""
    federation = await start()
    await federation.play_until(states.Committing)
    for name in ("client-1", "client-2"):
        await federation.settle(name)
    keeping = asyncio.ensure_future(federation.run.keep_time())
    federation.now += RULES.round_seconds
    await federation.clients["client-3"].stop()  # anything that happens wakes it
    while not isinstance(federation.phase, states.Closing):
        await asyncio.sleep(0)
    await federation.finish()
    await keeping
