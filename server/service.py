"""The gRPC services of a run: translate, call, translate back. No rules and no mathematics here."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from core.errors import Reason, Refused, SettingsError
from core.identity.certificates import PeerName
from core.identity.party import PartyIdentity
from core.identity.roster import LARGEST_ROSTER, Member
from core.protocol import MOST_OFFERED, AttemptId, HolderSignature
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.holder_messages import holder_signature_from_wire, start_from_bytes, start_from_wire, vouch_from_wire
from core.wire.messages import (
    attempt_id,
    checked_seconds,
    signed_commitment_from_wire,
    signed_key_from_wire,
    submission_header_from_wire,
    timings_from_wire,
)
from core.wire.streams import PIECE_BYTES, model_chunks, payload_chunks, read_pieces
from server.admission import Context
from server.answering import Gate, Service, answers, answers_newcomers, as_status, streams
from server.audience import Outbox
from server.call_limits import CallLimits
from server.clients import Clients
from server.connections import Connections, connection_options, defer_accept, raise_file_limit
from server.holders import Holders
from server.incoming import begun, in_time
from server.run import ActiveRun
from server.undecodable import TakeUndecodable

M = TypeVar("M")
T = TypeVar("T")
SERVICES = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]
MOST_CHARACTERS = 500

WATCH_SECONDS = 0.05
"""Observers are told no more often than that; a round of many clients changes hundreds of times a second."""

LARGEST_MESSAGE = 1 << 20
"""Bytes of one message. Whatever is long comes here in pieces of PIECE_BYTES."""

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    # How much a sender may send ahead of what was read, in bytes. gRPC would let it grow with the line's speed, to some
    # ten megabytes a connection, whether or not any of it is wanted.
    ("grpc.http2.lookahead_bytes", PIECE_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.so_reuseport", 0),  # else a second server on a taken port would start and get half of the calls
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # decides, and is a minute by default
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 3_000),  # what a party with the least patience needs
    ("grpc.keepalive_permit_without_calls", 1),
)


class FederationService(Service, rpc.FederationServicer):
    """What data owners call."""

    def __init__(self, run: ActiveRun, gate: Gate) -> None:
        super().__init__(run, gate)
        self._calls = Clients(run)

    @streams
    async def Join(self, request: pb.JoinRequest, caller: Member) -> AsyncGenerator[pb.Notice, None]:
        outbox = Outbox[pb.Notice](request.instance)
        try:
            await self._calls.join(caller, request, outbox)
            async for notice in outbox.messages():
                yield notice
        finally:
            await self._calls.leave(caller.name, outbox)

    @streams
    async def FetchModel(self, request: pb.ModelRequest, caller: Member) -> AsyncGenerator[pb.Chunk, None]:
        wanted = request.round if request.HasField("round") else None
        served = await self.run.served_model(wanted)
        payload = served.model + served.state if request.with_state else served.model
        run, state_digest = self.run.context.id, served.state_digest
        for chunk in model_chunks(payload, run, served.round, served.endorsements, state_digest):
            yield chunk

    @answers
    async def Commit(self, request: pb.CommitRequest, caller: Member) -> pb.Receipt:
        signed = signed_commitment_from_wire(request.commitment)
        return await self._calls.commit(caller, signed, timings_from_wire(request))

    @answers
    async def Submit(self, requests: AsyncIterator[pb.SubmitRequest], caller: Member) -> pb.Receipt:
        first, whole = await begun(requests)
        header = submission_header_from_wire(first.header)
        async with self._calls.upload_of(caller.name):
            admitted = await self._calls.announce(caller, header)
            if isinstance(admitted, pb.Receipt):
                return admitted
            file = self._calls.spool(header.length)
            try:
                update = await in_time(read_pieces(requests, header.length, header.digest, admitted, file, whole))
            except BaseException:
                with suppress(OSError):  # a full disk was the reason already
                    file.close()
                raise
            return await self._calls.submit(caller, header, update, header.length + first.ByteSize())


class KeyHoldingService(Service, rpc.KeyHoldingServicer):
    """What key holders call. The health service says whether one attends, under the holder's name."""

    def __init__(self, run: ActiveRun, health_of: health.aio.HealthServicer, gate: Gate) -> None:
        super().__init__(run, gate)
        self._calls = Holders(run)
        self._health = health_of

    @streams
    async def Attend(self, request: pb.AttendRequest, caller: Member) -> AsyncGenerator[pb.HolderTask, None]:
        start = start_from_wire(request.start)
        self._calls.require_same_task(caller, request)
        outbox = Outbox[pb.HolderTask](start_from_bytes(start.body).life)
        try:
            await self._calls.attend(caller, outbox, start)
            await self._health.set(caller.name, health_pb2.HealthCheckResponse.SERVING)
            yield pb.HolderTask(roster_version=self.run.announce_roster())  # an empty task confirms the connection
            async for task in outbox.messages():
                yield task
        finally:
            if await self._calls.leave(caller.name, outbox):
                await self._health.set(caller.name, health_pb2.HealthCheckResponse.NOT_SERVING)

    @answers
    async def VouchFor(self, request: pb.Vouching, caller: Member) -> pb.Accepted:
        _, vouch = vouch_from_wire(request.vouch)
        await self._calls.vouched(caller, request.about, vouch)
        return pb.Accepted()

    @answers
    async def Serve(self, request: pb.ServeRequest, caller: Member) -> pb.Accepted:
        await self._calls.serve(caller, request.least_difference)
        return pb.Accepted()

    @answers
    async def OfferKeys(self, request: pb.KeyOffer, caller: Member) -> pb.Accepted:
        if len(request.keys) > MOST_OFFERED:
            raise Refused(Reason.MALFORMED, f"{len(request.keys)} keys are offered; at most {MOST_OFFERED} at a time")
        keys = [signed_key_from_wire(key) for key in request.keys]
        await self._calls.offer_keys(caller, _attempt_of(request), keys)
        return pb.Accepted()

    @answers
    async def SignList(self, request: pb.ListSignature, caller: Member) -> pb.Accepted:
        await self._calls.list_signed(caller, _attempt_of(request), _signature_of(caller, request))
        return pb.Accepted()

    @streams
    async def FetchSubmissions(self, request: pb.SubmissionsRequest, caller: Member) -> AsyncGenerator[pb.Chunk, None]:
        updates = await self._calls.updates(_attempt_of(request), request.clients)
        for chunk in payload_chunks(b"".join(updates), pb.PayloadHeader(parts=map(len, updates))):
            yield chunk

    @answers
    async def SignRequest(self, request: pb.RequestSignature, caller: Member) -> pb.Accepted:
        seconds, exposure = checked_seconds(request.seconds, "seconds"), request.exposure[:MOST_CHARACTERS]
        signature = _signature_of(caller, request)
        await self._calls.request_signed(caller, _attempt_of(request), signature, seconds, exposure)
        return pb.Accepted()

    @answers
    async def Release(self, requests: AsyncIterator[pb.ReleaseRequest], caller: Member) -> pb.Accepted:
        first, whole = await begun(requests)
        header = first.header
        id = _attempt_of(header)
        limit = self._calls.answer_bytes(id)
        if limit is None:
            return pb.Accepted()  # a repeated answer: the sum is open
        if header.length != limit:
            message = f"the share of the opening has {header.length} bytes; expected {limit}"
            raise Refused(Reason.WRONG_LENGTH, message)
        payload = await in_time(read_pieces(requests, header.length, header.sha256, limit, whole=whole))
        await self._calls.release(caller, id, payload.whole())
        return pb.Accepted()

    @streams
    async def FetchOpenedSum(self, request: pb.OpenedSumRequest, caller: Member) -> AsyncGenerator[pb.Chunk, None]:
        for chunk in payload_chunks(await self._calls.opened_sum(_attempt_of(request))):
            yield chunk

    @answers
    async def EndorseModel(self, request: pb.ModelEndorsement, caller: Member) -> pb.Accepted:
        await self._calls.endorsed(caller, _attempt_of(request), _signature_of(caller, request))
        return pb.Accepted()

    @answers
    async def DeclineTask(self, request: pb.Decline, caller: Member) -> pb.Accepted:
        if request.reason not in set(Reason):
            raise Refused(Reason.MALFORMED, f"{request.reason[:40]!r} is not the name of a reason")
        refusal = Refused(Reason(request.reason), request.sentence[:MOST_CHARACTERS], tuple(request.clients))
        await self._calls.decline(caller, _attempt_of(request), refusal)
        return pb.Accepted()


