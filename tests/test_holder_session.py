"""What a key holder says next, for each task, reply and refusal; a full disk is waited out, and costs no attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from federations import HonestAttempt, SmallFederation, small_federation

from core.errors import GrokfedError, Reason, Refused, RunFailedError, StorageError
from core.protocol import digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Download, converse
from core.wire.holder_messages import holder_signatures_to_wire
from core.wire.messages import round_to_wire, signed_commitment_to_wire
from core.wire.streams import model_bytes, model_chunks, payload_chunks, read_chunks
from keyholder.connection import run_session
from keyholder.holder import KeyHolder
from keyholder.session import HolderSession

ENDED = pb.HolderTask(run_ended=pb.RunEnded(completed=True, sentence="that is all"))


class Aggregator:
    """Stands for the connection: pushes tasks, and records what it receives."""

    address = "nowhere:1"

    def __init__(self, *tasks: pb.HolderTask) -> None:
        self.tasks = tasks
        self.received: list[tuple[str, Any]] = []

    def subscribe(self, _call: Ask) -> Iterator[pb.HolderTask]:
        yield from (*self.tasks, ENDED)

    def carry(self, call: Ask) -> None:
        self.received.append((call.method, call.message))


class FullDisk:
    """A key holder's method that finds the disk full a number of times, and then works."""

    def __init__(self, works: Callable[..., Any], times: float) -> None:
        self.calls = 0
        self._works = works
        self._times = times

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls <= self._times:
            raise StorageError("no room on the disk")
        return self._works(*arguments)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _seconds: None)


federation = small_federation()


@pytest.fixture
def holder(federation: SmallFederation, tmp_path: Any) -> KeyHolder:
    return federation.key_holder(1, tmp_path / "holder")


def started(federation: SmallFederation, holder: KeyHolder) -> HolderSession:
    """Let two others vouch for the holder's start; then it serves."""
    session = HolderSession(holder)
    for task in federation.vouches(session.agreement.start, federation.holders[1:]):
        converse(session.answer(task), lambda _call: pb.Accepted())
    return session


def serve(aggregator: Aggregator, federation: SmallFederation, holder: KeyHolder) -> str:
    return run_session(aggregator, started(federation, holder))  # type: ignore[arg-type]


def close_list(attempt: HonestAttempt) -> pb.HolderTask:
    commitments = [signed_commitment_to_wire(signed) for signed in attempt.commitments.values()]
    lineage = holder_signatures_to_wire(attempt.lineage)
    message = pb.CloseList(round=round_to_wire(attempt.signed), commitments=commitments, endorsements=lineage)
    return pb.HolderTask(close_list=message)


def test_an_empty_task_says_that_it_is_heard_and_the_holder_that_it_serves(
    federation: SmallFederation, holder: KeyHolder
) -> None:
    aggregator = Aggregator(pb.HolderTask())
    assert serve(aggregator, federation, holder) == "that is all"
    assert [method for method, _ in aggregator.received] == ["Serve"]


