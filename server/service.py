"""The gRPC face of the coordinator: translate, call, translate back. No rules and no mathematics here."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from core.errors import Reason, Refused, SettingsError, StorageError
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import TRANSFER_SECONDS
from core.wire.messages import attempt_id, checked_seconds, key_from_wire, submission_header_from_wire
from core.wire.status import REASON_KEY, STATUS
from core.wire.streams import Assembly, model_chunks, payload_chunks, read_pieces
from server.audience import NotListeningError, Outbox
from server.coordinator import Coordinator

log = structlog.get_logger()
M = TypeVar("M")
Context = grpc.aio.ServicerContext[Any, Any]
SERVICES = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]
KEY_HOLDING = "grokfed.v1.KeyHolding"

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second server on a taken port would start and get half of the calls
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


async def _refuse(context: Context, refusal: Refused) -> None:
    log.info("refused", reason=refusal.reason.value, sentence=str(refusal))
    context.set_trailing_metadata(((REASON_KEY, refusal.reason.value),))
    await context.abort(STATUS[refusal.reason], str(refusal))


async def _refuse_for_now(context: Context, error: StorageError) -> None:
    """The disk may have room again in a moment, so the sender is asked to try again; the path is nobody's business."""
    log.error("storage", sentence=str(error))
    await _refuse(context, Refused(Reason.STORAGE, "the aggregator cannot use its disk at the moment"))


async def _fail(context: Context, call: str) -> None:
    log.exception("internal", call=call)
    await context.abort(grpc.StatusCode.INTERNAL, "an unexpected error; the aggregator's log has more")


@asynccontextmanager
async def _as_status(context: Context, call: str) -> AsyncIterator[None]:
    """Turn what a handler raises into a gRPC status."""
    try:
        yield
    except Refused as refusal:
        await _refuse(context, refusal)
    except StorageError as error:
        await _refuse_for_now(context, error)
    except NotListeningError as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    except grpc.aio.AbortError:
        raise
    except Exception:
        await _fail(context, call)


def _answers(handler: Callable[..., Awaitable[M]]) -> Callable[..., Awaitable[M]]:
    """For a handler with one answer."""

    @functools.wraps(handler)
    async def wrapped(self: object, request: object, context: Context) -> M:
        async with _as_status(context, handler.__name__):
            return await handler(self, request, context)
        raise AssertionError("a status always ends the call")

    return wrapped


def _streams(handler: Callable[..., AsyncIterator[M]]) -> Callable[..., AsyncIterator[M]]:
    """For a handler that streams its answer."""

    @functools.wraps(handler)
    async def wrapped(self: object, request: object, context: Context) -> AsyncIterator[M]:
        async with _as_status(context, handler.__name__):
            async for message in handler(self, request, context):
                yield message

    return wrapped


