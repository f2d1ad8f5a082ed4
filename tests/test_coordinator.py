"""The coordinator keeps rules, database and streams of one mind, whoever hangs up, dies, lies or fills the disk when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federations import BITS, RUN, SPAM, VALUES, HonestAttempt, SmallFederation
from hall import RULES, Hall, tell
from structlog.testing import capture_logs

from client.participant import Submission
from core.clock import today
from core.errors import Reason, Refused, StorageError
from core.federated import encoding_for
from core.protocol import AttemptId, Timings, digest
from core.secagg.scheme import PublicKey, join_payload
from core.wire import federation_pb2 as pb
from core.wire.messages import commitment_from_bytes, description_from_bytes
from core.wire.streams import model_bytes
from server import states
from server.audience import Outbox
from server.store import Store


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("coordinator") / "federation")
    yield federation
    federation.close()


async def reason(call: Coroutine[Any, Any, object]) -> Reason:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.reason


# ------------------------------------------------------------------------------------------------ honest rounds


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik", "plain"])
def test_two_rounds_give_the_same_models_as_averaging_in_clear(
    federation: SmallFederation, tmp_path: Path, scheme: str
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.finish()
        assert [result.contributors for result in hall.store.history(RUN)] == [3, 3]
        assert len(hall.store.endorsements(RUN, 2)) == 2
        assert hall.refusals == []

    tell(tmp_path, federation, story, scheme=scheme, rules=replace(RULES, rounds=2))


def test_everyone_is_told_that_the_run_is_over(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Finished)
        assert (await hall.coordinator.ended).completed
        hall.collect()
        for name, messages in hall.mail.items():
            assert any(message.HasField("run_ended") for message in messages), name

    tell(tmp_path, federation, story)


def test_the_row_of_the_history_says_what_the_round_cost(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        hall.now += 12.0
        await hall.finish()
        (row,) = hall.store.history(RUN)
        assert (row.round, row.contributors, row.train_seconds, row.encrypt_seconds, row.seconds) == (1, 3, 1, 2, 12)
        assert row.bytes_up_per_client == hall.participants["client-1"].last.header.length  # type: ignore[union-attr]
        assert row.add_seconds > 0.0
        assert row.decrypt_seconds > 0.0
        assert 0.0 <= row.cohort_accuracy == row.accuracy <= 1.0

    tell(tmp_path, federation, story)


def test_with_test_data_each_model_is_judged_on_that(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        vars(hall.coordinator.context)["test_data"] = SPAM.held_out(SPAM.generate_test(0, 3)[:100])
        await hall.gather()
        await hall.finish()
        (row,) = hall.store.history(RUN)
        assert row.cohort_accuracy != row.accuracy
        assert row.accuracy * 100 == pytest.approx(round(row.accuracy * 100))

    tell(tmp_path, federation, story)


def test_a_single_holder_opens_and_endorses_alone(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=3, holders=1, threshold=1)

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.finish()

    tell(tmp_path / "hall", federation, story, rules=replace(RULES, threshold=1, holders=1), scheme="paillier")


def test_the_exposure_that_a_holder_reports_is_in_the_history(federation: SmallFederation, tmp_path: Path) -> None:
    """Client 3 is missing in the second round only; the minimum of 2 is more than that one."""

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play(lambda: len(hall.store.history(RUN)) == 1)
        await hall.leave("client-3")
        await hall.finish()
        first, second = hall.store.history(RUN)
        assert (first.exposure, second.contributors) == ("", 2)
        assert "tells what 1 of the clients sent (client-3)" in second.exposure

    tell(tmp_path, federation, story, rules=replace(RULES, rounds=2))


# ------------------------------------------------------------------------------------------------ twice, late, unasked


def test_what_is_repeated_gets_the_same_receipt_and_counts_once(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        receipts = [await hall.commit("client-1", hall.signed_round()) for _ in range(3)]
        assert [receipt.repeated for receipt in receipts] == [False, True, True]
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        receipts += [await hall.submit("client-1", submission) for _ in range(3)]
        assert [receipt.repeated for receipt in receipts[3:]] == [False, True, True]
        assert {receipt.sha256 for receipt in receipts} == {submission.header.digest}
        assert (await hall.commit("client-1", hall.signed_round())).repeated
        await hall.finish()
        assert (await hall.submit("client-1", submission)).repeated, "even after the round"
        assert await reason(hall.commit("client-1", hall.signed_round())) is Reason.ROUND_NOT_OPEN

    tell(tmp_path, federation, story)


def test_two_uploads_at_once_are_one_update(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        receipts = await asyncio.gather(*(hall.submit("client-1", submission) for _ in range(16)))
        assert sum(not receipt.repeated for receipt in receipts) == 1
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_second_commitment_of_a_client_is_refused(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.commit("client-1", hall.signed_round())
        hall.participants["client-1"] = hall.participant("client-1")  # started anew: it remembers nothing
        assert await reason(hall.commit("client-1", hall.signed_round())) is Reason.DUPLICATE
        await hall.play()
        assert hall.phase.listed == set(federation.clients)

    tell(tmp_path, federation, story, scheme="paillier")


def test_who_has_not_joined_takes_no_part(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather("keyholder-1", "keyholder-2", "client-1", "client-2")
        await hall.play_until(states.Committing)
        assert await reason(hall.commit("client-3", hall.signed_round())) is Reason.NOT_ENROLLED

    tell(tmp_path, federation, story, rules=replace(RULES, target=2))


def test_a_client_of_another_task_is_not_let_in(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        for request in (pb.JoinRequest(task="babi"), pb.JoinRequest(task="spam", task_digest=bytes(32))):
            member = federation.roster.member("client-1")
            assert await reason(hall.clients.join(member, request, Outbox())) is Reason.WRONG_TASK
        assert hall.coordinator.state.present == frozenset()

    tell(tmp_path, federation, story)


def test_before_a_round_is_open_there_is_nothing_to_commit_to(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather("client-1")
        attempt = HonestAttempt(federation, federation.deal(scheme="plain")[0])
        member, signed = federation.roster.member("client-1"), attempt.commitments["client-1"]
        assert await reason(hall.clients.commit(member, signed, Timings(0, 0))) is Reason.ROUND_NOT_OPEN

    tell(tmp_path, federation, story)


def test_who_was_not_chosen_commits_to_nothing(federation: SmallFederation, tmp_path: Path) -> None:
    """Else whoever hears the description from a friend could make a cohort larger than its slots have room for."""

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        (left_out,) = set(federation.clients) - hall.phase.expected
        assert await reason(hall.commit(left_out, hall.signed_round())) is Reason.ROUND_NOT_OPEN
        await hall.finish()
        assert hall.store.history(RUN)[0].contributors == 2

    tell(tmp_path, federation, story, rules=replace(RULES, cohort=2, over_selection=1.0))


def test_over_selection_closes_at_the_wanted_number_and_the_rest_is_refused(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        for name in ("client-3", "client-1"):
            await hall.submit(name, hall.participants[name].last)  # type: ignore[arg-type]
        assert isinstance(hall.phase, states.Releasing)
        late = hall.participants["client-2"].last
        assert await reason(hall.submit("client-2", late)) is Reason.ROUND_NOT_OPEN  # type: ignore[arg-type]
        await hall.finish()
        assert hall.store.history(RUN)[0].contributors == 2

    tell(tmp_path, federation, story, rules=replace(RULES, cohort=2, over_selection=1.5))


def test_a_client_that_stays_away_is_waited_for_until_the_deadline_and_no_longer(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.leave("client-2")
        await hall.play()
        await hall.tick(RULES.round_seconds - 0.1)
        assert isinstance(hall.phase, states.Committing)
        await hall.tick(0.1)
        await hall.play_until(states.Uploading)
        assert hall.phase.listed == {"client-1", "client-3"}
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_client_that_commits_and_does_not_upload_is_left_out_of_the_sum(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        await hall.leave("client-1")
        await hall.play()
        assert isinstance(hall.phase, states.Uploading)
        await hall.tick(RULES.upload_seconds)
        await hall.finish()
        assert hall.store.history(RUN)[0].contributors == 2

    tell(tmp_path, federation, story, scheme="paillier")


def test_too_few_at_the_deadline_begin_again_with_a_fresh_key(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        first = description_from_bytes(hall.signed_round().body)
        await hall.leave("client-1")
        await hall.leave("client-2")
        await hall.play()
        await hall.tick(RULES.round_seconds)
        assert (type(hall.phase), hall.phase.attempt) == (states.Waiting, 2)
        closed = [m.round_closed for m in unread(hall, "client-3") if m.HasField("round_closed")]
        assert [(each.completed, each.attempt) for each in closed] == [(False, 1)]
        await hall.gather("client-1", "client-2")
        await hall.finish()
        second = description_from_bytes(hall.signed_round().body)
        assert second.certificate.serial != first.certificate.serial
        assert second.key.modulus != first.key.modulus

    tell(tmp_path, federation, story, scheme="paillier")


def unread(hall: Hall, name: str) -> list[Any]:
    hall.collect()
    return list(hall.mail[name])


def test_a_late_client_takes_part_and_is_still_expected_after_a_restart(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather(*federation.holders, "client-1", "client-2")
        await hall.play_until(states.Committing)
        await hall.gather("client-3")
        assert hall.store.last_attempt(RUN).expected == set(federation.clients)  # type: ignore[union-attr]
        await hall.restart()
        assert hall.phase.expected == set(federation.clients)
        await hall.finish()
        assert hall.store.history(RUN)[0].contributors == 3

    tell(tmp_path, federation, story, rules=replace(RULES, target=2))


def test_a_client_that_comes_back_while_committing_is_told_whether_it_has_committed(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.commit("client-1", hall.signed_round())
        for name, committed in (("client-1", True), ("client-2", False)):
            await hall.leave(name)
            await hall.gather(name)
            opened = [m.round_opened for m in unread(hall, name) if m.HasField("round_opened")]
            assert [each.committed for each in opened] == [committed]

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ lies


def test_a_wrong_share_is_survived_with_the_third_holder_and_named(federation: SmallFederation, tmp_path: Path) -> None:
    """In round 1 the second and the third are asked; the second lies, so the first is asked too."""

    async def story(hall: Hall) -> None:
        hall.falsify["keyholder-2"] = lambda partial: partial[BITS // 8 :] + partial[: BITS // 8]
        await hall.gather()
        with capture_logs() as logs:
            await hall.finish()
        assert [line["holders"] for line in logs if line["event"] == "wrong share"] == [[2]]
        assert [line["reason"] for line in logs if line["event"] == "not opened"] == ["wrong_share"]
        assert [refusal.reason for _, refusal in hall.refusals] == [Reason.WRONG_SHARE]

    tell(tmp_path, federation, story, scheme="paillier")


@pytest.mark.parametrize(
    "wrong",
    [lambda partial: bytes(len(partial)), lambda partial: b"\xff" * len(partial), lambda partial: partial[:-1]],
    ids=["zeros", "ones", "a byte short"],
)
def test_what_cannot_be_a_share_is_refused_at_once_and_another_holder_asked(
    federation: SmallFederation, tmp_path: Path, wrong: Callable[[bytes], bytes]
) -> None:
    async def story(hall: Hall) -> None:
        hall.falsify["keyholder-3"] = wrong
        await hall.gather()
        await hall.finish()
        (refused,) = hall.refusals
        assert (refused[0], refused[1].reason) in {
            ("keyholder-3", Reason.WRONG_SHARE), ("keyholder-3", Reason.WRONG_LENGTH),
        }  # fmt: skip

    tell(tmp_path, federation, story, scheme="paillier")


def test_two_liars_of_three_can_stop_the_run_and_nothing_else(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        for name in ("keyholder-1", "keyholder-2"):
            hall.falsify[name] = lambda partial: partial[BITS // 8 :] + partial[: BITS // 8]
        await hall.gather()
        await hall.play()
        assert isinstance(hall.phase, states.Releasing)
        await hall.tick(RULES.patience_seconds)
        assert isinstance(hall.phase, states.Failed)
        assert hall.store.model(RUN)[0] == 0

    tell(tmp_path, federation, story, scheme="paillier")


def test_signatures_that_do_not_fit_are_refused_and_count_for_nothing(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        member = federation.roster.member("keyholder-1")
        await hall.gather()
        await hall.play_until(states.Closing)
        id = AttemptId(RUN, 1, 1)
        assert await reason(hall.keys.list_signed(member, id, bytes(64))) is Reason.BAD_SIGNATURE
        assert hall.phase.quorum.answered == frozenset()
        await hall.play_until(states.Endorsing)
        assert await reason(hall.keys.endorsed(member, id, bytes(64))) is Reason.BAD_SIGNATURE
        assert hall.phase.quorum.answered == frozenset()
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_sum_that_no_honest_cohort_has_ends_the_run_without_a_model(
    federation: SmallFederation, tmp_path: Path
) -> None:
    """One client's counter says 2: in the plain twin it can say so without anybody noticing before."""

    async def story(hall: Hall) -> None:
        liar = hall.participants["client-2"]
        honest = liar.answer

        def lies(*arguments: Any) -> Submission:
            made = honest(*arguments)
            payload = join_payload([2 * int.from_bytes(made.payload[i : i + 32], "big") for i in range(0, len(made.payload), 32)], 32)  # fmt: skip
            commitment = replace(commitment_from_bytes(made.commitment.body), digest=digest(payload))
            header = replace(made.header, digest=digest(payload))
            return replace(made, payload=payload, header=header, commitment=federation.sign_commitment(commitment))

        liar.answer = lies  # type: ignore[method-assign]
        await hall.gather()
        await hall.play_until(states.Closing)
        liar._last = lies(description_from_bytes(hall.signed_round().body), hall.signed_round(), None)
        await hall.play()
        assert isinstance(hall.phase, states.Failed)
        assert "cannot be used, nor opened again: the opened sum is not that of the cohort: a counter says 4" in (
            hall.phase.message
        )
        assert not (await hall.coordinator.ended).completed
        assert hall.store.model(RUN)[0] == 0

    tell(tmp_path, federation, story)


