"""Payloads on their way in: each begins with its header, and has to arrive in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from core.errors import Reason, Refused
from core.wire import federation_pb2 as pb
from core.wire.dialing import TRANSFER_SECONDS

M = TypeVar("M", pb.SubmitRequest, pb.ReleaseRequest, pb.RosterOffer)
T = TypeVar("T")


async def in_time(payload: Awaitable[T]) -> T:
    """Return the payload (or its header) if it arrives within the time of a transfer: no silent sender may block."""
    try:
        async with asyncio.timeout(TRANSFER_SECONDS):
            return await payload
    except TimeoutError as error:
        message = f"the payload did not arrive within {TRANSFER_SECONDS:g} seconds"
        raise Refused(Reason.WRONG_LENGTH, message) from error


async def begun(requests: AsyncIterator[M]) -> tuple[M, bytes]:
    """Return the first message of a stream, which must be its header, and the payload if it came with that.

    Raises Refused(MALFORMED or WRONG_LENGTH).
    """
    first = await in_time(_header(requests))
    whole = first.whole
    first.ClearField("whole")
    return first, whole


async def _header(requests: AsyncIterator[M]) -> M:
    async for first in requests:
        if first.WhichOneof("part") == "header":
            return first
        break
    raise Refused(Reason.MALFORMED, "a stream must begin with its header")
