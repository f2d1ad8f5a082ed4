"""The services over mutual TLS: what arrives is what was announced, by whom its certificate names, and is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from in_process import RULES, SpamFederation, Start, another_start
from refusals import refused_with

from client.session import submit_call
from core.errors import Reason
from core.protocol import MOST_OFFERED, Signed, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.calls import Upload
from core.wire.dialing import AggregatorConnection, channel_credentials, channel_options
from core.wire.messages import signed_commitment_to_wire, signed_key_to_wire, submission_header_to_wire
from core.wire.streams import BATCH_BYTES, PIECE_BYTES
from server import states
from server.answering import Gate
from server.call_limits import CallLimits
from server.connections import Connections
from server.service import MOST_CHARACTERS, SERVICES, FederationService, listen, services_for


@asynccontextmanager
async def served(federation: SpamFederation, name: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of one party to the aggregator."""
    server, port = await listen(federation.run, "127.0.0.1:0")
    identity = federation.identities[name]
    credentials, options = channel_credentials(identity), channel_options(identity)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        yield channel
    await server.stop(None)


def a_gate() -> Gate:
    return Gate(CallLimits(time.monotonic), Connections(time.monotonic))


async def stream(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


async def test_a_client_commits_and_uploads_over_real_grpc(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    submission = await federation.another_submission("client-1")
    await federation.clients["client-1"].stop()
    async with served(federation, "client-1") as channel:
        stub = rpc.FederationStub(channel)
        request = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment))
        for repeated in (False, True):
            receipt = await stub.Commit(request)
            assert (receipt.sha256, receipt.repeated) == (submission.header.digest, repeated)
        await federation.play_until(states.Uploading)
        header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
        for repeated in (False, True):
            receipt = await stub.Submit(stream(header, *(
                pb.SubmitRequest(data=submission.payload[i : i + PIECE_BYTES])
                for i in range(0, len(submission.payload), PIECE_BYTES)
            )))  # fmt: skip
            assert (receipt.sha256, receipt.repeated) == (submission.header.digest, repeated)
    assert "client-1" in federation.phase.received


async def test_a_client_cannot_commit_in_the_name_of_another(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    await federation.settle("client-2")
    submission = federation.submission("client-2")
    async with served(federation, "client-1") as channel:
        request = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment))
        with refused_with(Reason.COMMITMENT_SIGNATURE):
            await rpc.FederationStub(channel).Commit(request)


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
        (lambda header, payload: [pb.SubmitRequest(whole=payload)], Reason.MALFORMED),
        (lambda header, payload: [pb.SubmitRequest(header=header.header, whole=payload[:-1])], Reason.WRONG_LENGTH),
        (lambda header, payload: [pb.SubmitRequest(header=header.header, whole=payload), pb.SubmitRequest(data=b"x")], Reason.WRONG_LENGTH),
        (lambda header, payload: [pb.SubmitRequest(header=header.header, whole=payload[:-1] + b"x")], Reason.WRONG_DIGEST),
    ],
    ids=["nothing", "no header", "two headers", "an empty message", "no payload", "short", "long", "changed", "too large a piece",
         "one message without header", "a short one message", "more than one message", "a changed one message"],
)  # fmt: skip
async def test_an_upload_that_is_not_what_was_announced_is_refused(
    start: Start, messages: Any, expected: Reason
) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    submission = federation.submission("client-1")
    header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
    async with served(federation, "client-1") as channel:
        call = rpc.FederationStub(channel).Submit(stream(*messages(header, submission.payload)))
        with refused_with(expected):
            await call
    assert federation.phase.received == frozenset()
    await federation.finish()


