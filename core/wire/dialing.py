"""Reach the aggregator: one channel, a deadline on every call, and the one place where calls are repeated.

Clients and the key holder only dial out. A call that reaches no server, or gets no answer in time, is repeated after a
random and growing pause until the party's patience is over; then it gives up with a sentence. Refusals are final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar, cast

import grpc
import structlog
import tenacity

from core.errors import ConnectionLostError, GrokfedError, Reason, SettingsError
from core.identity.certificates import server_name
from core.identity.party import PartyIdentity
from core.wire import federation_pb2_grpc as rpc
from core.wire.calls import Ask, Call, Download, Upload
from core.wire.status import refusal_of
from core.wire.streams import read_chunks

CALL_SECONDS = 30.0
"""Deadline of a call that carries little."""
TRANSFER_SECONDS = 300.0
"""Deadline of a call that carries a model or an update."""
STREAM_SECONDS = 3600.0
"""Deadline of the stream on which the aggregator pushes; it is opened anew when it is over."""

_OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_WORTH_REPEATING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)

SAY_AFTER_ATTEMPTS = 3
PARTY_KEY = "grokfed-party"
"""Metadata that names the caller where there is no certificate."""

log = structlog.get_logger()
T = TypeVar("T")


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
        self.channel = _plaintext_channel(address, identity) if plaintext else _secure_channel(address, identity)
        self._patience = patience
        self._methods = methods_of(self.channel)

    def __enter__(self) -> AggregatorConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def carry(self, call: Call) -> Any:
        """Make a call, repeated through outages, and return its reply.

        Raises Refused if the aggregator turned it down, ConnectionLostError when patience is over.
        """
        return self._repeated(lambda: self._sent(call))

    def _sent(self, call: Call) -> Any:
        method = self._methods[call.method]
        match call:
            case Ask(message=message):
                return method(message, timeout=CALL_SECONDS)
            case Upload():
                return method(call.messages(), timeout=TRANSFER_SECONDS)
            case Download(message=message, limit=limit):
                return read_chunks(method(message, timeout=TRANSFER_SECONDS), limit)

    def _repeated(self, send: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_repeating),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=3.0),
            stop=_Outage(self._patience),
            before_sleep=self._say_waiting,
            reraise=True,
        )
        try:
            return retrying(send)
        except grpc.RpcError as error:
            raise self._explained(error) from error

    def subscribe(self, call: Ask) -> Iterator[Any]:
        """Yield what the aggregator pushes, through outages, until it ends the stream itself."""
        method = self._methods[call.method]
        while True:
            messages = self._repeated(lambda: _begun(method(call.message, timeout=STREAM_SECONDS)))
            try:
                yield from messages
            except grpc.RpcError as error:
                if not _worth_repeating(error):
                    raise self._explained(error) from error
            else:
                return

    def _say_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == SAY_AFTER_ATTEMPTS:
            log.warning(f"no answer from {self.address} yet; trying for {self._patience:g} seconds")

    def _explained(self, error: grpc.RpcError) -> GrokfedError:
        if refusal := refusal_of(error):
            return refusal
        code, details = cast("grpc.Call", error).code(), cast("grpc.Call", error).details()
        if _worth_repeating(error):
            return ConnectionLostError(f"no answer from {self.address} for {self._patience:g} seconds ({details})")
        return GrokfedError(f"the aggregator at {self.address} failed: {code.name} {details}")


def methods_of(channel: grpc.Channel) -> dict[str, Callable[..., Any]]:
    """Return the calls of a client and of a key holder on a channel, by name."""
    return vars(rpc.FederationStub(channel)) | vars(rpc.KeyHoldingStub(channel))


class _Outage:
    """A stop condition: the outage has lasted longer than the party's patience.

    It begins with the first attempt that failed; or, where that one was a long transfer or a stream, so long before it
    broke as keepalive takes to notice that the other side is gone. What went well before is no part of it.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._began: float | None = None

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        failed = cast("float", state.outcome_timestamp)
        if self._began is None:
            self._began = max(state.start_time, failed - CALL_SECONDS)
        return failed - self._began >= self._patience


def channel_options(identity: PartyIdentity) -> tuple[tuple[str, str | int], ...]:
    """Return options of every channel to this federation's aggregator, wherever it runs."""
    return (*_OPTIONS, ("grpc.ssl_target_name_override", server_name(identity.federation)))


def channel_credentials(identity: PartyIdentity) -> grpc.ChannelCredentials:
    """Mutual TLS: only the federation's own authority is believed, and the caller shows its certificate."""
    return grpc.ssl_channel_credentials(identity.authority_pem, identity.tls_key_pem, identity.certificate_pem)


def plaintext_metadata(identity: PartyIdentity) -> tuple[tuple[str, str], ...]:
    """Return the caller's name for calls without certificates."""
    return ((PARTY_KEY, f"{identity.role.value}/{identity.name}"),)


def _secure_channel(address: str, identity: PartyIdentity) -> grpc.Channel:
    return grpc.secure_channel(address, channel_credentials(identity), options=channel_options(identity))


def _plaintext_channel(address: str, identity: PartyIdentity) -> grpc.Channel:
    return grpc.intercept_channel(
        grpc.insecure_channel(address, options=_OPTIONS), _Claim(plaintext_metadata(identity))
    )


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


def _worth_repeating(error: BaseException) -> bool:
    if not isinstance(error, grpc.RpcError):
        return False
    if refusal := refusal_of(error):
        return refusal.reason is Reason.STORAGE
    return cast("grpc.Call", error).code() in _WORTH_REPEATING
