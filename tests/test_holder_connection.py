"""A key holder's side of the wire where things go wrong: a full disk is waited out, and costs no attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tenacity
from federations import HonestAttempt, SmallFederation

from core.errors import Reason, StorageError
from core.wire import federation_pb2 as pb
from core.wire.messages import round_to_wire, signed_commitment_to_wire
from keyholder.connection import HolderConnection
from keyholder.holder import KeyHolder

ENDED = pb.HolderTask(run_ended=pb.RunEnded(completed=True, sentence="that is all"))


class Aggregator:
    """A line, and the stubs at its end: pushes tasks, and remembers what it is told."""

    address = "nowhere:1"
    channel = None

    def __init__(self, *tasks: pb.HolderTask) -> None:
        self.tasks = tasks
        self.told: list[tuple[str, Any]] = []

    def follow(self, _open: Callable[[], object]) -> Iterator[pb.HolderTask]:
        yield from (*self.tasks, ENDED)

    def call(self, send: Callable[[], Any]) -> Any:
        return send()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda message, timeout: self.told.append((name, message))


class FullDisk:
    """A key holder's method that finds the disk full so many times, and works then."""

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


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("connection") / "federation")
    yield federation
    federation.close()


@pytest.fixture
def holder(federation: SmallFederation, tmp_path: Any) -> KeyHolder:
    return federation.key_holder(1, tmp_path / "holder")


def serve(aggregator: Aggregator, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("keyholder.connection.rpc.KeyHoldingStub", lambda _channel: aggregator)
    return HolderConnection(aggregator, holder).serve()  # type: ignore[arg-type]


def close_list(attempt: HonestAttempt) -> pb.HolderTask:
    commitments = [signed_commitment_to_wire(signed) for signed in attempt.commitments.values()]
    return pb.HolderTask(close_list=pb.CloseList(round=round_to_wire(attempt.signed), commitments=commitments))


def test_an_empty_task_says_that_it_is_heard_and_asks_nothing(
    holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator = Aggregator(pb.HolderTask())
    assert serve(aggregator, holder, monkeypatch) == "that is all"
    assert aggregator.told == []


def test_a_full_disk_is_waited_out_and_the_task_done(
    federation: SmallFederation, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = FullDisk(holder.sign_list, times=3)
    monkeypatch.setattr(holder, "sign_list", sign)
    aggregator = Aggregator(close_list(HonestAttempt(federation, federation.deal()[0])))
    serve(aggregator, holder, monkeypatch)
    assert (sign.calls, [name for name, _ in aggregator.told]) == (4, ["SignList"])


def test_a_disk_that_stays_full_is_a_reason_to_decline_and_not_to_end(
    federation: SmallFederation, holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyholder.connection.DISK_SECONDS", 0.0)
    monkeypatch.setattr(holder, "sign_list", FullDisk(holder.sign_list, times=float("inf")))
    aggregator = Aggregator(close_list(HonestAttempt(federation, federation.deal()[0])))
    assert serve(aggregator, holder, monkeypatch) == "that is all"
    ((name, decline),) = aggregator.told
    assert (name, decline.reason) == ("DeclineTask", Reason.STORAGE)


def test_a_disk_that_is_full_while_keys_are_looked_up_offers_none_this_time(
    holder: KeyHolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "unused_keys", FullDisk(holder.unused_keys, times=1))
    need = pb.HolderTask(need_key=pb.NeedKey(run="0" * 16, round=1, attempt=1, scheme="paillier", bits=256))
    aggregator = Aggregator(need, need)
    serve(aggregator, holder, monkeypatch)
    assert [name for name, _ in aggregator.told] == ["OfferKeys"]
