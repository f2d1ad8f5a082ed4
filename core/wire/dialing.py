"""Reach the aggregator: one channel, a deadline on every call, and the one place where calls are repeated.

Clients and the key holder only dial out. A call that reaches no server, or gets no answer in time, is repeated after a
random and growing pause until the party's patience is over; then it gives up with a sentence. Refusals are final,
but for those of a moment (core.errors.PASSING).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar, cast

import grpc
import structlog
import tenacity
from google.protobuf.message_factory import GetMessageClass

from core.errors import PASSING, ConnectionLostError, GrokfedError, SettingsError
from core.heap import return_freed_memory
from core.identity.certificates import server_name
from core.identity.party import PartyIdentity
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire import proxies
from core.wire.calls import Ask, Call, Download, Upload
from core.wire.status import refusal_of
from core.wire.streams import read_chunks

CALL_SECONDS = 30.0
"""Deadline of a call that carries little."""
TRANSFER_SECONDS = 300.0
"""Deadline of a call that carries a model or an update."""
STREAM_SECONDS = 3600.0
"""Deadline of the stream on which the aggregator pushes; it is opened anew when it is over."""

LONGEST_SILENCE = 30.0
"""Seconds of silence after which a connection counts as lost; with little patience it is half of that."""
PROXY_SECONDS = 15.0
"""Longest wait for a first answer through a proxy: one that does not let us through will not do so later."""

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # By default a name is looked up every 30 seconds only, and a container's is unknown while it is stopped.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)
_WORTH_REPEATING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)

SHORTEST_SILENCE = 6.0
SHORTEST_ATTEMPT = 1.0
SAY_AFTER_ATTEMPTS = 3
PARTY_KEY = "grokfed-party"
"""Metadata that names the caller where there is no certificate."""

log = structlog.get_logger()
T = TypeVar("T")
Options = tuple[tuple[str, str | int], ...]


class AggregatorConnection:
    """A party's connection to the aggregator at `address` (host:port).

    Args:
        patience: how many seconds an outage may last before ConnectionLostError.
        identity: who calls; the aggregator must prove that it is the one of the same federation.
        plaintext: no TLS, and no proof of identity. For demonstrations.
    """

    def __init__(self, address: str, patience: float, identity: PartyIdentity, *, plaintext: bool = False) -> None:
        check_address(address)
        self.address = address
        self._patience = patience
        self._silence = min(LONGEST_SILENCE, max(SHORTEST_SILENCE, patience / 2))
        options = (*_OPTIONS, proxies.channel_option(address), *_keepalive(self._silence))
        self.channel = (_plaintext_channel if plaintext else _secure_channel)(address, identity, options)
        self._methods = methods_of(self.channel)
        self._single_methods = single_methods_of(self.channel)
        self._answered = False

    def __enter__(self) -> AggregatorConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def carry(self, call: Call) -> Any:
        """Make a call, repeated through outages, and return its reply.

        What was freed is returned to the system before: a party waits here, often for others, after much work.

        Raises Refused if the aggregator turned it down, ConnectionLostError when patience is over.
        """
        return_freed_memory()
        return self._repeated(lambda left: self._sent(call, left))

    def _sent(self, call: Call, left: float) -> Any:
        method = self._methods[call.method]
        match call:
            case Ask(message=message):
                return method(message, timeout=min(CALL_SECONDS, left))
            case Upload():
                if (single := call.single) is not None:
                    return self._single_methods[call.method](single, timeout=TRANSFER_SECONDS)
                return method(call.messages(), timeout=TRANSFER_SECONDS)
            case Download(message=message, limit=limit):
                return read_chunks(method(message, timeout=TRANSFER_SECONDS), limit)

    def _repeated(self, send: Callable[[float], T], silent_for: float = 0.0) -> T:
        """Call `send` with the seconds that are left, until it succeeds or patience is over.

        Args:
            silent_for: seconds that the outage has lasted already.
        """
        outage = _Outage(self._limit, self._silence, silent_for)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_worth_repeating),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=3.0),
            stop=outage,
            before_sleep=self._say_waiting,
            reraise=True,
        )
        try:
            reply = retrying(lambda: send(outage.left))
        except grpc.RpcError as error:
            raise self._explained(error) from error
        self._answered = True
        return reply

    @property
    def _limit(self) -> float:
        """Seconds that an outage may last now."""
        if not self._answered and proxies.proxy_variable(self.address):
            return min(self._patience, PROXY_SECONDS)
        return self._patience

    def subscribe(self, call: Ask) -> Iterator[Any]:
        """Yield what the aggregator pushes, through outages, until it ends the stream itself."""
        method, silent_for = self._methods[call.method], 0.0
        while True:
            messages = self._repeated(lambda _left: _begun(method(call.message, timeout=STREAM_SECONDS)), silent_for)
            try:
                yield from messages
            except grpc.RpcError as error:
                if not is_worth_repeating(error):
                    raise self._explained(error) from error
                silent_for = self._silence if _fell_silent(error) else 0.0
            else:
                return

    def _say_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == SAY_AFTER_ATTEMPTS:
            hint = proxies.advice(self.address)
            log.warning(f"no answer from {self.address} yet; trying for {self._limit:g} seconds{hint}")

    def _explained(self, error: grpc.RpcError) -> GrokfedError:
        if refusal := refusal_of(error):
            return refusal
        code, details = cast("grpc.Call", error).code(), cast("grpc.Call", error).details()
        if is_worth_repeating(error):
            hint = proxies.advice(self.address)
            return ConnectionLostError(f"no answer from {self.address} for {self._limit:g} seconds ({details}){hint}")
        return GrokfedError(f"the aggregator at {self.address} failed: {code.name} {details}")


def methods_of(channel: grpc.Channel) -> dict[str, Callable[..., Any]]:
    """Return the calls of a client and of a key holder on a channel, by name."""
    stubs = (rpc.FederationStub(channel), rpc.KeyHoldingStub(channel), rpc.MembershipStub(channel))
    return {name: call for stub in stubs for name, call in vars(stub).items()}


def single_methods_of(channel: grpc.Channel) -> dict[str, Callable[..., Any]]:
    """Return the calls that take a stream of messages, by name, as calls with one: the other side sees no difference.

    A stream costs its sender a thread of its own.
    """
    return {
        method.name: channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        for service in pb.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.client_streaming
    }


class _Outage:
    """A stop condition: the outage has lasted longer than the party's patience.

    It begins with the first attempt that failed; or, where that one was a long transfer, as long before it broke as
    keepalive takes to notice that the other side is gone. What went well before is no part of it.
    """

    def __init__(self, patience: float, silence: float, silent_for: float) -> None:
        self._patience = patience
        self._silence = silence
        self._began = time.monotonic() - silent_for if silent_for else None

    @property
    def left(self) -> float:
        """Seconds of patience that are left, and at least a moment for one more attempt."""
        if self._began is None:
            return self._patience
        return max(SHORTEST_ATTEMPT, self._began + self._patience - time.monotonic())

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        failed = cast("float", state.outcome_timestamp)
        if self._began is None:
            assert state.outcome is not None
            unnoticed = CALL_SECONDS if _is_late(state.outcome.exception()) else self._silence
            self._began = max(state.start_time, failed - unnoticed)
        return failed - self._began >= self._patience


def channel_options(identity: PartyIdentity, address: str = "127.0.0.1:0") -> tuple[tuple[str, str | int], ...]:
    """Return the options of every channel to this federation's aggregator, wherever it runs."""
    return (
        *_OPTIONS,
        proxies.channel_option(address),
        *_keepalive(LONGEST_SILENCE),
        ("grpc.ssl_target_name_override", server_name(identity.federation)),
    )