async def test_an_endless_upload_is_cut_off(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    header = submission_header_to_wire(federation.submission("client-1").header)

    def endless() -> Iterator[pb.SubmitRequest]:
        yield pb.SubmitRequest(header=header)
        while True:
            yield pb.SubmitRequest(data=bytes(1 << 16))

    def send(port: int) -> None:
        with AggregatorConnection(f"127.0.0.1:{port}", 20, federation.identities["client-1"]) as connection:
            rpc.FederationStub(connection.channel).Submit(endless(), timeout=20)

    server, port = await listen(federation.run, "127.0.0.1:0")
    with refused_with(Reason.WRONG_LENGTH):
        await asyncio.to_thread(send, port)
    await server.stop(None)


async def test_who_has_not_committed_is_refused_before_a_byte_of_payload_is_sent(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    header = pb.SubmissionHeader(**federation.named(), length=1 << 40, sha256=digest(b""))
    async with served(federation, "client-1") as channel:
        call = rpc.FederationStub(channel).Submit()
        await call.write(pb.SubmitRequest(header=header))
        with refused_with(Reason.NOT_COMMITTED):
            await call


@pytest.mark.parametrize("short", [True, False])
async def test_an_upload_arrives_in_one_message_or_in_many(
    start: Start, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    submission, digests = federation.submission("client-1"), []
    monkeypatch.setattr("core.wire.calls.SHORT_BYTES", len(submission.payload) - (not short))
    upload = submit_call(submission)
    assert len(list(upload.messages())) == (1 if short else 2)

    def send(port: int) -> None:
        with AggregatorConnection(f"127.0.0.1:{port}", 20, federation.identities["client-1"]) as connection:
            digests.append(connection.carry(upload).sha256)

    server, port = await listen(federation.run, "127.0.0.1:0")
    await asyncio.to_thread(send, port)
    await server.stop(None)
    assert digests == [submission.header.digest]
    assert federation.phase.received == {"client-1"}
    assert federation.store.costs(federation.run.attempt.id).bytes_up == (  # type: ignore[union-attr]
        len(submission.payload) + upload.header.ByteSize()
    ), "the same either way"
    await federation.finish()


@pytest.mark.parametrize("short", [True, False])
async def test_what_was_not_committed_to_is_refused_whether_it_is_short_or_not(
    start: Start, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    monkeypatch.setattr("server.clients.SHORT_BYTES", 1 << 20 if short else 0)
    federation = await start()
    await federation.play_until(states.Uploading)
    other = bytes(len(federation.submission("client-1").payload))
    header = pb.SubmissionHeader(**federation.named(), length=len(other), sha256=digest(other))
    with refused_with(Reason.WRONG_DIGEST):
        await federation.call("client-1", Upload("Submit", pb.SubmitRequest(header=header), other))
    await federation.finish()


async def test_a_clients_uploads_are_taken_in_one_at_a_time(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    submission = federation.submission("client-1")
    async with served(federation, "client-1") as channel:
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


async def test_who_waited_for_its_own_earlier_upload_need_not_send_again(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    submission = federation.submission("client-1")
    uri = f"grokfed://{federation.roster.federation}/client/client-1".encode()
    context: Any = SimpleNamespace(
        auth_context=lambda: {"x509_subject_alternative_name": [uri]}, peer=lambda: "by hand"
    )
    service = FederationService(federation.run, a_gate())
    header = pb.SubmitRequest(header=submission_header_to_wire(submission.header))
    earlier: Any = service._calls.upload_of("client-1")
    async with earlier:
        waiting = asyncio.ensure_future(service.Submit(stream(header), context))
        while not earlier._waiters:
            await asyncio.sleep(0)
        await federation.settle("client-1")
    assert await waiting == pb.Receipt(sha256=submission.header.digest, repeated=True)


async def test_the_services_answer_without_a_socket(start: Start) -> None:
    federation = await start(gather=False)
    services = services_for(federation.run, a_gate())
    uri = f"grokfed://{federation.roster.federation}/keyholder/keyholder-1".encode()
    context: Any = SimpleNamespace(
        auth_context=lambda: {"x509_subject_alternative_name": [uri]}, peer=lambda: "by hand"
    )
    progress = await anext(services.observation.Watch(pb.WatchRequest(), context))
    assert (progress.phase, progress.holders) == ("waiting", 0)
    attending = services.key_holding.Attend(another_start(federation.identities["keyholder-1"]).message, context)
    assert await anext(attending) == pb.HolderTask(roster_version=1)
    assert federation.run.state.holders == frozenset(), "it does not serve yet"
    await services.key_holding.Serve(pb.ServeRequest(), context)
    assert federation.run.state.holders == {"keyholder-1"}
    await attending.aclose()
    assert federation.run.state.holders == frozenset()


async def test_what_a_holder_sends_is_checked_for_its_form_first(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Releasing)
    async with served(federation, "keyholder-1") as channel:
        stub = rpc.KeyHoldingStub(channel)
        key = signed_key_to_wire(Signed(b"k", bytes(64)))
        offered = stub.OfferKeys(pb.KeyOffer(**federation.named(), keys=[key] * (MOST_OFFERED + 1)))
        with refused_with(Reason.MALFORMED):
            await offered
        with refused_with(Reason.MALFORMED):
            await stub.OfferKeys(pb.KeyOffer(run="x"))
        with refused_with(Reason.MALFORMED):
            await stub.DeclineTask(pb.Decline(**federation.named(), reason="mood"))
        with refused_with(Reason.MALFORMED):
            await stub.Release(stream())
        short = pb.ReleaseRequest(header=pb.ReleaseHeader(**federation.named(), length=5, sha256=digest(b"share")))
        with refused_with(Reason.WRONG_LENGTH):
            await stub.Release(stream(short, pb.ReleaseRequest(data=b"share")))
        assert federation.phase.quorum.declined == frozenset(), "what is malformed says nothing about the task"
        for seconds in (float("nan"), -1.0):
            with refused_with(Reason.MALFORMED):
                await stub.SignRequest(pb.RequestSignature(**federation.named(), seconds=seconds))
        late = pb.ReleaseRequest(
            header=pb.ReleaseHeader(run=federation.run.context.id, round=1, attempt=2, length=1 << 40)
        )
        assert await stub.Release(stream(late)) == pb.Accepted(), "another attempt's share is not even read"
    await federation.finish()


async def test_no_more_of_a_holders_words_is_kept_than_fits_a_line(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Closing)
    for name in ("keyholder-1", "keyholder-2"):
        async with served(federation, name) as channel:
            decline = pb.Decline(**federation.named(), reason="copied", sentence="x" * 10 * MOST_CHARACTERS)
            await rpc.KeyHoldingStub(channel).DeclineTask(decline)
    (sentence,) = federation.store._database.first("SELECT sentence FROM attempts") or ("",)
    assert sentence == f"keyholder-2 does not sign the list: {'x' * MOST_CHARACTERS}"


async def test_a_holder_fetches_updates_and_the_opened_sum_and_all_parties_models(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Endorsing)
    async with served(federation, "keyholder-1") as channel:
        stub = rpc.KeyHoldingStub(channel)
        both = pb.SubmissionsRequest(**federation.named(), clients=["client-2", "client-1"])
        chunks = [c async for c in stub.FetchSubmissions(both)]
        second, first = (federation.submission(client).payload for client in both.clients)
        assert b"".join(chunk.data for chunk in chunks) == second + first
        assert list(chunks[0].header.parts) == [len(second), len(first)]
        stranger = pb.SubmissionsRequest(**federation.named(), clients=["client-1", "stranger"])
        past = pb.SubmissionsRequest(**{**federation.named(), "attempt": 2}, clients=["client-1"])
        for unknown in (stranger, past):
            with refused_with(Reason.ROUND_NOT_OPEN):
                await stub.FetchSubmissions(unknown).read()
        flood = pb.SubmissionsRequest(**federation.named(), clients=["client-1"] * (1 + BATCH_BYTES // len(first)))
        with refused_with(Reason.WRONG_LENGTH):
            await stub.FetchSubmissions(flood).read()
        chunks = [c async for c in stub.FetchOpenedSum(pb.OpenedSumRequest(**federation.named()))]
        attempt = federation.run.attempt
        assert attempt is not None
        assert attempt.opened is not None
        assert b"".join(chunk.data for chunk in chunks) == attempt.opened.to_bytes(attempt.description.key)
        models = rpc.FederationStub(channel)
        chunks = [c async for c in models.FetchModel(pb.ModelRequest(round=0))]
        assert (chunks[0].header.round, chunks[0].header.run, list(chunks[0].header.shape)) == (
            0,
            federation.run.context.id,
            [8193],
        )
        with refused_with(Reason.NO_MODEL):
            await models.FetchModel(pb.ModelRequest(round=1)).read()


async def test_a_key_holder_that_reconnects_stays_healthy_and_one_that_goes_does_not(start: Start) -> None:
    federation = await start(gather=False)
    async with served(federation, "keyholder-1") as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def status() -> int:
            return (await health.Check(health_pb2.HealthCheckRequest(service="keyholder-1"))).status

        attend = another_start(federation.identities["keyholder-1"]).message
        first = rpc.KeyHoldingStub(channel).Attend(attend)
        assert await first.read() == pb.HolderTask(roster_version=1), "at once, though nothing is to do"
        second = rpc.KeyHoldingStub(channel).Attend(attend)
        await second.read()
        while await first.read() != grpc.aio.EOF:
            pass
        assert await status() == health_pb2.HealthCheckResponse.SERVING
        second.cancel()
        watched = health.Watch(health_pb2.HealthCheckRequest(service="keyholder-1"))
        while (await watched.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        assert federation.run.state.holders == frozenset()


async def test_a_client_that_hangs_up_is_gone_and_one_that_joins_is_welcomed(start: Start) -> None:
    federation = await start(gather=False)
    request = pb.JoinRequest(task="spam", task_digest=federation.clients["client-1"].session.participant.task_digest)
    async with served(federation, "client-1") as channel:
        joined = rpc.FederationStub(channel).Join(request)
        welcome = await joined.read()
        assert (welcome.welcome.run, welcome.welcome.rounds) == (federation.run.context.id, RULES.rounds)
        watched = rpc.ObservationStub(channel).Watch(pb.WatchRequest())
        assert (await watched.read()).present == 1
        joined.cancel()
        while (await watched.read()).present:
            pass
    assert federation.run.state.present == frozenset()


async def test_refusals_are_counted_by_name(start: Start) -> None:
    federation = await start(gather=False)
    async with served(federation, "client-1") as channel:
        for _ in range(2):
            with refused_with(Reason.NO_MODEL):
                await rpc.FederationStub(channel).FetchModel(pb.ModelRequest(round=9)).read()
        with refused_with(Reason.WRONG_ROLE):
            await rpc.KeyHoldingStub(channel).DeclineTask(pb.Decline())
    assert federation.run.refusals == {Reason.NO_MODEL: 2, Reason.WRONG_ROLE: 1}


def test_the_services_are_those_of_the_contract() -> None:
    assert sorted(SERVICES) == [
        "grokfed.v1.Federation", "grokfed.v1.KeyHolding", "grokfed.v1.Membership", "grokfed.v1.Observation",
    ]  # fmt: skip