class MembershipService(Service, rpc.MembershipServicer):
    """What any party calls about the roster. A newcomer is known by the roster that it offers."""

    @streams
    async def FetchRoster(self, request: pb.RosterRequest, caller: Member) -> AsyncGenerator[pb.Chunk, None]:
        for chunk in payload_chunks(self.run.context.identity.roster.raw):
            yield chunk

    @answers_newcomers
    async def OfferRoster(self, requests: AsyncIterator[pb.RosterOffer], caller: PeerName) -> pb.Accepted:
        first, whole = await begun(requests)
        header = first.header
        roster = self.run.context.identity.roster
        if header.version > roster.current().version:
            payload = await in_time(read_pieces(requests, header.length, header.sha256, LARGEST_ROSTER, whole=whole))
            await self.run.take_roster(payload.whole(), caller)
        return pb.Accepted()


class ObservationService(Service, rpc.ObservationServicer):
    """What observers call."""

    @streams
    async def Watch(self, request: pb.WatchRequest, caller: Member) -> AsyncGenerator[pb.Progress, None]:
        watcher = self.run.watch()
        try:
            async for progress in watcher.messages(WATCH_SECONDS):
                yield progress
        finally:
            await self.run.audience.unseat_watcher(watcher)


class MembersHealth(Service, health.aio.HealthServicer):  # type: ignore[misc]
    """The standard health service, for members only: it says which key holders attend."""

    def __init__(self, run: ActiveRun, gate: Gate) -> None:
        Service.__init__(self, run, gate)
        health.aio.HealthServicer.__init__(self)

    async def Check(self, request: Message, context: Context) -> object:
        async with as_status(self.run, context, "Check"):
            with self.admitted(context, "Check"):
                return await super().Check(request, context)
        raise AssertionError("a status always ends the call")

    async def Watch(self, request: Message, context: Context) -> None:
        async with as_status(self.run, context, "Watch"):
            with self.admitted(context, "Watch"):
                await super().Watch(request, context)


