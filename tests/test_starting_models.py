"""A model is the start of one round ever: holders open one sum from it, clients contribute to it in one round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from asking import open_sum, restarted
from federations import ID, RUN, VALUES, HonestAttempt, SmallFederation
from in_process import OPTIONS, RULES, SpamFederation
from refusals import refused_with

from client.memory import Memory
from core.errors import Reason, Refused, StorageError
from core.federated import initial_model
from core.protocol import AttemptId, ClosedList, ModelOrigin, digest
from core.tasks.spam import SPAM
from keyholder.difference import DifferenceRule
from server import states
from server.recovery import begin
from server.settings import RunSettings, Start
from server.store import Store

OTHER = "f" * 16
MODEL = digest(b"model")
FRESH = replace(OPTIONS, start=Start.FRESH)


@pytest.fixture
def federation(tmp_path: Path):
    federation = SmallFederation(tmp_path / "federation")
    yield federation
    federation.close()


def in_another_run(federation: SmallFederation, model: np.ndarray | None = None) -> HonestAttempt:
    """Round 1 of another run: from the task's initial model, or from one that RUN is said to have made in round 9."""
    start = None if model is None else ModelOrigin(RUN, 9)
    return HonestAttempt(federation, federation.deal()[0], id=replace(ID, run=OTHER), model=model, start=start)


# ------------------------------------------------------------------------------------------------ key holders


