"""What a handler raises reaches the caller as a status: refusals by name, anything else without detail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from federations import RUN, SmallFederation
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hall import RULES, Hall, tell

from core.errors import Reason, Refused, SettingsError, StorageError
from core.protocol import MOST_OFFERED, Signed, SubmissionHeader, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import PARTY_KEY, channel_credentials, channel_options
from core.wire.messages import signed_commitment_to_wire, signed_key_to_wire, submission_header_to_wire
from core.wire.status import REASON_KEY, STATUS, refusal_of
from core.wire.streams import PIECE_BYTES, pieces
from server import states
from server.attempt import Attempt
from server.service import MOST_CHARACTERS, FederationService, listen, services_for


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("service") / "federation")
    yield federation
    federation.close()


def named(name: str) -> tuple[tuple[str, str], ...]:
    return ((PARTY_KEY, f"{name.partition('-')[0]}/{name}"),)


# ------------------------------------------------------------------------------------------------ statuses


class Broken:
    """A run whose every answer is the same exception."""

    def __init__(self, federation: SmallFederation, error: Exception) -> None:
        self.error, self.refusals = error, Counter[Reason]()
        self.context = SimpleNamespace(id=RUN, verifier=federation.verifier())

    def count_refusal(self, reason: Reason) -> None:
        self.refusals[reason] += 1

    async def model(self, round_number: int | None) -> Any:
        raise self.error

    def step(self) -> Any:
        raise self.error


def failures(federation: SmallFederation, *errors: Exception) -> list[grpc.aio.AioRpcError]:
    """What a caller sees of each error, of a call with one answer and of one that streams."""

    async def ask() -> list[grpc.aio.AioRpcError]:
        broken, found = Broken(federation, errors[0]), []
        server, port = await listen(broken, "127.0.0.1:0", plaintext=True)  # type: ignore[arg-type]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for broken.error in errors:
                decline = pb.Decline(run=RUN, round=1, attempt=1, reason="bad_sum")
                model = rpc.FederationStub(channel).FetchModel(pb.ModelRequest(), metadata=named("client-1"))
                for call in (
                    rpc.KeyHoldingStub(channel).DeclineTask(decline, metadata=named("keyholder-1")),
                    model.read(),
                ):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call
                    found.append(caught.value)
        await server.stop(None)
        assert sum(broken.refusals.values()) == len(found) - 2 * sum(type(e) is RuntimeError for e in errors)
        return found

    return asyncio.run(ask())


def test_every_reason_arrives_with_its_name_status_and_sentence(federation: SmallFederation) -> None:
    errors = [Refused(reason, f"this is why: {reason}") for reason in Reason]
    found = failures(federation, *errors)
    for error, both in zip(errors, zip(found[::2], found[1::2], strict=True), strict=True):
        for failed in both:
            assert failed.code() is STATUS[error.reason]
            assert failed.details() == str(error)
            assert dict(failed.trailing_metadata())[REASON_KEY] == error.reason.value
            back = refusal_of(failed)
            assert back is not None
            assert (back.reason, str(back)) == (error.reason, str(error))


def test_no_refusal_looks_like_a_connection_that_broke() -> None:
    """Those statuses are what a caller tries again for."""
    transient = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
    assert not transient & set(STATUS.values())
    assert grpc.StatusCode.OK not in STATUS.values()
    assert set(STATUS) == set(Reason)


def test_what_is_unexpected_arrives_without_detail(federation: SmallFederation) -> None:
    for error in failures(federation, RuntimeError("p = 17")):
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "17" not in str(error.details())
        assert REASON_KEY not in dict(error.trailing_metadata())


def test_a_disk_that_cannot_be_used_asks_to_try_again_and_names_no_path(federation: SmallFederation) -> None:
    for error in failures(federation, StorageError("/home/anna/state is full")):
        assert dict(error.trailing_metadata())[REASON_KEY] == "storage"
        assert "anna" not in str(error.details())


def test_an_address_that_cannot_be_used_is_one_sentence(federation: SmallFederation) -> None:
    async def taken_twice() -> None:
        broken = Broken(federation, RuntimeError())
        server, port = await listen(broken, "127.0.0.1:0", plaintext=True)  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}; it is in use"):
            await listen(broken, f"127.0.0.1:{port}", plaintext=True)  # type: ignore[arg-type]
        await server.stop(None)

    asyncio.run(taken_twice())


# ------------------------------------------------------------------------------------------------ over mutual TLS


@asynccontextmanager
async def served(hall: Hall, name: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of one party to the hall's aggregator."""
    server, port = await listen(hall.coordinator, "127.0.0.1:0")
    identity = hall.federation[name]
    credentials, options = channel_credentials(identity), channel_options(identity)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        yield channel
    await server.stop(None)


