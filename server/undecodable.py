"""Refusing bytes that are not a message of the protocol by name, like every other malformed message.

By default gRPC answers them with UNKNOWN or INTERNAL and names the exception.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError

from core.errors import Reason, Refused
from core.wire import federation_pb2 as pb

M = TypeVar("M")
OURS = f"/{pb.DESCRIPTOR.package}."


class Undecodable:
    """Stands for a request that could not be read."""


class TakeUndecodable(grpc.aio.ServerInterceptor):
    """Lets handlers see that a request could not be read, so that they can refuse it."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        return handler._replace(request_deserializer=_tolerant(handler.request_deserializer))


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
