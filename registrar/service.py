"""The registrar's service: up only while parties join, with one call. Its rules are those of files (enrolment.py).

A caller has no certificate yet, so anyone who reaches the port can call. What that can cost is bounded: the length of
a request, the calls at a time, and the refused tries of one address and of one invitation.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import structlog

from core.errors import GrokfedError, Reason, Refused, SettingsError
from core.identity import certificates
from core.identity.request import LARGEST_REQUEST, read_request
from core.wire import federation_pb2 as wire
from core.wire import registration_pb2 as pb
from core.wire import registration_pb2_grpc as rpc
from core.wire.status import REASON_KEY, STATUS
from core.wire.streams import payload_chunks
from registrar.enrolment import Outcome, admit
from registrar.folder import Registrar
from registrar.invitations import Invitations

log = structlog.get_logger()
Context = grpc.aio.ServicerContext[Any, Any]

MOST_TRIES, TRIES_SECONDS = 10, 600.0
"""Refused requests from one address, or with one invitation, in this many seconds; then no more are looked at."""
MOST_REMEMBERED = 10_000
"""Addresses whose tries are counted; while there are more, no other address is let in."""
MOST_CALLS = 16
WAITING_SECONDS = 60.0
"""A newcomer that waits for the first roster and has not asked for this long is not waited for."""
LONGEST_QUIET = 600.0
CERTIFICATE_DAYS = 30
STOP_SECONDS = 5.0

_OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST_REQUEST + 1024),
    ("grpc.max_metadata_size", 8192),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_allowed_incoming_connections", 512),
    ("grpc.so_reuseport", 0),
)


class Tries:
    """How often something was refused lately, by key. Holds a bounded number of keys."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def check(self, key: str, what: str) -> None:
        """Raise Refused(TOO_MANY_TRIES) if `key` was refused too often, or cannot be counted."""
        self._forget()
        times = self._failures.get(key, ())
        if len(times) >= MOST_TRIES or (key not in self._failures and len(self._failures) >= MOST_REMEMBERED):
            raise Refused(
                Reason.TOO_MANY_TRIES,
                f"too many requests {what} were refused; try again in {TRIES_SECONDS / 60:g} minutes",
            )

    def failed(self, key: str) -> None:
        """Count a refusal."""
        self._failures.setdefault(key, deque(maxlen=MOST_TRIES)).append(self._clock())

    def _forget(self) -> None:
        oldest = self._clock() - TRIES_SECONDS
        self._failures = {key: times for key, times in self._failures.items() if times[-1] > oldest}