async def reason(call: Any) -> Reason:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    refusal = refusal_of(caught.value)
    assert refusal is not None, caught.value
    return refusal.reason


async def stream(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


Story = Callable[[Hall], Coroutine[Any, Any, None]]
ATTEMPT = {"run": RUN, "round": 1, "attempt": 1}


def test_a_client_commits_and_uploads_over_real_grpc(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        description = hall.signed_round()
        participant = hall.participants["client-1"]
        submission = participant.answer(participant.verify(description, 8193), description, hall.store.model(RUN, 0)[1])
        async with served(hall, "client-1") as channel:
            stub = rpc.FederationStub(channel)
            request = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment))
            for repeated in (False, True):
                receipt = await stub.Commit(request)
                assert (receipt.sha256, receipt.repeated) == (submission.header.digest, repeated)
            await hall.play_until(states.Uploading)
            header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
            for repeated in (False, True):
                receipt = await stub.Submit(stream(header, *(
                    pb.SubmitRequest(data=submission.payload[i : i + PIECE_BYTES])
                    for i in range(0, len(submission.payload), PIECE_BYTES)
                )))  # fmt: skip
                assert (receipt.sha256, receipt.repeated) == (submission.header.digest, repeated)
        assert "client-1" in hall.phase.received

    tell(tmp_path, federation, story)