class MembersReflection(Service, reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """The standard reflection service, for members only."""

    def __init__(self, run: ActiveRun, names: Iterable[str], gate: Gate) -> None:
        Service.__init__(self, run, gate)
        reflection.aio.ReflectionServicer.__init__(self, names)

    async def ServerReflectionInfo(
        self, request_iterator: AsyncIterator[Message], context: Context
    ) -> AsyncIterator[object]:
        async with as_status(self.run, context, "ServerReflectionInfo"):
            with self.admitted(context, "ServerReflectionInfo"):
                async for answer in super().ServerReflectionInfo(request_iterator, context):
                    yield answer


class NamesAttempt(Protocol):
    """A message that says which attempt it is about."""

    run: str
    round: int
    attempt: int


def _attempt_of(message: NamesAttempt) -> AttemptId:
    return attempt_id(message.run, message.round, message.attempt)


class IsSigned(Protocol):
    """A message with a key holder's signature and the state of its ledger."""

    signature: bytes

    @property
    def ledger(self) -> pb.LedgerState:
        """The state of the signer's ledger."""


def _signature_of(caller: Member, message: IsSigned) -> HolderSignature:
    return holder_signature_from_wire(caller.name, message.signature, message.ledger)


@dataclass(frozen=True)
class Services:
    """The objects whose methods answer the calls of one run: four of the protocol, and two standard ones."""

    federation: FederationService
    key_holding: KeyHoldingService
    observation: ObservationService
    membership: MembershipService
    health: MembersHealth
    reflection: MembersReflection


def services_for(run: ActiveRun, gate: Gate) -> Services:
    """Build the services of a run without any socket; each handler is called with (request, context)."""
    health_service = MembersHealth(run, gate)
    return Services(
        FederationService(run, gate),
        KeyHoldingService(run, health_service, gate),
        ObservationService(run, gate),
        MembershipService(run, gate),
        health_service,
        MembersReflection(run, (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), gate),
    )


async def listen(
    run: ActiveRun, address: str, *, plaintext: bool = False, limits: CallLimits | None = None
) -> tuple[grpc.aio.Server, int]:
    """Start serving at `address` and return the port; port 0 lets the system choose one.

    Args:
        plaintext: take the caller's name from the call's metadata instead of its certificate. INSECURE.
        limits: what one member may ask for; the usual limits if None.

    Raises SettingsError if the address is in use or not this machine's.
    """
    options = (*_OPTIONS, *connection_options(raise_file_limit(), len(run.context.verifier.roster.members)))
    server = grpc.aio.server(options=options)
    gate = Gate(limits or CallLimits(time.monotonic), Connections(time.monotonic), plaintext)
    services = services_for(run, gate)
    _register(server, services)
    try:
        port = server.add_insecure_port(address) if plaintext else _secure_port(server, run.context.identity, address)
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {address}; it is in use or not an address of this machine") from error
    await server.start()
    defer_accept(port)
    gate.connections.watch_over(server, port)
    await _set_healthy(services.health, ["", *SERVICES])
    return server, port


def _register(server: grpc.aio.Server, services: Services) -> None:
    ours: Any = TakeUndecodable(server)
    rpc.add_FederationServicer_to_server(services.federation, ours)
    rpc.add_KeyHoldingServicer_to_server(services.key_holding, ours)
    rpc.add_ObservationServicer_to_server(services.observation, ours)
    rpc.add_MembershipServicer_to_server(services.membership, ours)
    health_pb2_grpc.add_HealthServicer_to_server(services.health, server)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(services.reflection, server)


def _secure_port(server: grpc.aio.Server, identity: PartyIdentity, address: str) -> int:
    """Take connections only from holders of a certificate of this federation's authority (mutual TLS)."""
    credentials = grpc.ssl_server_credentials(
        [(identity.tls_key_pem, identity.certificate_pem)],
        root_certificates=identity.authority_pem,
        require_client_auth=True,
    )
    return server.add_secure_port(address, credentials)


async def _set_healthy(service: health.aio.HealthServicer, names: Iterable[str]) -> None:
    for name in names:
        await service.set(name, health_pb2.HealthCheckResponse.SERVING)
