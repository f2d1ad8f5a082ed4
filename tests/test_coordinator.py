"""The coordinator keeps rules, database and streams of one mind, whoever hangs up when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client.participant import Enrolment, Participant, Submission
from core.errors import Reason, Refused, StorageError
from core.federated import initial_model
from core.protocol import AttemptId, digest
from core.secagg.decryption import generate_decryptor
from core.secagg.scheme import Decryptor, Policy, join_payload, split_payload
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.messages import description_from_bytes, submission_header_to_wire
from core.wire.streams import Assembly, pieces
from server import rounds
from server.audience import LONGEST_OUTBOX, NotListeningError, Outbox
from server.coordinator import Coordinator
from server.rounds import RoundRules
from server.service import KEY_HOLDING, listen
from server.settings import RunSettings
from server.store import Store

SPAM = get_task("spam")
RUN = "0123456789abcdef"
ID = AttemptId(RUN, 1, 1)
BITS = 256


class Federation:
    """A coordinator, two hand-driven clients and a key, all in this event loop."""

    def __init__(self, folder: Path, scheme: str = "paillier", number_of_rounds: int = 1) -> None:
        rules = RoundRules(rounds=number_of_rounds, target=2, min_cohort=2)
        settings = RunSettings("spam", scheme, BITS, 0, rules, insecure_demo_keys=True)
        self.store = Store(folder)
        self.store.begin_run(RUN, settings.to_json(), initial_model(SPAM, 0))
        self.coordinator = Coordinator(RUN, settings, SPAM, self.store)
        self.decryptor: Decryptor = generate_decryptor(scheme, BITS)

    @property
    def phase(self) -> rounds.Phase:
        return self.coordinator.phase

    async def join(self, number: int, instance: bytes = b"x" * 16) -> Outbox[pb.Notice]:
        outbox = Outbox[pb.Notice](instance)
        await self.coordinator.join(request(number, instance), outbox)
        return outbox

    async def open_round(self) -> list[Submission]:
        """Two clients join, the key comes, and both answers are ready."""
        outboxes = [await self.join(number) for number in (1, 2)]
        await self.coordinator.offer_key(ID, self.decryptor.public_key)
        notices = [outbox.messages() for outbox in outboxes]
        for notice in notices:
            assert (await anext(notice)).HasField("welcome")
        raw = (await anext(notices[0])).round_opened.description
        return [answer(number, raw) for number in (1, 2)]

    async def submit(self, submission: Submission) -> pb.Receipt:
        payload = submission.payload
        update = Assembly(len(payload), digest(payload), len(payload), self.coordinator.spool())
        for piece in pieces(payload):
            update.take(piece)
        return await self.coordinator.submit(submission.header, update, 1)

    def opened_sum(self, submissions: list[Submission]) -> bytes:
        """The plaintext sum as the key holder would send it."""
        description = description_from_bytes(self.store.last_attempt(RUN).description)  # type: ignore[union-attr]
        size = BITS // 4 if description.key.scheme == "paillier" else BITS // 8
        opened = [self.decryptor.decrypt(submission.payload) for submission in submissions]
        assert len(split_payload(submissions[0].payload, description.encoding.plaintexts, size)) == len(opened[0])
        return join_payload([sum(column) for column in zip(*opened, strict=True)], BITS // 8)


def request(number: int, instance: bytes = b"x" * 16) -> pb.JoinRequest:
    participant = Participant(f"client-{number}", SPAM, Policy(), lambda enrolment: SPAM.prepare([]))
    return pb.JoinRequest(
        client=f"client-{number}", task="spam", task_digest=participant.task_digest, number=number, instance=instance
    )


def answer(number: int, raw_description: bytes) -> Submission:
    participant = Participant(
        f"client-{number}",
        SPAM,
        Policy(insecure_demo_keys=True, allow_plain=True),
        lambda enrolment: SPAM.prepare(SPAM.generate(enrolment.seed, enrolment.number)),
    )
    participant.enrolled(Enrolment(RUN, number, 0, 1))
    return participant.answer(description_from_bytes(raw_description), raw_description, initial_model(SPAM, 0))


def run(folder: Path, story: Callable[[Federation], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Tell a story in an event loop of its own and close everything after it."""

    async def told() -> None:
        federation = Federation(folder, **settings)
        await federation.coordinator.start()
        try:
            await story(federation)
        finally:
            await federation.coordinator.close()

    asyncio.run(told())


