"""A run in which nothing goes wrong: its models, its history, and its status during the run and at the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from in_process import BITS, OPTIONS, RULES, Start
from recomputation import SPAM, VALUES
from refusals import refused_with

from client.session import submit_call
from core.clock import today
from core.errors import Reason, StorageError
from core.federated import encoding_for
from core.protocol import digest
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call
from core.wire.streams import model_bytes
from server import states
from server.audience import Told, Watcher

TWO_ROUNDS = replace(RULES, rounds=2)

# ------------------------------------------------------------------------------------------------ models


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik", "plain"])
@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (2, 3), (3, 3)])
async def test_no_scheme_and_no_number_of_holders_changes_a_bit_of_the_model(
    start: Start, scheme: str, threshold: int, holders: int
) -> None:
    federation = await start(replace(TWO_ROUNDS, threshold=threshold, holders=holders), scheme=scheme)
    await federation.finish()
    assert [result.contributors for result in federation.run.results] == [3, 3]
    assert len(federation.store.endorsements(federation.run.context.id, 2)) == threshold
    assert federation.refusals == []


async def test_without_a_target_a_run_begins_when_no_other_client_comes(start: Start) -> None:
    federation = await start(replace(RULES, target=None, gather_seconds=1.0), clients=4)
    await federation.settle()
    assert isinstance(federation.phase, states.Waiting)
    await federation.pass_time(0.9)
    assert isinstance(federation.phase, states.Waiting)
    await federation.pass_time(0.1)
    await federation.settle(until=lambda: isinstance(federation.phase, states.Committing))
    await federation.finish()
    assert federation.run.results[0].contributors == 4


async def test_models_of_all_rounds_can_be_fetched_with_their_endorsements(start: Start) -> None:
    federation = await start()
    await federation.finish()
    run = federation.run.context.id
    for asked, found in ((None, 1), (1, 1), (0, 0), (None, 1)):
        number, raw, endorsements = await federation.run.model(asked)
        assert (number, raw) == (found, model_bytes(federation.store.model(run, found)[1]))
        if found:
            federation.verifier.verify_endorsements(run, 1, digest(raw), endorsements)
        else:
            assert endorsements == ()
    with refused_with(Reason.NO_MODEL):
        await federation.run.model(2)


async def test_what_the_aggregator_signs_fits_its_own_settings(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    description = federation.verifier.verify_round(federation.signed_round())
    assert (description.id, description.task, description.seed) == (federation.id(), "spam", 0)
    assert (description.min_cohort, description.deadline_seconds) == (2, 120.0)
    assert description.encoding == encoding_for(SPAM, VALUES, PublicKey("plain", BITS).plaintext_bits, 8)
    federation.verifier.verify_key(description.signed_certificate, today())


async def test_keys_offered_for_one_attempt_do_not_count_for_the_next(start: Start) -> None:
    """By then the holders may have used those keys, or be gone."""
    clients = ("client-1", "client-2", "client-3")
    federation = await start(absent=clients)

    def choose() -> object:
        return federation.run._executor.offers.choose(2, "plain", BITS, federation.verifier, today())

    await federation.settle()
    assert choose() is not None
    for name in clients:
        await federation.party(name).restart()
    await federation.gather()
    assert isinstance(federation.phase, states.Committing)
    assert choose() is None


# ------------------------------------------------------------------------------------------------ the history


async def test_the_row_of_the_history_says_what_the_round_cost(start: Start) -> None:
    def timed(call: Call) -> Call:
        if isinstance(call, Ask) and isinstance(call.message, pb.CommitRequest):
            commitment = call.message.commitment
            return Ask("Commit", pb.CommitRequest(commitment=commitment, train_seconds=1.0, encrypt_seconds=2.0))
        return call

    federation = await start()
    federation.altered = dict.fromkeys(federation.clients, timed)
    await federation.play_until(states.Uploading)
    federation.now += 12.0
    await federation.finish()
    (row,) = federation.run.results
    assert (row.round, row.contributors, row.train_seconds, row.encrypt_seconds, row.seconds) == (1, 3, 1, 2, 12)
    upload = submit_call(federation.submission("client-1"))
    assert row.bytes_up_per_client == upload.header.ByteSize() + len(upload.payload)
    assert row.add_seconds > 0.0
    assert row.decrypt_seconds > 0.0
    assert 0.0 <= row.cohort_accuracy == row.accuracy <= 1.0


async def test_with_test_data_each_model_is_judged_on_that(start: Start) -> None:
    test_data = SPAM.held_out(SPAM.generate_test(0, 3)[:100])
    federation = await start(options=replace(OPTIONS, test_data=test_data))
    await federation.finish()
    (row,) = federation.run.results
    assert row.cohort_accuracy != row.accuracy
    assert row.accuracy * 100 == pytest.approx(round(row.accuracy * 100))


async def test_the_exposure_that_a_holder_reports_is_in_the_history(start: Start) -> None:
    """Client 3 is missing in the second round only; the minimum of 2 is more than that one."""
    federation = await start(TWO_ROUNDS)
    await federation.play(lambda: len(federation.run.results) == 1)
    await federation.clients["client-3"].stop()
    await federation.finish()
    first, second = federation.run.results
    assert (first.exposure, second.contributors) == ("", 2)
    assert "tells what 1 of the clients sent (client-3)" in second.exposure


# ------------------------------------------------------------------------------------------------ the end


async def test_every_party_learns_that_the_run_is_over(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Finished)
    assert (await federation.run.ended).completed
    await federation.play()
    for party in federation.parties:
        assert party.session.ending is not None, party.name
        assert [ended.completed for ended in federation.pushed_to(party.name, "run_ended")] == [True]


async def test_a_run_is_over_only_when_its_results_are_written(start: Start) -> None:
    federation = await start()
    await federation.finish()
    assert federation.store.unfinished_run() is not None
    federation.run.refusals[Reason.DUPLICATE] += 2
    await federation.conclude()
    assert federation.store.unfinished_run() is None
    assert federation.store._database.all("SELECT reason, count FROM refusals") == [("duplicate", 2)]
    assert not federation.run.refusals


async def test_refusals_that_find_no_room_on_the_disk_are_counted_later(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    federation = await start()
    federation.run.refusals[Reason.DUPLICATE] += 2
    with monkeypatch.context() as patch:
        patch.setattr(federation.store, "count_refusals", full)
        assert await federation.run.all_refusals() == {}
    assert await federation.run.all_refusals() == {"duplicate": 2}
    await federation.finish()


# ------------------------------------------------------------------------------------------------ watchers


async def announced(watcher: Any) -> list[int]:
    return [result.round async for progress in watcher.messages() for result in progress.results]


async def test_a_watcher_gets_every_result_once(start: Start) -> None:
    federation = await start(TWO_ROUNDS)
    early = federation.run.watch()
    await federation.play(lambda: len(federation.run.results) == 1)
    middle = federation.run.watch()
    await federation.finish()
    late = federation.run.watch()
    assert [await announced(watcher) for watcher in (early, middle, late)] == [[1, 2]] * 3
    assert late.ended, "the stream of one who comes after the end is over"
    assert late.take() is None


async def test_progress_says_who_is_there_and_what_is_waited_for(start: Start) -> None:
    federation = await start(gather=False)
    watcher = federation.run.watch()
    first = watcher.take()
    await federation.gather()
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    last = watcher.take()
    assert first is not None
    assert last is not None, "all changes come together"
    assert watcher.take() is None
    assert (first.phase, first.present, first.holders) == ("waiting", 0, 0)
    assert (last.phase, last.round, last.attempt, last.present, last.holders) == ("committing", 1, 1, 3, 3)
    assert (last.received, last.expected, last.sentence) == (1, 3, "waiting for updates: 1 of 3 ready")


async def test_what_changes_in_a_pause_comes_in_one_message_and_the_end_at_once() -> None:
    told: list[int] = []

    def news(_told: Told) -> pb.Progress:
        told.append(len(told))
        return pb.Progress(round=len(told))

    watcher = Watcher(news)
    messages = watcher.messages(pause=3600)
    assert (await anext(messages)).round == 1
    waiting = asyncio.ensure_future(anext(messages))
    for _ in range(3):
        watcher.notify()
        await asyncio.sleep(0)
    assert told == [0], "nothing is built before it can be sent"
    watcher.close()
    assert (await waiting).round == 2
    with pytest.raises(StopAsyncIteration):
        await anext(messages)
