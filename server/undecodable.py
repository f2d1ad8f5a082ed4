"""Refusing bytes that are not a message of the protocol by name, like every other malformed message.

By default gRPC answers them with UNKNOWN or INTERNAL and names the exception.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from core.errors import Reason, Refused

M = TypeVar("M")


class Undecodable:
    """Stands for a request that could not be read."""


class TakeUndecodable:
    """Stands in for a server where handlers are added: they see that a request could not be read, and can refuse it.

    (An interceptor could do the same, at the cost of another coroutine for each call.)
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, _handlers: object) -> None:
        """Do nothing: all calls of the protocol are registered by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the handlers of a service, by the name of the call."""
        tolerant = {
            name: handler._replace(request_deserializer=_tolerant(handler.request_deserializer))
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, tolerant)


def _tolerant(parse: Callable[[bytes], M]) -> Callable[[bytes], M | Undecodable]:
    def parsed(raw: bytes) -> M | Undecodable:
        try:
            return parse(raw)
        except DecodeError:
            return Undecodable()

    return parsed


def readable(request: Any) -> Any:
    """Return the request, or the stream of requests. Raise Refused(MALFORMED) if one of them could not be read."""
    if isinstance(request, Undecodable):
        raise Refused(Reason.MALFORMED, "the request is not a message of this protocol")
    return _each_readable(request) if hasattr(request, "__aiter__") else request


async def _each_readable(requests: AsyncIterator[M]) -> AsyncIterator[M]:
    async for request in requests:
        yield readable(request)