class Gate:
    """Holds a function of the store up in the worker thread until the test lets it go on."""

    def __init__(self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reached, self._open = threading.Event(), threading.Event()
        function = getattr(store, name)

        def held(*arguments: Any, **named: Any) -> Any:
            self._reached.set()
            assert self._open.wait(20)
            return function(*arguments, **named)

        monkeypatch.setattr(store, name, held)

    async def hang_up_in_the_middle(self, call: Coroutine[Any, Any, Any]) -> None:
        """Start a call, cancel it while the store is at work, then let the store finish."""
        task = asyncio.ensure_future(call)
        await asyncio.to_thread(self._reached.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        self._open.set()


def test_a_client_that_hangs_up_while_its_update_is_stored_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        gate = Gate(federation.store, "add_submission", monkeypatch)
        await gate.hang_up_in_the_middle(federation.submit(submissions[0]))
        await federation.submit(submissions[1])
        assert isinstance(federation.phase, rounds.Releasing)
        assert federation.phase.contributors == 2

    run(tmp_path, story)


def test_a_holder_that_hangs_up_while_the_model_is_stored_completes_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)
        opened = federation.opened_sum(submissions)
        gate = Gate(federation.store, "complete_attempt", monkeypatch)
        await gate.hang_up_in_the_middle(federation.coordinator.release(ID, opened, 0.1))
        await federation.coordinator.release(ID, opened, 0.1)  # it repeats its answer; the round is over
        assert federation.phase == rounds.Finished()
        assert len(federation.store.history(RUN)) == 1

    run(tmp_path, story)


def test_a_client_that_hangs_up_while_it_opens_the_round_leaves_it_open_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(federation: Federation) -> None:
        first = await federation.join(1)
        await federation.coordinator.offer_key(ID, federation.decryptor.public_key)
        gate = Gate(federation.store, "open_attempt", monkeypatch)
        outbox = Outbox[pb.Notice](b"x" * 16)
        await gate.hang_up_in_the_middle(federation.coordinator.join(request(2), outbox))
        await federation.coordinator.leave("client-2", outbox)
        notices = first.messages()
        assert (await anext(notices)).HasField("welcome")
        assert (await anext(notices)).HasField("round_opened")
        await federation.join(2, instance=b"y" * 16)  # started again, as another process: its place is free

    run(tmp_path, story)


def test_a_reconnection_that_overtakes_the_end_of_the_old_connection_stays_seated(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        old = await federation.join(1)
        new = await federation.join(1)
        await federation.coordinator.leave("client-1", old)
        assert federation.coordinator.audience.clients == {"client-1": new}
        assert federation.coordinator._state.present == {"client-1"}
        await federation.coordinator.leave("client-1", new)
        assert federation.coordinator._state.present == frozenset()

    run(tmp_path, story)


@pytest.mark.parametrize("call", ["offer_key", "release", "decline"])
def test_what_is_meant_for_another_run_changes_nothing(tmp_path: Path, call: str) -> None:
    async def story(federation: Federation) -> None:
        for submission in await federation.open_round():
            await federation.submit(submission)
        elsewhere = replace(ID, run="f" * 16)
        coordinator = federation.coordinator
        calls = {
            "offer_key": lambda: coordinator.offer_key(elsewhere, federation.decryptor.public_key),
            "release": lambda: coordinator.release(elsewhere, b"", 0.0),
            "decline": lambda: coordinator.decline(elsewhere, "no"),
        }
        with pytest.raises(Refused) as caught:
            await calls[call]()
        assert caught.value.reason is Reason.ROUND_NOT_OPEN
        assert isinstance(federation.phase, rounds.Releasing)

    run(tmp_path, story)


def test_a_sum_that_is_not_the_cohorts_is_refused_and_the_round_tried_again(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)
        with pytest.raises(Refused, match="counter says 1"):
            await federation.coordinator.release(ID, federation.opened_sum(submissions[:1]), 0.1)
        assert isinstance(federation.phase, rounds.Waiting)
        assert federation.phase.attempt == 2
        assert federation.store.model(RUN)[0] == 0

    run(tmp_path, story)


def test_a_client_that_claims_more_correct_than_examples_shows_no_more_than_everything_right(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        encoding = description_from_bytes(federation.store.last_attempt(RUN).description).encoding  # type: ignore[union-attr]
        slots = np.full(3 + encoding.values, encoding.offset, dtype=np.int64)
        slots[:3] = 1, 0, 50_000
        payload = join_payload(encoding.pack(slots), BITS // 8)
        header = replace(submissions[0].header, digest=digest(payload))
        lies = [Submission(header, payload), Submission(replace(header, client="client-2"), payload)]
        for lie in lies:
            await federation.submit(lie)
        await federation.coordinator.release(ID, federation.opened_sum(lies), 0.1)
        assert federation.store.history(RUN)[0].accuracy == 1.0

    run(tmp_path, story, scheme="plain")


def test_a_full_disk_at_the_end_of_a_round_stops_the_process_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)

        def full(*_: object) -> None:
            raise StorageError("the disk is full")

        monkeypatch.setattr(federation.store, "complete_attempt", full)
        with pytest.raises(StorageError):
            await federation.coordinator.release(ID, federation.opened_sum(submissions), 0.1)
        assert isinstance(federation.coordinator.ended.exception(), StorageError)
        assert federation.store.unfinished_run() is not None
        assert federation.store.last_attempt(RUN).state == "releasing"  # type: ignore[union-attr]

    run(tmp_path, story)


def test_a_run_is_over_only_when_its_results_are_written(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)
        await federation.coordinator.release(ID, federation.opened_sum(submissions), 0.1)
        assert federation.store.unfinished_run() is not None
        await federation.coordinator.conclude()
        assert federation.store.unfinished_run() is None

    run(tmp_path, story)


def test_a_restart_after_the_last_round_ends_the_run_for_those_who_come_back(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)
        await federation.coordinator.release(ID, federation.opened_sum(submissions), 0.1)
        again = Coordinator(RUN, federation.coordinator.settings, SPAM, federation.store)
        await again.start()
        assert again.ended_before_start
        outbox = Outbox[pb.Notice](b"x" * 16)
        await again.join(request(1), outbox)
        notices = outbox.messages()
        assert (await anext(notices)).HasField("welcome")
        assert (await anext(notices)).run_ended.completed

    run(tmp_path, story)


def test_a_watcher_is_told_every_result_once(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        early = federation.coordinator.watch()
        submissions = await federation.open_round()
        for submission in submissions:
            await federation.submit(submission)
        await federation.coordinator.release(ID, federation.opened_sum(submissions), 0.1)
        late = federation.coordinator.watch()
        for watcher in (early, late):
            told = [result.round async for progress in watcher.messages() for result in progress.results]
            assert told == [1]

    run(tmp_path, story)


def test_a_party_that_does_not_listen_is_cut_off() -> None:
    async def story() -> None:
        outbox = Outbox[int]()
        for number in range(3 * LONGEST_OUTBOX):
            outbox.push(number)
        assert outbox._queue.qsize() == LONGEST_OUTBOX
        with pytest.raises(NotListeningError):
            await anext(outbox.messages())

    asyncio.run(story())


# ------------------------------------------------------------------------------------------ over real gRPC


@asynccontextmanager
async def served(federation: Federation) -> AsyncIterator[grpc.aio.Channel]:
    server, port = await listen(federation.coordinator, "127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def test_a_key_holder_that_reconnects_stays_healthy(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        async with served(federation) as channel:
            attend = pb.AttendRequest(instance=b"x" * 16)
            first = rpc.KeyHoldingStub(channel).Attend(attend)
            await first.read()
            second = rpc.KeyHoldingStub(channel).Attend(attend)
            await second.read()
            assert await first.read() == grpc.aio.EOF
            asked = health_pb2.HealthCheckRequest(service=KEY_HOLDING)
            answer = await health_pb2_grpc.HealthStub(channel).Check(asked)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    run(tmp_path, story)


def test_a_clients_uploads_are_taken_in_one_at_a_time(tmp_path: Path) -> None:
    async def story(federation: Federation) -> None:
        submission = (await federation.open_round())[0]
        async with served(federation) as channel:
            stub = rpc.FederationStub(channel)
            unfinished = stub.Submit()
            await unfinished.write(pb.SubmitRequest(header=submission_header_to_wire(submission.header)))
            half = len(submission.payload) // 2
            await unfinished.write(pb.SubmitRequest(data=submission.payload[:half]))

            second = stub.Submit()
            await second.write(pb.SubmitRequest(header=submission_header_to_wire(submission.header)))
            await second.write(pb.SubmitRequest(data=submission.payload))
            await second.done_writing()
            unfinished.cancel()
            assert (await second).sha256 == submission.header.digest

    run(tmp_path, story)