class FederationService(rpc.FederationServicer):
    """What data owners call."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    @_streams
    async def Join(self, request: pb.JoinRequest, context: Context) -> AsyncIterator[pb.Notice]:
        outbox = Outbox[pb.Notice](request.instance)
        try:
            await self._coordinator.join(request, outbox)
            async for notice in outbox.messages():
                yield notice
        finally:
            await self._coordinator.leave(request.client, outbox)

    @_streams
    async def FetchModel(self, request: pb.ModelRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        wanted = request.round if request.HasField("round") else None
        round_number, payload = await self._coordinator.model(wanted)
        for chunk in model_chunks(payload, round_number):
            yield chunk

    @_answers
    async def Submit(self, requests: AsyncIterator[pb.SubmitRequest], context: Context) -> pb.Receipt:
        first = await _header(requests)
        header = submission_header_from_wire(first.header)
        announced = await self._coordinator.announce(header)  # only who is enrolled comes further
        async with self._coordinator.upload_of(header.client):
            if not isinstance(announced, pb.Receipt):
                announced = await self._coordinator.announce(header)
            if isinstance(announced, pb.Receipt):
                return announced
            file = self._coordinator.spool()
            try:
                update = await _in_time(read_pieces(requests, header.length, header.digest, announced, into=file))
            except BaseException:
                with suppress(OSError):  # a full disk was the reason already
                    file.close()
                raise
            return await self._coordinator.submit(header, update, header.length + first.ByteSize())


class KeyHoldingService(rpc.KeyHoldingServicer):
    """What the key holder calls."""

    def __init__(self, coordinator: Coordinator, health_of: health.aio.HealthServicer) -> None:
        self._coordinator = coordinator
        self._health = health_of

    @_streams
    async def Attend(self, request: pb.AttendRequest, context: Context) -> AsyncIterator[pb.HolderTask]:
        outbox = Outbox[pb.HolderTask](request.instance)
        try:
            await self._coordinator.attend(outbox)
            await self._health.set(KEY_HOLDING, health_pb2.HealthCheckResponse.SERVING)
            async for task in outbox.messages():
                yield task
        finally:
            if await self._coordinator.unattend(outbox):
                await self._health.set(KEY_HOLDING, health_pb2.HealthCheckResponse.NOT_SERVING)

    @_answers
    async def OfferKey(self, request: pb.KeyOffer, context: Context) -> pb.Accepted:
        id = attempt_id(request.run, request.round, request.attempt)
        await self._coordinator.offer_key(id, key_from_wire(request.key))
        return pb.Accepted()

    @_streams
    async def FetchSubmission(self, request: pb.SubmissionRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        id = attempt_id(request.run, request.round, request.attempt)
        for chunk in payload_chunks(await self._coordinator.payload(id, request.client)):
            yield chunk

    @_answers
    async def Release(self, requests: AsyncIterator[pb.ReleaseRequest], context: Context) -> pb.Accepted:
        header = (await _header(requests)).header
        id = attempt_id(header.run, header.round, header.attempt)
        seconds = checked_seconds(header.decrypt_seconds, "decrypt_seconds")
        if not self._coordinator.is_releasing(id):
            return pb.Accepted()  # a repeated answer: the round is over
        limit = self._coordinator.release_bytes()
        payload = await _in_time(read_pieces(requests, header.length, header.sha256, limit))
        await self._coordinator.release(id, payload.whole(), seconds)
        return pb.Accepted()

    @_answers
    async def DeclineRelease(self, request: pb.Decline, context: Context) -> pb.Accepted:
        id = attempt_id(request.run, request.round, request.attempt)
        if request.reason not in set(Reason):
            raise Refused(Reason.MALFORMED, f"{request.reason[:40]!r} is not the name of a reason")
        await self._coordinator.decline(id, request.sentence[:500])
        return pb.Accepted()


class ObservationService(rpc.ObservationServicer):
    """For whoever looks on."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    @_streams
    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.Progress]:
        outbox = self._coordinator.watch()
        try:
            async for progress in outbox.messages():
                yield progress
        finally:
            await self._coordinator.audience.unseat_watcher(outbox)


async def _in_time(payload: Awaitable[Assembly]) -> Assembly:
    """The payload, if it comes within the time that a transfer may take: a silent sender must not block others."""
    try:
        async with asyncio.timeout(TRANSFER_SECONDS):
            return await payload
    except TimeoutError as error:
        sentence = f"the payload did not arrive within {TRANSFER_SECONDS:g} seconds"
        raise Refused(Reason.WRONG_LENGTH, sentence) from error


async def _header(requests: AsyncIterator[M]) -> M:
    """The first message of a stream, which must be its header."""
    async for first in requests:
        if isinstance(first, Message) and first.WhichOneof("part") == "header":
            return first
        break
    raise Refused(Reason.MALFORMED, "a stream must begin with its header")


async def listen(coordinator: Coordinator, address: str) -> tuple[grpc.aio.Server, int]:
    """Start serving at `address` and give the port, chosen by the system where the address ends in :0.

    Raises SettingsError if the address is in use or not this machine's.
    """
    server = grpc.aio.server(options=_OPTIONS)
    health_service = health.aio.HealthServicer()
    rpc.add_FederationServicer_to_server(FederationService(coordinator), server)
    rpc.add_KeyHoldingServicer_to_server(KeyHoldingService(coordinator, health_service), server)
    rpc.add_ObservationServicer_to_server(ObservationService(coordinator), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {address}; it is in use or not an address of this machine") from error
    await server.start()
    await _set_healthy(health_service, ["", *SERVICES])
    await health_service.set(KEY_HOLDING, health_pb2.HealthCheckResponse.NOT_SERVING)
    return server, port


async def _set_healthy(service: health.aio.HealthServicer, names: Iterable[str]) -> None:
    for name in names:
        await service.set(name, health_pb2.HealthCheckResponse.SERVING)
