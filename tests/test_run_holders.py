"""Key holders that lie, decline or say nothing: the others make up for them, and no wrong model comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from in_process import BITS, MADE_UP, RULES, Start, decline, with_payload
from refusals import refused_with
from structlog.testing import capture_logs

from client.participant import Submission
from core.errors import Reason
from core.identity import signing
from core.protocol import AttemptId, Signed, digest
from core.secagg.scheme import join_payload, split_payload
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Download, Upload
from core.wire.messages import commitment_from_bytes, commitment_to_bytes
from server import states
from server.rules import RoundRules

ANSWERS = {states.Closing: "SignList", states.Releasing: "Release", states.Endorsing: "EndorseModel"}
"""What holders answer with in the phases that wait for them."""


def named(id: AttemptId) -> dict[str, Any]:
    return {"run": id.run, "round": id.round, "attempt": id.attempt}


def swapped(call: Call) -> Call:
    """Exchange the first two numbers of a share, and leave its proof as it is."""
    size = BITS // 8
    return with_payload(call, lambda answer: answer[size : 2 * size] + answer[:size] + answer[2 * size :])


# ------------------------------------------------------------------------------------------------ lies


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
@pytest.mark.parametrize("rules", [RULES, replace(RULES, threshold=3, holders=4)], ids=["2 of 3", "3 of 4"])
async def test_a_wrong_share_is_named_though_only_t_answered_and_another_holder_opens_the_sum(
    start: Start, scheme: str, rules: RoundRules
) -> None:
    """In round 1 t holders from the second on are asked; the second lies, so the first is asked too."""
    federation = await start(scheme=scheme, rules=rules)
    federation.altered["keyholder-2"] = swapped
    with capture_logs() as logs:
        await federation.finish()
    wrong = [(line["holder"], line["reason"]) for line in logs if line["event"] == "wrong share"]
    assert wrong == [("keyholder-2", "wrong_share")]
    assert federation.refusals == [("keyholder-2", Reason.WRONG_SHARE)]
    assert [line for line in logs if line["event"] == "not opened"] == []
    openings = [line["holders"] for line in logs if line["event"] == "opening"]
    assert [len(asked) for asked in openings] == [rules.threshold, 1]
    assert openings[1] == ["keyholder-1"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda partial: bytes(len(partial)), Reason.WRONG_SHARE),
        (lambda partial: b"\xff" * len(partial), Reason.WRONG_SHARE),
        (lambda partial: partial[:-1], Reason.WRONG_LENGTH),
    ],
    ids=["zeros", "ones", "a byte short"],
)
async def test_what_cannot_be_a_share_is_refused_at_once_and_another_holder_asked(
    start: Start, wrong: Callable[[bytes], bytes], reason: Reason
) -> None:
    federation = await start(scheme="paillier")
    federation.altered["keyholder-3"] = lambda call: with_payload(call, wrong)
    await federation.finish()
    assert federation.refusals == [("keyholder-3", reason)]


async def test_two_liars_of_three_can_stop_the_run_and_nothing_else(start: Start) -> None:
    federation = await start(scheme="paillier")
    federation.altered = {"keyholder-1": swapped, "keyholder-2": swapped}
    with capture_logs() as logs:
        await federation.settle()
    assert {line["holder"] for line in logs if line["event"] == "wrong share"} == {"keyholder-1", "keyholder-2"}
    assert isinstance(federation.phase, states.Failed)
    assert federation.store.model(federation.run.context.id)[0] == 0


async def test_signatures_that_do_not_fit_are_refused_and_count_for_nothing(start: Start) -> None:
    federation = await start()
    for phase, message in ((states.Closing, pb.ListSignature), (states.Endorsing, pb.ModelEndorsement)):
        await federation.play_until(phase)
        with refused_with(Reason.BAD_SIGNATURE):
            forged = message(**federation.named(), signature=bytes(64), ledger=MADE_UP)
            await federation.call("keyholder-1", Ask(ANSWERS[phase], forged))
        assert federation.phase.quorum.answered == frozenset()
    await federation.finish()


async def test_a_sum_that_no_honest_cohort_has_ends_the_run_without_a_model(start: Start) -> None:
    """One client's counter says 2: in the plain twin it can say so, and it is noticed only in the opened sum."""
    federation = await start()
    liar = federation.clients["client-2"].session.participant
    honest, key = liar.answer, federation.identities["client-2"].signing

    def lies(*arguments: Any) -> Submission:
        made = honest(*arguments)
        payload = join_payload([2 * each for each in split_payload(made.payload, len(made.payload) // 32, 32)], 32)
        body = commitment_to_bytes(replace(commitment_from_bytes(made.commitment.body), digest=digest(payload)))
        liar._last = replace(
            made,
            payload=payload,
            header=replace(made.header, digest=digest(payload)),
            commitment=Signed(body, key.sign(signing.COMMITMENT, body)),
        )
        return liar._last

    liar.answer = lies  # type: ignore[method-assign]
    await federation.settle()
    assert isinstance(federation.phase, states.Failed)
    expected = "cannot be used, nor opened again: the opened sum is not that of the cohort: a counter says 4"
    assert expected in federation.phase.message
    assert not (await federation.run.ended).completed
    assert federation.store.model(federation.run.context.id)[0] == 0


# ------------------------------------------------------------------------------------------------ late, unasked


@pytest.mark.parametrize("method", ["OfferKeys", "DeclineTask"])
async def test_what_is_meant_for_another_run_is_refused(start: Start, method: str) -> None:
    federation = await start()
    before, elsewhere = federation.run.state, AttemptId("f" * 16, 1, 1)
    calls = {"OfferKeys": Ask("OfferKeys", pb.KeyOffer(**named(elsewhere))), "DeclineTask": decline(elsewhere)}
    with refused_with(Reason.ROUND_NOT_OPEN):
        await federation.call("keyholder-1", calls[method])
    assert federation.run.state == before


async def test_answers_for_another_attempt_or_in_another_phase_change_nothing(start: Start) -> None:
    federation = await start()
    elsewhere = AttemptId("f" * 16, 1, 1)
    for phase in (states.Committing, states.Uploading):
        await federation.play_until(phase)
        before = federation.run.state
        for id in (federation.id(), federation.id(attempt=2), federation.id(round_number=2), elsewhere):
            late = pb.ReleaseRequest(header=pb.ReleaseHeader(**named(id), sha256=digest(b"")))
            for call in (
                Ask("SignList", pb.ListSignature(**named(id), signature=bytes(64), ledger=MADE_UP)),
                Ask("SignRequest", pb.RequestSignature(**named(id), signature=bytes(64), ledger=MADE_UP)),
                Upload("Release", late, b""),
                Ask("EndorseModel", pb.ModelEndorsement(**named(id), signature=bytes(64), ledger=MADE_UP)),
            ):
                assert await federation.call("keyholder-1", call) == pb.Accepted()
        assert federation.run.state == before
        with refused_with(Reason.ROUND_NOT_OPEN):
            fetch = Download("FetchOpenedSum", pb.OpenedSumRequest(**federation.named()), limit=1 << 20)
            await federation.call("keyholder-1", fetch)
    await federation.finish()


# ------------------------------------------------------------------------------------------------ declining


@pytest.mark.parametrize("phase", ANSWERS)
async def test_one_holder_that_declines_is_made_up_for(start: Start, phase: type[states.Phase]) -> None:
    federation = await start()
    declined = []

    def declines(call: Call) -> Call:
        if call.method != ANSWERS[phase]:
            return call
        declined.append(call)
        return decline(federation.id())

    federation.altered["keyholder-2"] = declines
    await federation.finish()
    assert len(declined) == 1


async def test_a_list_that_two_holders_decline_is_given_up_and_tried_again(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Closing)
    for name in ("keyholder-1", "keyholder-2"):
        await federation.call(name, decline(federation.id(), Reason.COPIED, "two are equal"))
    assert (type(federation.phase), federation.phase.attempt) == (states.Waiting, 2)
    assert federation.store.last_attempt(federation.run.context.id).state == "abandoned"  # type: ignore[union-attr]
    await federation.finish()


@pytest.mark.parametrize("phase", ANSWERS)
async def test_the_third_holder_stands_in_for_one_that_goes_for_good(start: Start, phase: type[states.Phase]) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(phase)
    await federation.holders["keyholder-3"].stop()
    await federation.finish()


async def test_a_holder_that_says_nothing_is_made_up_for_after_a_while(start: Start) -> None:
    """The second and the third are asked for their shares; the first is asked when the second stays silent."""
    federation = await start()
    await federation.play_until(states.Releasing)
    vocal = [party.name for party in federation.parties if party.name != "keyholder-2"]
    await federation.settle(*vocal)
    assert isinstance(federation.phase, states.Releasing)
    await federation.pass_time(RULES.answer_seconds)
    await federation.settle(*vocal)
    assert isinstance(federation.phase, states.Endorsing), "the second is silent here too"
    await federation.pass_time(RULES.answer_seconds)
    await federation.settle(*vocal)
    assert federation.phase == states.Finished()
    await federation.finish()


# ------------------------------------------------------------------------------------------------ revoked members


async def test_a_client_revoked_after_it_committed_is_in_no_sum_and_the_others_go_on(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Closing)
    federation.revoke("client-2")
    await federation.finish()
    assert federation.refusals == [("client-2", Reason.REVOKED)]
    assert federation.store.last_attempt(federation.run.context.id).id == federation.id(attempt=2)  # type: ignore[union-attr]
    assert federation.run.results[0].contributors == 2


async def test_the_stream_of_a_revoked_party_ends_so_that_it_is_not_waited_for(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    revoked = ("client-3", "keyholder-1")
    for name in revoked:
        federation.revoke(name)
    seats = federation.run.audience.clients | federation.run.audience.holders  # type: ignore[operator]
    federation.now += RULES.round_seconds
    keeping = asyncio.ensure_future(federation.run.keep_time())
    async with asyncio.timeout(20):
        while not all(seats[name].ended for name in revoked):
            await asyncio.sleep(0)
    for name in revoked:
        await federation.settle(name)
        assert federation.party(name).error.reason is Reason.REVOKED  # type: ignore[union-attr]
    assert federation.run.state.present == {"client-1", "client-2"}
    await federation.finish()
    await keeping