def test_a_full_disk_is_waited_out_and_the_task_done(
    federation: SmallFederation, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = FullDisk(holder.sign_list, times=3)
    monkeypatch.setattr(holder, "sign_list", sign)
    aggregator = Aggregator(close_list(HonestAttempt(federation, federation.deal()[0])))
    serve(aggregator, federation, holder)
    assert (sign.calls, [name for name, _ in aggregator.received]) == (4, ["SignList"])


def test_a_disk_that_stays_full_is_a_reason_to_decline_and_not_to_end(
    federation: SmallFederation, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyholder.connection.DISK_SECONDS", 0.0)
    monkeypatch.setattr(holder, "sign_list", FullDisk(holder.sign_list, times=float("inf")))
    aggregator = Aggregator(close_list(HonestAttempt(federation, federation.deal()[0])))
    assert serve(aggregator, federation, holder) == "that is all"
    ((name, decline),) = aggregator.received
    assert (name, decline.reason) == ("DeclineTask", Reason.STORAGE)


def test_a_disk_that_is_full_while_keys_are_looked_up_offers_none_this_time(
    federation: SmallFederation, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "unused_keys", FullDisk(holder.unused_keys, times=1))
    need = pb.HolderTask(need_key=pb.NeedKey(run="0" * 16, round=1, attempt=1, scheme="paillier", bits=256))
    aggregator = Aggregator(need, need)
    serve(aggregator, federation, holder)
    assert [name for name, _ in aggregator.received] == ["OfferKeys"]


# ------------------------------------------------------------------------------------------------ what it says next


class Conducted:
    """A session whose calls are noted and answered from an honest attempt, or refused as set for a method."""

    def __init__(self, holder: KeyHolder, attempt: HonestAttempt) -> None:
        self.session = started(attempt.federation, holder)
        self.attempt = attempt
        self.refusals: dict[str, Reason] = {}
        self.calls: list[Any] = []

    def hear(self, task: pb.HolderTask) -> list[Any]:
        """Let the session answer a task, and return the calls it made."""
        self.calls.clear()
        converse(self.session.answer(task), self._carry)
        return list(self.calls)

    def _carry(self, call: Any) -> object:
        self.calls.append(call)
        if call.method in self.refusals:
            raise Refused(self.refusals[call.method], "refused by the test")
        return self._fetched(call) if isinstance(call, Download) else pb.Accepted()

    def _fetched(self, call: Download) -> object:
        attempt = self.attempt
        if call.method == "FetchModel":
            return read_chunks(model_chunks(model_bytes(attempt.model), attempt.id.run, 0, ()), limit=call.limit)
        if call.method == "FetchSubmissions":
            return self.updates([attempt.payloads[client] for client in call.message.clients])  # type: ignore[attr-defined]
        return pb.PayloadHeader(), attempt.opened().to_bytes(attempt.description.key)

    def updates(self, payloads: list[bytes]) -> tuple[pb.PayloadHeader, bytes]:
        """The answer to a call for updates."""
        return pb.PayloadHeader(parts=map(len, payloads)), b"".join(payloads)


def open_sum(attempt: HonestAttempt) -> pb.HolderTask:
    order = attempt.release_order()
    message = pb.OpenSum(
        list=close_list(attempt).close_list,
        signatures=holder_signatures_to_wire(order.signatures),
        contributors=order.contributors,
        sum_digest=order.sum_digest,
    )
    return pb.HolderTask(open_sum=message)


def endorse(attempt: HonestAttempt) -> pb.HolderTask:
    model = model_bytes(attempt.next_model(attempt.opened(), 3))
    return pb.HolderTask(endorse=pb.Endorse(order=open_sum(attempt).open_sum, model_digest=digest(model)))


TASKS = {"SignList": close_list, "SignRequest": open_sum, "EndorseModel": endorse}
FETCHES = {
    "SignList": [],
    "SignRequest": ["FetchSubmissions"],
    "EndorseModel": ["FetchSubmissions", "FetchOpenedSum", "FetchModel"],
}


@pytest.fixture
def attempt(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal(scheme="plain")[0])


@pytest.fixture
def conducted(holder: KeyHolder, attempt: HonestAttempt) -> Conducted:
    return Conducted(holder, attempt)


def methods(calls: list[Any]) -> list[str]:
    return [call.method for call in calls]


@pytest.mark.parametrize("answer", TASKS)
def test_a_task_is_answered_after_what_it_needs_is_fetched(conducted: Conducted, answer: str) -> None:
    calls = conducted.hear(TASKS[answer](conducted.attempt))
    assert methods(calls) == [*FETCHES[answer], answer]
    for call in calls:
        if call.method == "FetchSubmissions":
            assert list(call.message.clients) == ["client-1", "client-2", "client-3"]


@pytest.mark.parametrize(("change", "fetched"), [(0.0, []), (1.0, ["FetchModel"])])
def test_only_a_model_that_a_holder_has_not_computed_itself_is_fetched(
    federation: SmallFederation, conducted: Conducted, change: float, fetched: list[str]
) -> None:
    first = conducted.attempt
    assert methods(conducted.hear(endorse(first)))[-3:] == ["FetchOpenedSum", "FetchModel", "EndorseModel"]
    computed = first.next_model(first.opened(), 3)
    key = federation.deal(scheme="plain")[0]
    conducted.attempt = HonestAttempt(federation, key, round_number=2, model=computed + change)
    calls = methods(conducted.hear(endorse(conducted.attempt)))
    assert calls == ["FetchSubmissions", "FetchOpenedSum", *fetched, "EndorseModel"]


@pytest.mark.parametrize("answer", TASKS)
def test_a_task_of_a_round_that_the_aggregator_did_not_sign_is_declined(conducted: Conducted, answer: str) -> None:
    attempt = conducted.attempt
    attempt.signed = replace(attempt.signed, signature=bytes(64))
    (decline,) = conducted.hear(TASKS[answer](attempt))
    assert (decline.method, decline.message.reason) == ("DeclineTask", Reason.DESCRIPTION_SIGNATURE)
    assert [kind for _, kind, _ in conducted.session.holder.ledger.entries()] == ["start"]


@pytest.mark.parametrize("answer", ["SignRequest", "EndorseModel"])
def test_a_task_whose_update_cannot_be_fetched_is_declined(conducted: Conducted, answer: str) -> None:
    conducted.refusals["FetchSubmissions"] = Reason.ROUND_NOT_OPEN
    calls = conducted.hear(TASKS[answer](conducted.attempt))
    assert methods(calls) == ["FetchSubmissions", "DeclineTask"]
    assert calls[-1].message.reason == Reason.ROUND_NOT_OPEN


def test_an_opened_sum_that_comes_along_is_not_fetched(conducted: Conducted) -> None:
    task, attempt = endorse(conducted.attempt), conducted.attempt
    task.endorse.opened.extend(payload_chunks(attempt.opened().to_bytes(attempt.description.key)))
    assert methods(conducted.hear(task)) == ["FetchSubmissions", "FetchModel", "EndorseModel"]


def test_an_opened_sum_that_comes_along_is_checked_like_one_that_is_fetched(conducted: Conducted) -> None:
    task, attempt = endorse(conducted.attempt), conducted.attempt
    raw = bytearray(attempt.opened().to_bytes(attempt.description.key))
    raw[-1] ^= 1
    task.endorse.opened.extend(payload_chunks(bytes(raw)))
    assert conducted.hear(task)[-1].message.reason == Reason.WRONG_OPENING
    del task.endorse.opened[:]
    task.endorse.opened.extend(payload_chunks(bytes(len(raw) + 1)))
    assert conducted.hear(task)[-1].message.reason == Reason.WRONG_LENGTH


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_updates_are_fetched_in_one_call_than_fit(
    conducted: Conducted, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    (length,) = {len(payload) for payload in conducted.attempt.payloads.values()}
    monkeypatch.setattr("core.wire.streams.BATCH_BYTES", at_once * length + 1)
    calls = conducted.hear(open_sum(conducted.attempt))
    fetched = [list(call.message.clients) for call in calls if call.method == "FetchSubmissions"]
    assert max(map(len, fetched)) == at_once
    assert [client for each in fetched for client in each] == ["client-1", "client-2", "client-3"]
    assert calls[-1].method == "SignRequest"


@pytest.mark.parametrize(
    ("payloads", "reason"),
    [
        (lambda whole: whole[:2], Reason.WRONG_LENGTH),
        (lambda whole: [*whole, b""], Reason.WRONG_LENGTH),
        (lambda whole: [whole[0] + whole[1], b"", whole[2]], Reason.WRONG_LENGTH),
        (lambda whole: [whole[1], whole[0], whole[2]], Reason.WRONG_DIGEST),
    ],
)
def test_updates_that_are_not_those_asked_for_are_refused(
    conducted: Conducted,
    monkeypatch: pytest.MonkeyPatch,
    payloads: Callable[[list[bytes]], list[bytes]],
    reason: Reason,
) -> None:
    given = Conducted.updates
    monkeypatch.setattr(Conducted, "updates", lambda self, whole: given(self, payloads(whole)))
    assert conducted.hear(open_sum(conducted.attempt))[-1].message.reason == reason


def test_updates_whose_lengths_do_not_make_up_what_came_are_refused(
    conducted: Conducted, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Conducted.updates

    def shortened(self: Conducted, payloads: list[bytes]) -> tuple[pb.PayloadHeader, bytes]:
        header, whole = given(self, payloads)
        return header, whole[:-1]

    monkeypatch.setattr(Conducted, "updates", shortened)
    assert conducted.hear(open_sum(conducted.attempt))[-1].message.reason == Reason.WRONG_LENGTH


@pytest.mark.parametrize("answer", TASKS)
def test_an_answer_that_is_refused_ends_nothing(conducted: Conducted, answer: str) -> None:
    conducted.refusals[answer] = Reason.ROUND_NOT_OPEN
    task = TASKS[answer](conducted.attempt)
    assert methods(conducted.hear(task))[-1] == answer
    assert methods(conducted.hear(task))[-1] == answer, "asked again, it answers again"


def test_a_task_that_names_no_attempt_is_answered_with_nothing(conducted: Conducted) -> None:
    nameless = pb.CloseList(round=pb.SignedDescription(description=b"nothing", signature=bytes(64)))
    assert conducted.hear(pb.HolderTask(close_list=nameless)) == []


def test_keys_are_offered_that_it_has_shares_of(conducted: Conducted) -> None:
    attempt = conducted.attempt
    serial = attempt.description.certificate.serial
    need = pb.NeedKey(run=attempt.id.run, round=1, attempt=1, scheme="plain", bits=256, above=serial - 1)
    (offer,) = conducted.hear(pb.HolderTask(need_key=need))
    assert offer.method == "OfferKeys"
    assert [key.certificate for key in offer.message.keys] == [attempt.description.signed_certificate.body]
    need.bits = 512
    (offer,) = conducted.hear(pb.HolderTask(need_key=need))
    assert list(offer.message.keys) == []
    need.scheme = "rot13"
    assert conducted.hear(pb.HolderTask(need_key=need)) == [], "its policy allows no such keys"


def test_a_run_that_failed_ends_the_session_with_its_message(conducted: Conducted) -> None:
    with pytest.raises(RunFailedError, match="the run ended: too few"):
        conducted.hear(pb.HolderTask(run_ended=pb.RunEnded(sentence="too few")))
    assert conducted.session.ending is None


def test_a_stream_that_ends_before_the_run_is_an_error(conducted: Conducted) -> None:
    connection: Any = SimpleNamespace(address="nowhere:1", subscribe=lambda _call: iter([pb.HolderTask()]))
    connection.carry = conducted._carry
    with pytest.raises(GrokfedError, match="nowhere:1 closed the connection before the run ended"):
        run_session(connection, conducted.session)