def test_a_holder_opens_no_second_sum_from_a_model_and_says_what_to_do(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", rule=DifferenceRule.OFF)
    first = HonestAttempt(federation, federation.deal()[0])
    open_sum(holder, first.release_order(), first.fetch)
    holder = restarted(federation, holder, tmp_path / "h")
    second = in_another_run(federation)
    with refused_with(
        Reason.MODEL_USED, f"opened before, in round 1 of run {RUN}; start the aggregator with the state"
    ):
        holder.sign_list(second.list_order())
    continued = in_another_run(federation, np.ones(VALUES))
    assert open_sum(holder, continued.release_order(), continued.fetch).partial


def test_a_list_signed_before_another_sum_from_its_model_was_opened_is_not_opened(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", rule=DifferenceRule.OFF)
    one, other = HonestAttempt(federation, federation.deal()[0]), in_another_run(federation)
    for attempt in (other, one):  # the list that is signed last is the one whose share is kept
        holder.sign_list(attempt.list_order())
    open_sum(holder, one.release_order(), one.fetch)
    with refused_with(Reason.MODEL_USED):
        open_sum(holder, other.release_order(), other.fetch)
    assert open_sum(holder, one.release_order(), one.fetch).partial, "the first one is answered again"


def test_a_second_attempt_at_the_same_round_may_be_opened_if_the_first_was_not(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h")
    first, second = (HonestAttempt(federation, federation.deal()[0], attempt=attempt) for attempt in (1, 2))
    holder.sign_list(first.list_order())
    assert open_sum(holder, second.release_order(), second.fetch).partial


def test_the_ledger_itself_keeps_a_model_to_one_release(federation, tmp_path):
    holder = federation.key_holder(1, tmp_path / "h", passes=[Reason.TOO_SIMILAR])
    record = holder.ledger.record_release
    answer = open_sum(holder, (first := HonestAttempt(federation, federation.deal()[0])).release_order(), first.fetch)
    model = first.description.model_digest
    with refused_with(Reason.MODEL_USED):
        record(AttemptId(OTHER, 1, 1), 99, digest(b"request"), answer, ["a"], model)
    record(AttemptId(OTHER, 1, 1), 99, digest(b"request"), answer, ["a"], MODEL)


# ------------------------------------------------------------------------------------------------ clients


def committed(client, attempt):
    """What a client answers to a round, with the list that has it."""
    client.verify_model(client.verify(attempt.signed), attempt.model, attempt.lineage)
    submission = client.answer(attempt.description, attempt.signed, attempt.model)
    digests = (digest(submission.commitment.body), *attempt.commitment_digests()[1:])
    signatures = attempt.federation.list_signatures(attempt.digest, digests)
    return submission, ClosedList(1, attempt.id.attempt, attempt.digest, digests, signatures)


def test_a_client_contributes_to_a_model_in_one_round_only_though_it_is_started_again(federation, tmp_path):
    memory = Memory(tmp_path / "memory")
    client, first = federation.participant(1, memory=memory), HonestAttempt(federation, federation.deal()[0])
    submission, closed = committed(client, first)
    client.verify_list(closed, submission)
    client.record_contribution(submission)
    memory.close()

    memory = Memory(tmp_path / "memory")
    again = federation.participant(1, memory=memory, run=OTHER)
    second, other = in_another_run(federation), in_another_run(federation, np.ones(VALUES))
    with refused_with(
        Reason.MODEL_USED, f"has contributed to the starting model of round 1 before, in round 1 of run {RUN}"
    ):
        again.verify_model(again.verify(second.signed), second.model, ())
    again.verify_model(again.verify(other.signed), other.model, other.lineage)
    memory.close()


def test_a_client_may_contribute_to_another_attempt_at_the_same_round(federation):
    client = federation.participant(1)
    for attempt in (1, 2):
        submission, closed = committed(client, HonestAttempt(federation, federation.deal()[0], attempt=attempt))
        client.verify_list(closed, submission)
        client.record_contribution(submission)


def test_a_client_that_committed_to_two_rounds_from_a_model_uploads_to_one(federation):
    memory = Memory()
    client, other = federation.participant(1, memory=memory), federation.participant(1, memory=memory, run=OTHER)
    one, two = committed(client, HonestAttempt(federation, federation.deal()[0])), None
    two = committed(other, in_another_run(federation))
    client.record_contribution(one[0])
    with refused_with(Reason.MODEL_USED):
        other.verify_list(two[1], two[0])


def test_a_commitment_alone_uses_up_nothing(federation):
    memory = Memory()
    committed(federation.participant(1, memory=memory), HonestAttempt(federation, federation.deal()[0]))
    assert committed(federation.participant(1, memory=memory, run=OTHER), in_another_run(federation))


def test_a_client_takes_part_in_one_run_at_a_time(federation):
    client = federation.participant(1)
    client.enrolled(RUN)
    with refused_with(Reason.ANOTHER_RUN, f"now leads the run {OTHER}, and this client takes part in {RUN}"):
        client.enrolled(OTHER)


def test_two_processes_of_a_client_do_not_share_its_memory(tmp_path):
    memory = Memory(tmp_path)
    with pytest.raises(StorageError, match="in use by another client; stop that one first"):
        Memory(tmp_path)
    memory.close()
    Memory(tmp_path).close()


# ------------------------------------------------------------------------------------------------ a second run


async def played(folder: Path, **arguments) -> SpamFederation:
    federation = SpamFederation(folder, replace(RULES, rounds=2), **arguments)
    try:
        await federation.start()
        await federation.play()
        await federation.conclude()
    finally:
        await federation.close()
    return federation


async def test_a_second_run_by_the_same_parties_continues_from_the_last_model(tmp_path):
    """Two runs of two rounds; the second one's first round starts from the model of the first one's last."""
    first = await played(tmp_path, scheme="paillier")
    second = await played(tmp_path, scheme="paillier", options=replace(OPTIONS, memories=first.memories))
    assert [federation.phase for federation in (first, second)] == [states.Finished()] * 2
    store = Store(tmp_path / "server")
    one, two = first.run.context.id, second.run.context.id
    assert store.start_of(two) == ModelOrigin(one, 2)
    assert store.start_of(one) is None
    assert np.array_equal(store.model(two, 0)[1], store.model(one, 2)[1])
    assert not np.array_equal(store.model(two, 1)[1], store.model(one, 1)[1])
    store.close()


async def test_a_second_run_from_the_initial_model_is_refused_by_the_clients_that_remember(tmp_path):
    first = await played(tmp_path)
    second = SpamFederation(tmp_path, RULES, options=replace(FRESH, memories=first.memories))
    await second.start()
    await second.play(lambda: all(party.over for party in second.clients.values()))
    reasons = {party.error.reason for party in second.clients.values() if isinstance(party.error, Refused)}
    assert reasons == {Reason.MODEL_USED}
    await second.close()


async def test_a_second_run_from_the_initial_model_is_refused_by_the_holders_too(tmp_path):
    first = await played(tmp_path)
    forgetful = {name: Memory(budget=memory.budget) for name, memory in first.memories.items()}
    second = SpamFederation(tmp_path, RULES, options=replace(FRESH, memories=forgetful))
    await second.start()
    await second.play(lambda: second.over)
    assert isinstance(second.phase, states.Failed)
    assert "starts from a model from which a sum was opened before" in second.phase.message
    await second.close()


def test_a_run_of_another_task_does_not_continue(tmp_path):
    store, settings = Store(tmp_path), RunSettings("spam", "plain", insecure_demo_keys=True)
    first = begin(store, settings, SPAM)
    assert store.start_of(first) is None
    store.end_run(first, completed=False, message="it was too short")
    assert store.start_of(begin(store, settings, SPAM)) is None, "no round was completed"
    assert np.array_equal(store.model(first, 0)[1], initial_model(SPAM, 0))
    store.close()