def test_nobody_commits_in_the_name_of_another(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        await hall.commit("client-2", hall.signed_round())
        submission = hall.participants["client-2"].last
        assert submission is not None
        async with served(hall, "client-1") as channel:
            request = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment))
            assert await reason(rpc.FederationStub(channel).Commit(request)) is Reason.COMMITMENT_SIGNATURE

    tell(tmp_path, federation, story)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (lambda header, payload: [], Reason.MALFORMED),
        (lambda header, payload: [pb.SubmitRequest(data=payload)], Reason.MALFORMED),
        (lambda header, payload: [header, header, pb.SubmitRequest(data=payload)], Reason.MALFORMED),
        (lambda header, payload: [header, pb.SubmitRequest()], Reason.MALFORMED),
        (lambda header, payload: [header], Reason.WRONG_LENGTH),
        (lambda header, payload: [header, pb.SubmitRequest(data=payload[:-1])], Reason.WRONG_LENGTH),
        (lambda header, payload: [header, pb.SubmitRequest(data=payload), pb.SubmitRequest(data=b"x")], Reason.WRONG_LENGTH),
        (lambda header, payload: [header, pb.SubmitRequest(data=payload[:-1] + b"x")], Reason.WRONG_DIGEST),
        (lambda header, payload: [header, pb.SubmitRequest(data=bytes(PIECE_BYTES + 1))], Reason.MALFORMED),
    ],
    ids=["nothing", "no header", "two headers", "an empty message", "no payload", "short", "long", "changed", "too large a piece"],
)  # fmt: skip
def test_an_upload_that_is_not_what_was_announced_is_refused(
    federation: SmallFederation, tmp_path: Path, messages: Any, expected: Reason
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
        async with served(hall, "client-1") as channel:
            call = rpc.FederationStub(channel).Submit(stream(*messages(header, submission.payload)))
            assert await reason(call) is expected
        assert hall.phase.received == frozenset()
        await hall.finish()

    tell(tmp_path, federation, story)


def test_who_has_not_committed_is_refused_before_a_byte_of_payload_is_sent(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Committing)
        header = pb.SubmissionHeader(**ATTEMPT, length=1 << 40, sha256=digest(b""))
        async with served(hall, "client-1") as channel:
            call = rpc.FederationStub(channel).Submit()
            await call.write(pb.SubmitRequest(header=header))
            assert await reason(call) is Reason.NOT_COMMITTED

    tell(tmp_path, federation, story)


def test_a_clients_uploads_are_taken_in_one_at_a_time(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        async with served(hall, "client-1") as channel:
            stub = rpc.FederationStub(channel)
            header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
            unfinished = stub.Submit()
            await unfinished.write(header)
            await unfinished.write(pb.SubmitRequest(data=submission.payload[: len(submission.payload) // 2]))
            second = stub.Submit()
            await second.write(header)
            await second.write(pb.SubmitRequest(data=submission.payload))
            await second.done_writing()
            unfinished.cancel()
            assert (await second).sha256 == submission.header.digest

    tell(tmp_path, federation, story)


def test_who_waited_for_its_own_earlier_upload_need_not_send_again(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        uri = f"grokfed://{federation.roster.federation}/client/client-1".encode()
        context: Any = SimpleNamespace(auth_context=lambda: {"x509_subject_alternative_name": [uri]})
        service = FederationService(hall.coordinator, plaintext=False)
        header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
        earlier: Any = service._calls.upload_of("client-1")
        async with earlier:
            waiting = asyncio.ensure_future(service.Submit(stream(header), context))
            while not earlier._waiters:
                await asyncio.sleep(0)
            await hall.submit("client-1", submission)
        assert await waiting == pb.Receipt(sha256=submission.header.digest, repeated=True)

    tell(tmp_path, federation, story)


def test_an_upload_is_admitted_once(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Uploading)
        submission = hall.participants["client-1"].last
        assert submission is not None
        checked = []
        check = Attempt.check_header

        def counted(attempt: Attempt, header: SubmissionHeader) -> None:
            checked.append(header)
            check(attempt, header)

        monkeypatch.setattr(Attempt, "check_header", counted)
        uri = f"grokfed://{federation.roster.federation}/client/client-1".encode()
        context: Any = SimpleNamespace(auth_context=lambda: {"x509_subject_alternative_name": [uri]})
        header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
        data = [pb.SubmitRequest(data=piece) for piece in pieces(submission.payload)]
        receipt = await services_for(hall.coordinator).federation.Submit(stream(header, *data), context)
        assert receipt == pb.Receipt(sha256=submission.header.digest)
        assert checked == [submission.header]

    tell(tmp_path, federation, story)


def test_the_services_answer_without_a_socket(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        services = services_for(hall.coordinator)
        uri = f"grokfed://{federation.roster.federation}/keyholder/keyholder-1".encode()
        context: Any = SimpleNamespace(auth_context=lambda: {"x509_subject_alternative_name": [uri]})
        progress = await anext(services.observation.Watch(pb.WatchRequest(), context))
        assert (progress.phase, progress.holders) == ("waiting", 0)
        attending = services.key_holding.Attend(pb.AttendRequest(instance=b"x" * 16), context)
        assert await anext(attending) == pb.HolderTask()
        assert hall.coordinator.state.holders == {"keyholder-1"}
        await attending.aclose()
        assert hall.coordinator.state.holders == frozenset()

    tell(tmp_path, federation, story)


def test_what_a_holder_sends_is_checked_for_its_form_first(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Releasing)
        async with served(hall, "keyholder-1") as channel:
            stub = rpc.KeyHoldingStub(channel)
            key = signed_key_to_wire(Signed(b"k", bytes(64)))
            offered = stub.OfferKeys(pb.KeyOffer(**ATTEMPT, keys=[key] * (MOST_OFFERED + 1)))
            assert await reason(offered) is Reason.MALFORMED
            assert await reason(stub.OfferKeys(pb.KeyOffer(run="x"))) is Reason.MALFORMED
            assert await reason(stub.DeclineTask(pb.Decline(**ATTEMPT, reason="mood"))) is Reason.MALFORMED
            assert await reason(stub.Release(stream())) is Reason.MALFORMED
            short = pb.ReleaseRequest(header=pb.ReleaseHeader(**ATTEMPT, length=5, sha256=digest(b"share")))
            assert await reason(stub.Release(stream(short, pb.ReleaseRequest(data=b"share")))) is Reason.WRONG_LENGTH
            assert hall.phase.quorum.declined == frozenset(), "what is malformed says nothing about the task"
            endless = pb.ReleaseRequest(header=pb.ReleaseHeader(**ATTEMPT, seconds=float("nan")))
            assert await reason(stub.Release(stream(endless))) is Reason.MALFORMED
            late = pb.ReleaseRequest(header=pb.ReleaseHeader(run=RUN, round=1, attempt=2, length=1 << 40))
            assert await stub.Release(stream(late)) == pb.Accepted(), "another attempt's share is not even read"
        await hall.finish()

    tell(tmp_path, federation, story)


def test_no_more_of_a_holders_words_is_kept_than_fits_a_line(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Closing)
        for name in ("keyholder-1", "keyholder-2"):
            async with served(hall, name) as channel:
                decline = pb.Decline(**ATTEMPT, reason="copied", sentence="x" * 10 * MOST_CHARACTERS)
                await rpc.KeyHoldingStub(channel).DeclineTask(decline)
        (sentence,) = hall.store._database.first("SELECT sentence FROM attempts") or ("",)
        assert sentence == f"keyholder-2 does not sign the list: {'x' * MOST_CHARACTERS}"

    tell(tmp_path, federation, story)


def test_a_holder_fetches_updates_and_the_opened_sum_and_everybody_models(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        await hall.gather()
        await hall.play_until(states.Endorsing)
        submission = hall.participants["client-2"].last
        assert submission is not None
        async with served(hall, "keyholder-1") as channel:
            stub = rpc.KeyHoldingStub(channel)
            chunks = [c async for c in stub.FetchSubmission(pb.SubmissionRequest(**ATTEMPT, client="client-2"))]
            assert b"".join(chunk.data for chunk in chunks) == submission.payload
            assert chunks[0].header.sha256 == submission.header.digest
            nobody = stub.FetchSubmission(pb.SubmissionRequest(**ATTEMPT, client="nobody"))
            assert await reason(nobody.read()) is Reason.ROUND_NOT_OPEN
            chunks = [c async for c in stub.FetchOpenedSum(pb.OpenedSumRequest(**ATTEMPT))]
            attempt = hall.coordinator.attempt
            assert attempt is not None
            assert attempt.opened is not None
            assert b"".join(chunk.data for chunk in chunks) == attempt.opened.to_bytes(attempt.description.key)
            models = rpc.FederationStub(channel)
            chunks = [c async for c in models.FetchModel(pb.ModelRequest(round=0))]
            assert (chunks[0].header.round, chunks[0].header.run, list(chunks[0].header.shape)) == (0, RUN, [8193])
            assert await reason(models.FetchModel(pb.ModelRequest(round=1)).read()) is Reason.NO_MODEL

    tell(tmp_path, federation, story)


def test_a_key_holder_that_reconnects_stays_healthy_and_one_that_goes_does_not(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        async with served(hall, "keyholder-1") as channel:
            health = health_pb2_grpc.HealthStub(channel)

            async def status() -> int:
                return (await health.Check(health_pb2.HealthCheckRequest(service="keyholder-1"))).status

            attend = pb.AttendRequest(instance=b"x" * 16)
            first = rpc.KeyHoldingStub(channel).Attend(attend)
            assert await first.read() == pb.HolderTask(), "at once, though nothing is to do"
            second = rpc.KeyHoldingStub(channel).Attend(attend)
            await second.read()
            while await first.read() != grpc.aio.EOF:
                pass
            assert await status() == health_pb2.HealthCheckResponse.SERVING
            second.cancel()
            watched = health.Watch(health_pb2.HealthCheckRequest(service="keyholder-1"))
            while (await watched.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
                pass
            assert hall.coordinator.state.holders == frozenset()

    tell(tmp_path, federation, story)


def test_a_client_that_hangs_up_is_gone_and_one_that_joins_is_welcomed(
    federation: SmallFederation, tmp_path: Path
) -> None:
    async def story(hall: Hall) -> None:
        request = pb.JoinRequest(task="spam", task_digest=hall.participants["client-1"].task_digest)
        async with served(hall, "client-1") as channel:
            joined = rpc.FederationStub(channel).Join(request)
            welcome = await joined.read()
            assert (welcome.welcome.run, welcome.welcome.rounds) == (RUN, RULES.rounds)
            watched = rpc.ObservationStub(channel).Watch(pb.WatchRequest())
            assert (await watched.read()).present == 1
            joined.cancel()
            while (await watched.read()).present:
                pass
        assert hall.coordinator.state.present == frozenset()

    tell(tmp_path, federation, story)


def test_refusals_are_counted_by_name(federation: SmallFederation, tmp_path: Path) -> None:
    async def story(hall: Hall) -> None:
        async with served(hall, "client-1") as channel:
            for _ in range(2):
                assert await reason(rpc.FederationStub(channel).FetchModel(pb.ModelRequest(round=9)).read()) is (
                    Reason.NO_MODEL
                )
            assert await reason(rpc.KeyHoldingStub(channel).DeclineTask(pb.Decline())) is Reason.WRONG_ROLE
        assert hall.coordinator.refusals == {Reason.NO_MODEL: 2, Reason.WRONG_ROLE: 1}

    tell(tmp_path, federation, story)
