"""An observer follows the aggregator through streams that break, and is told when they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from core.wire import watching


def broken() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


def test_streams_that_break_are_opened_anew_until_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[list[Any]] = [[broken()], ["round 1", broken()], ["round 1", "round 2"]]

    async def watch(_request: object, timeout: float, metadata: object) -> AsyncIterator[str]:
        for message in streams.pop(0):
            if isinstance(message, Exception):
                raise message
            yield message

    @asynccontextmanager
    async def channel(*_: object) -> AsyncIterator[None]:
        yield None

    monkeypatch.setattr(watching, "_channel", channel)
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(watching.rpc, "ObservationStub", lambda _channel: SimpleNamespace(Watch=watch))
    shown: list[Any] = []
    lost: list[str] = []
    asyncio.run(watching.watch("nowhere:1", None, shown.append, lost.append))  # type: ignore[arg-type]
    assert shown == ["round 1", "round 1", "round 2"]
    assert lost == ["no answer from nowhere:1"] * 2
    assert streams == []