@dataclass
class Registration(rpc.RegistrationServicer):
    """Answers requests, and knows when all who were invited have come.

    Attributes:
        changed: set after each request.
        last_at: when a request was admitted last, in the clock's seconds; at first, when the service began.
    """

    registrar: Registrar
    years: int = certificates.YEARS
    clock: Callable[[], float] = time.monotonic
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.last_at = self.clock()
        self._addresses, self._invitations = Tries(self.clock), Tries(self.clock)
        self._waiting: dict[bytes, float] = {}
        self._answering = 0
        self._one_at_a_time = asyncio.Lock()

    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> AsyncIterator[wire.Chunk]:
        address = _host(context.peer())
        try:
            outcome = await self.answer(request.request, address)
        except Refused as refusal:
            if refusal.reason is not Reason.NOT_COMPLETE:  # which is said again and again while it lasts
                log.info("refused", address=address, reason=refusal.reason.value, message=str(refusal))
            context.set_trailing_metadata(((REASON_KEY, refusal.reason.value),))
            await context.abort(STATUS[refusal.reason], str(refusal))
        except GrokfedError as error:
            log.error("not answered", address=address, message=str(error))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the registrar cannot answer at the moment")
        assert outcome.answer is not None
        for chunk in payload_chunks(outcome.answer):
            yield chunk

    async def answer(self, raw: bytes, address: str) -> Outcome:
        """Admit a request from an address, and return what it is to be sent. Raises Refused and what admit() raises."""
        self._addresses.check(address, "from this address")
        self._answering += 1
        try:
            request = read_request(raw, self.registrar.proof_key)
            invitation = request.invitation.hex()
            self._invitations.check(invitation, "with this invitation")
            try:
                async with self._one_at_a_time:
                    outcome = await asyncio.to_thread(admit, self.registrar, request, datetime.now(UTC), self.years)
            except Refused:
                self._invitations.failed(invitation)
                raise
        except Refused as refusal:
            if refusal.reason is not Reason.TOO_MANY_TRIES:
                self._addresses.failed(address)
            raise
        finally:
            self._answering -= 1
            self.changed.set()
        if outcome.new:
            self.last_at = self.clock()
            log.info("enrolled", name=outcome.name, role=request.role.value, address=address)
        return self._complete(request.digest, outcome)

    def _complete(self, digest: bytes, outcome: Outcome) -> Outcome:
        if outcome.answer is None:
            self._waiting[digest] = self.clock()
            raise Refused(
                Reason.NOT_COMPLETE,
                f"{outcome.name} is admitted; the first roster can be signed when {', '.join(outcome.missing)} "
                f"{'has' if len(outcome.missing) == 1 else 'have'} come too",
            )
        self._waiting.pop(digest, None)
        return outcome

    def quiet_for(self) -> float:
        """Return for how many seconds no one has been admitted; 0 while a request is looked at."""
        return 0.0 if self._answering else self.clock() - self.last_at

    def complete(self) -> bool:
        """Return whether every invitation is used up or has expired, and no party waits for an answer."""
        now = datetime.now(UTC)
        waiting = any(self.clock() - at < WAITING_SECONDS for at in self._waiting.values())
        return not waiting and not any(each.open_at(now) for each in Invitations(self.registrar.folder).all())


async def listen(service: Registration, address: str) -> tuple[grpc.aio.Server, int]:
    """Start serving at `address` and return the port; port 0 lets the system choose one.

    The service's TLS key is made now and never written down. Raises SettingsError if the address is in use or not this
    machine's.
    """
    registrar, key = service.registrar, certificates.new_key()
    certificate = certificates.issue_for_registration(
        registrar.authority, registrar.federation, key.public_key(), now=datetime.now(UTC), days=CERTIFICATE_DAYS
    )
    credentials = grpc.ssl_server_credentials([(certificates.key_to_pem(key), certificate)])
    server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
    rpc.add_RegistrationServicer_to_server(service, server)
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise SettingsError(f"cannot listen on {address}; it is in use or not an address of this machine") from error
    await server.start()
    return server, port


@dataclass(frozen=True)
class Ending:
    """When the service ends by itself.

    Attributes:
        complete: when all who were invited have come.
        quiet: when no party has come for this many seconds; None for never.
        at_least: not before this many clients are enrolled, unless no one has come for LONGEST_QUIET.
    """

    complete: bool = False
    quiet: float | None = None
    at_least: int = 0

    def seconds(self, registrar: Registrar) -> float | None:
        """Return for how many seconds no one may come."""
        if self.quiet is None:
            return None
        newest = registrar.now().newest
        enough = newest is not None and len(newest.clients) >= self.at_least
        return self.quiet if enough else max(self.quiet, LONGEST_QUIET)


async def serve(service: Registration, address: str, ending: Ending) -> str:
    """Serve until it is to end, and say why it did."""
    server, port = await listen(service, address)
    print(f"listening on {address.rpartition(':')[0]}:{port}", flush=True)
    try:
        while True:
            service.changed.clear()
            if ending.complete and service.complete():
                return "all who were invited have come"
            quiet = ending.seconds(service.registrar)
            left = None if quiet is None else quiet - service.quiet_for()
            if quiet is not None and left is not None and left <= 0:
                return f"no one has come for {quiet:g} seconds"
            await _changed(service, min(left or WAITING_SECONDS, WAITING_SECONDS))
    finally:
        await server.stop(grace=STOP_SECONDS)


async def _changed(service: Registration, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await service.changed.wait()
    except TimeoutError:
        return


def _host(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as ipv4:192.0.2.1:50000, without the port."""
    return peer.rpartition(":")[0] or peer