def _keepalive(silence: float) -> Options:
    """Ping after two thirds of the silence that is allowed, and leave the rest of it for the answer."""
    milliseconds = round(silence * 1000)
    return (
        ("grpc.keepalive_time_ms", milliseconds * 2 // 3),
        ("grpc.keepalive_timeout_ms", milliseconds // 3),
        ("grpc.http2.ping_timeout_ms", milliseconds // 3),  # decides, and is a minute by default
        ("grpc.http2.max_pings_without_data", 0),  # else only two, and then one a minute
    )


def channel_credentials(identity: PartyIdentity) -> grpc.ChannelCredentials:
    """Mutual TLS: only the federation's own authority is believed, and the caller shows its certificate."""
    return grpc.ssl_channel_credentials(identity.authority_pem, identity.tls_key_pem, identity.certificate_pem)


def plaintext_metadata(identity: PartyIdentity) -> tuple[tuple[str, str], ...]:
    """Return the caller's name for calls without certificates."""
    return ((PARTY_KEY, f"{identity.role.value}/{identity.name}"),)


def _secure_channel(address: str, identity: PartyIdentity, options: Options) -> grpc.Channel:
    named = (*options, ("grpc.ssl_target_name_override", server_name(identity.federation)))
    return grpc.secure_channel(address, channel_credentials(identity), options=named)


def _plaintext_channel(address: str, identity: PartyIdentity, options: Options) -> grpc.Channel:
    claim = _Claim(plaintext_metadata(identity))
    return grpc.intercept_channel(grpc.insecure_channel(address, options=options), claim)


class _Claim(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor):
    """Adds the caller's name to every call."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._named(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._named(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._named(client_call_details), request_iterator)

    def _named(self, details: Any) -> _Details:
        return _Details(details.method, details.timeout, self._metadata)


class _Details(NamedTuple):
    """What gRPC wants to know of a call. (Its own class is abstract.)"""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str], ...]
    credentials: None = None
    wait_for_ready: bool | None = None
    compression: None = None


def check_address(address: str) -> None:
    """Raise SettingsError unless the address has the form host:port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"the server's address is {address!r}; expected HOST:PORT, such as 127.0.0.1:50551")


def _begun(stream: Iterable[T]) -> Iterator[T]:
    """Return the same stream after its first message has come, so that a failure to connect shows here."""
    messages = iter(stream)
    try:
        first = next(messages)
    except StopIteration:
        return iter(())
    return chain([first], messages)


def _is_late(error: BaseException | None) -> bool:
    """Return whether a call had no answer by its deadline."""
    return isinstance(error, grpc.RpcError) and cast("grpc.Call", error).code() is grpc.StatusCode.DEADLINE_EXCEEDED


def _fell_silent(error: grpc.RpcError) -> bool:
    """Return whether a stream ended because pings were not answered any more."""
    details = (cast("grpc.Call", error).details() or "").lower()
    return "ping" in details or "keepalive" in details


def is_worth_repeating(error: BaseException) -> bool:
    """Return whether a call failed in a way that may not last."""
    if not isinstance(error, grpc.RpcError):
        return False
    if refusal := refusal_of(error):
        return refusal.reason in PASSING
    return cast("grpc.Call", error).code() in _WORTH_REPEATING