@pytest.mark.parametrize("call", ["offer_keys", "decline"])
def test_what_is_meant_for_another_run_is_refused(federation: SmallFederation, tmp_path: Path, call: str) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        before, member, elsewhere = (
            hall.coordinator.state,
            federation.roster.member("keyholder-1"),
            AttemptId("f" * 16, 1, 1),
        )
        calls = {
            "offer_keys": lambda: hall.keys.offer_keys(member, elsewhere, []),
            "decline": lambda: hall.keys.decline(member, elsewhere, Reason.BAD_SUM, "no"),
        }
        assert await reason(calls[call]()) is Reason.ROUND_NOT_OPEN
        assert hall.coordinator.state == before

    tell(tmp_path, federation, story)


def test_answers_for_another_attempt_or_in_another_phase_change_nothing(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        member = federation.roster.member("keyholder-1")
        await hall.gather()
        for phase in (states.Committing, states.Uploading):
            await hall.play_until(phase)
            before = hall.coordinator.state
            for id in (AttemptId(RUN, 1, 1), AttemptId(RUN, 1, 2), AttemptId(RUN, 2, 1), AttemptId("f" * 16, 1, 1)):
                assert hall.keys.partial_bytes(id) is None
                await hall.keys.list_signed(member, id, bytes(64))
                await hall.keys.release(member, id, b"", 0.0, "")
                await hall.keys.endorsed(member, id, bytes(64))
            assert hall.coordinator.state == before
            assert await reason(hall.keys.opened_sum(AttemptId(RUN, 1, 1))) is Reason.ROUND_NOT_OPEN
        await hall.finish()

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ declining, revoking


@pytest.mark.parametrize("phase", [states.Closing, states.Releasing, states.Endorsing])
def test_one_holder_that_declines_is_made_up_for(federation: SmallFederation, tmp_path: Path, phase: type) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(phase)
        member = federation.roster.member("keyholder-2")
        hall.collect()
        hall.mail["keyholder-2"].clear()
        await hall.keys.decline(member, AttemptId(RUN, 1, 1), Reason.WRONG_SUM, "not with me")
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_list_that_two_holders_decline_is_given_up_and_tried_again(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Closing)
        for name in ("keyholder-1", "keyholder-2"):
            hall.collect()
            hall.mail[name].clear()
            await hall.keys.decline(
                federation.roster.member(name), AttemptId(RUN, 1, 1), Reason.COPIED, "two are equal"
            )
        assert (type(hall.phase), hall.phase.attempt) == (states.Waiting, 2)
        assert hall.store.last_attempt(RUN).state == "abandoned"  # type: ignore[union-attr]
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_client_revoked_after_it_committed_is_in_no_sum_and_the_others_go_on(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation")

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Closing)
        federation.revoke("client-2")
        await hall.play()
        assert (type(hall.phase), hall.phase.attempt) == (states.Committing, 2)
        assert [(name, refusal.reason) for name, refusal in hall.refusals] == [("client-2", Reason.REVOKED)]
        await hall.tick(RULES.round_seconds)
        await hall.finish()
        assert hall.store.history(RUN)[0].contributors == 2

    tell(tmp_path / "hall", federation, story)


def test_the_stream_of_a_revoked_party_ends_so_that_nobody_waits_for_it(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation")

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        for name in ("client-3", "keyholder-1"):
            federation.revoke(name)
        hall.now += RULES.round_seconds
        keeping = asyncio.ensure_future(hall.coordinator.keep_time())
        for name in ("client-3", "keyholder-1"):
            async with asyncio.timeout(20):
                assert [message async for message in hall.outboxes[name].messages()], "it comes to its end"
            await hall.leave(name)
        assert hall.coordinator.state.present == {"client-1", "client-2"}
        await hall.finish()
        await keeping

    tell(tmp_path / "hall", federation, story, rules=RULES)


# ------------------------------------------------------------------------------------------------ coming and going


@pytest.mark.parametrize(
    "phase", [states.Waiting, states.Committing, states.Closing, states.Uploading, states.Releasing, states.Endorsing]
)
def test_everyone_may_go_and_come_back_in_any_phase(federation: SmallFederation, tmp_path: Path, phase: type) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(phase)
        for name in list(hall.outboxes):
            await hall.leave(name)
        await hall.gather()
        await hall.finish()

    tell(tmp_path, federation, story)


@pytest.mark.parametrize("phase", [states.Closing, states.Releasing, states.Endorsing])
def test_the_third_holder_stands_in_for_one_that_goes_for_good(
    federation: SmallFederation, tmp_path: Path, phase: type
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(phase)
        await hall.leave("keyholder-3")
        await hall.finish()

    tell(tmp_path, federation, story, scheme="paillier")


def test_a_holder_that_says_nothing_is_made_up_for_after_a_while(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        for phase in (states.Releasing, states.Endorsing):
            await hall.play_until(phase)
            hall.collect()
            hall.mail["keyholder-2"].clear()
            await hall.play(lambda phase=phase: not isinstance(hall.phase, phase))
            await hall.tick(RULES.answer_seconds)
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_second_process_under_the_same_name_is_refused_and_a_reconnection_is_not(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather("client-1", "keyholder-1")
        request = pb.JoinRequest(task="spam", task_digest=hall.participants["client-1"].task_digest)
        client, holder = (federation.roster.member(name) for name in ("client-1", "keyholder-1"))
        assert await reason(hall.clients.join(client, request, Outbox(b"other"))) is Reason.NAME_TAKEN
        assert await reason(hall.keys.attend(holder, Outbox(b"other"))) is Reason.NAME_TAKEN
        old = {name: hall.outboxes[name] for name in ("client-1", "keyholder-1")}
        await hall.gather("client-1", "keyholder-1")
        await hall.clients.leave("client-1", old["client-1"])
        assert not await hall.keys.leave("keyholder-1", old["keyholder-1"])
        assert hall.coordinator.state.present == {"client-1"}, "the end of the old connection came after the new one"
        assert hall.coordinator.state.holders == {"keyholder-1"}
        await hall.leave("client-1")
        await hall.leave("keyholder-1")
        assert hall.coordinator.state.present == hall.coordinator.state.holders == frozenset()

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ restarts


@pytest.mark.parametrize("phase", ["committing", "closing", "uploading", "releasing", "endorsing"])
@pytest.mark.parametrize("scheme", ["paillier", "plain"])
def test_a_restart_in_any_phase_goes_on_where_the_store_says(
    federation: SmallFederation, tmp_path: Path, phase: str, scheme: str
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play(lambda: getattr(hall.store.last_attempt(RUN), "state", "") == phase)
        before = hall.signed_round()
        await hall.restart()
        assert type(hall.phase).__name__.lower() == phase
        assert hall.signed_round() == before
        await hall.finish()
        assert hall.signed_round() == before, "the same attempt was completed"

    tell(tmp_path, federation, story, scheme=scheme)


def test_a_restart_after_any_message_of_two_rounds_loses_nothing_and_counts_nothing_twice(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        while not isinstance(hall.phase, states.Finished):
            await hall.play(most=3)  # some others' messages are lost with the connection
            committed = (
                {p.client: p.digest for p in hall.coordinator.attempt.listed()} if hall.coordinator.attempt else {}
            )
            await hall.restart()
            if hall.coordinator.attempt is not None:
                kept = {part.client: part.digest for part in hall.coordinator.attempt.listed()}
                assert committed.items() <= kept.items(), "what was acknowledged is there"
            await hall.play(most=5)
        await hall.finish()
        assert hall.store.last_attempt(RUN).id == AttemptId(RUN, 2, 1), "no attempt was given up"  # type: ignore[union-attr]

    tell(tmp_path, federation, story, rules=replace(RULES, rounds=2))


def test_after_a_restart_holders_may_be_missing_and_come_one_by_one(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Releasing)
        await hall.restart("client-1")
        await hall.play()
        assert isinstance(hall.phase, states.Releasing)
        for name in ("keyholder-3", "keyholder-1"):
            await hall.gather(name)
            await hall.play()
        await hall.finish()

    tell(tmp_path, federation, story, scheme="paillier")


def test_a_restart_after_an_abandoned_attempt_goes_on_with_the_next(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.tick(RULES.round_seconds)
        await hall.restart()
        assert (hall.phase.round, hall.phase.attempt) == (1, 2)
        await hall.finish()

    tell(tmp_path, federation, story)


def test_a_restart_between_two_rounds_begins_the_next(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play(lambda: len(hall.store.history(RUN)) == 1)
        await hall.restart()
        assert (type(hall.phase), hall.phase.round, hall.phase.attempt) == (states.Waiting, 2, 1)
        assert len(hall.coordinator.results) == 1
        await hall.finish()

    tell(tmp_path, federation, story, rules=replace(RULES, rounds=2))


def test_a_restart_after_the_last_round_ends_the_run_for_those_who_come_back(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.finish()
        assert not hall.coordinator.ended_before_start
        await hall.restart("client-1")
        assert hall.coordinator.ended_before_start
        assert [m.WhichOneof("notice") for m in unread(hall, "client-1")][:2] == ["welcome", "run_ended"]

    tell(tmp_path, federation, story)


def test_a_clock_that_jumps_between_restarts_closes_nothing(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        for jump in (2 * 86400.0, -4 * 86400.0):
            hall.now += jump
            await hall.restart()
            await hall.tick(RULES.round_seconds - 1.0)
            assert isinstance(hall.phase, states.Committing)
        await hall.finish()

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ hanging up


class Gate:
    """Holds the first call of a function of the store up, in the worker thread, until the test lets it go on."""

    def __init__(self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.calls, self._open = False, 0, threading.Event()
        function = getattr(store, name)

        def held(*arguments: Any, **named: Any) -> Any:
            self.reached = True
            assert self._open.wait(20)
            self.calls += 1
            return function(*arguments, **named)

        monkeypatch.setattr(store, name, held)

    def open(self) -> None:
        self._open.set()


@pytest.mark.parametrize(
    ("function", "phase"),
    [
        ("open_attempt", states.Waiting),
        ("add_commitment", states.Committing),
        ("set_state", states.Committing),
        ("announce_list", states.Closing),
        ("add_payload", states.Uploading),
        ("keep_opened", states.Releasing),
        ("complete_attempt", states.Endorsing),
    ],
)
def test_a_caller_that_hangs_up_while_the_store_is_at_work_leaves_nothing_half_done(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, phase: type
) -> None:
    """The step goes on to its end; the caller, who does not know, repeats it."""

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(phase)
        gate = Gate(hall.store, function, monkeypatch)
        while not gate.reached:
            hall.collect()
            name = next(name for name, messages in hall.mail.items() if messages)
            message = hall.mail[name].popleft()
            call = asyncio.ensure_future(hall.deliver(name, message))
            while not (gate.reached or call.done()):
                await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert gate.calls == 0
        gate.open()
        async with hall.coordinator.step():
            assert gate.calls >= 1, "nobody waits for the step, and it is at its end all the same"
        await hall.deliver(name, message)
        await hall.finish()

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ a full disk


def test_a_full_disk_at_any_write_loses_nothing_that_was_acknowledged(
    federation: SmallFederation, tmp_path: Path
) -> None:
    """The first write fails, then the second, ...: callers are told to try again, or the process stops and starts."""
    stopped = []

    def full_at(which: int) -> Callable[[Hall], Coroutine[Any, Any, None]]:
        async def story(hall: Hall) -> None:
            real, writes = hall.store._database.commit, 0

            def commit() -> Any:
                nonlocal writes
                writes += 1
                if writes == which:
                    raise StorageError("the disk is full")
                return real()

            hall.store._commit = commit  # type: ignore[method-assign]
            for name in (*hall.holders, *hall.participants):
                with suppress(StorageError):
                    await hall.gather(name)
                if name not in hall.coordinator.audience.holders | hall.coordinator.audience.clients:  # type: ignore[operator]
                    await hall.gather(name)
            await hall.play(lambda: hall.coordinator.ended.done())
            if hall.coordinator.ended.done() and hall.coordinator.ended.exception():
                assert isinstance(hall.coordinator.ended.exception(), StorageError)
                assert "start the aggregator again when this is fixed" in str(hall.coordinator.ended.exception())
                stopped.append(which)
                await hall.restart()
            await hall.finish()
            assert hall.store.history(RUN)[0].contributors == 2
            nothing_more.append(writes < which)

        return story

    nothing_more: list[bool] = []
    which = 0
    while not any(nothing_more):
        which += 1
        tell(tmp_path / str(which), federation, full_at(which), rules=replace(RULES, target=2, max_cohort=2))  # fmt: skip
    assert which > 10
    assert len(stopped) >= 5, "opening, closing, announcing, fixing, keeping or completing it"


def test_no_room_for_an_opened_sum_stops_the_process_and_a_restart_opens_the_same(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(hall: Hall) -> None:
        def full(*_: object) -> None:
            raise StorageError("the disk is full")

        await hall.gather()
        await hall.play_until(states.Releasing)
        monkeypatch.setattr(hall.store, "keep_opened", full)
        await hall.play(hall.coordinator.ended.done)
        assert isinstance(hall.coordinator.ended.exception(), StorageError)
        assert hall.store.last_attempt(RUN).state == "releasing"  # type: ignore[union-attr]
        await hall.restart()
        await hall.finish()

    tell(tmp_path, federation, story, scheme="paillier")


def test_a_disk_that_cannot_be_read_stops_the_process_and_not_the_run(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Closing)

        def broken(*_: object) -> None:
            raise StorageError("the disk is broken")

        monkeypatch.setattr(hall.store, "endorsements", broken)
        await hall.play_until(states.Releasing)
        assert isinstance(hall.coordinator.ended.exception(), StorageError)
        assert hall.store.unfinished_run() is not None
        await hall.restart()
        await hall.finish()

    tell(tmp_path, federation, story)


# ------------------------------------------------------------------------------------------------ time, ends, watchers


def test_time_alone_closes_a_round(federation: SmallFederation, tmp_path: Path) -> None:
    """Nobody ticks by hand: the coordinator wakes at the deadline, and ends when the run does."""

    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        for name in ("client-1", "client-2"):
            await hall.commit(name, hall.signed_round())
        keeping = asyncio.ensure_future(hall.coordinator.keep_time())
        hall.now += RULES.round_seconds
        await hall.leave("client-3")  # anything that happens wakes it
        while not isinstance(hall.phase, states.Closing):
            await asyncio.sleep(0)
        await hall.finish()
        await keeping

    tell(tmp_path, federation, story)


def test_a_run_is_over_only_when_its_results_are_written(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.finish()
        assert hall.store.unfinished_run() is not None
        hall.coordinator.refusals[Reason.DUPLICATE] += 2
        await hall.coordinator.conclude()
        assert hall.store.unfinished_run() is None
        assert hall.store._database.all("SELECT reason, count FROM refusals") == [("duplicate", 2)]
        assert not hall.coordinator.refusals

    tell(tmp_path, federation, story)


def test_a_watcher_is_told_every_result_once(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        early = hall.coordinator.watch()
        await hall.gather()
        await hall.play(lambda: len(hall.store.history(RUN)) == 1)
        middle = hall.coordinator.watch()
        await hall.finish()
        late = hall.coordinator.watch()
        for watcher in (early, middle, late):
            told = [result.round async for progress in watcher.messages() for result in progress.results]
            assert told == [1, 2]
        assert late.ended, "the stream of one who comes after the end is over"
        assert late.pending == 0

    tell(tmp_path, federation, story, rules=replace(RULES, rounds=2))


def test_progress_says_who_is_there_and_what_is_waited_for(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        watcher = hall.coordinator.watch()
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.commit("client-1", hall.signed_round())
        seen = [progress for _ in range(watcher.pending) if (progress := watcher.take()) is not None]
        first, last = seen[0], seen[-1]
        assert (first.phase, first.present, first.holders) == ("waiting", 0, 0)
        assert (last.phase, last.round, last.attempt, last.present, last.holders) == ("committing", 1, 1, 3, 3)
        assert (last.received, last.expected, last.sentence) == (1, 3, "waiting for updates: 1 of 3 ready")

    tell(tmp_path, federation, story)


def test_models_of_all_rounds_can_be_asked_for_with_their_endorsements(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.finish()
        for asked, found in ((None, 1), (1, 1), (0, 0), (None, 1)):
            number, raw, endorsements = await hall.coordinator.model(asked)
            assert (number, raw) == (found, model_bytes(hall.store.model(RUN, found)[1]))
            if found:
                federation.verifier().verify_endorsements(RUN, 1, digest(raw), endorsements)
            else:
                assert endorsements == ()
        assert await reason(hall.coordinator.model(2)) is Reason.NO_MODEL

    tell(tmp_path, federation, story)


def test_what_holders_offered_for_one_attempt_does_not_count_for_the_next(
    federation: SmallFederation, tmp_path: Path
) -> None:
    """By then they may have used those keys, or be gone."""

    async def story(hall: Hall) -> None:
        def choose() -> object:
            return hall.coordinator._executor.offers.choose(2, "plain", BITS, federation.verifier(), today())

        await hall.gather(*federation.holders)
        await hall.play()
        assert choose() is not None
        await hall.gather(*federation.clients)
        assert isinstance(hall.phase, states.Committing)
        assert choose() is None

    tell(tmp_path, federation, story)


def test_what_the_aggregator_signs_fits_its_own_settings(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        description = federation.verifier().verify_round(hall.signed_round())
        assert (description.id, description.task, description.seed) == (AttemptId(RUN, 1, 1), "spam", 0)
        assert (description.min_cohort, description.deadline_seconds) == (2, 120.0)
        assert description.encoding == encoding_for(SPAM, VALUES, PublicKey("plain", BITS).plaintext_bits, 8)
        federation.verifier().verify_key(description.signed_certificate, today())

    tell(tmp_path, federation, story)


def test_refusals_that_find_no_room_on_the_disk_are_counted_later(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(hall: Hall) -> None:
        def full(*_: object) -> None:
            raise StorageError("the disk is full")

        hall.coordinator.refusals[Reason.DUPLICATE] += 2
        with monkeypatch.context() as patch:
            patch.setattr(hall.store, "count_refusals", full)
            assert await hall.coordinator.all_refusals() == {}
        assert await hall.coordinator.all_refusals() == {"duplicate": 2}
        await hall.gather()
        await hall.finish()

    tell(tmp_path, federation, story)
