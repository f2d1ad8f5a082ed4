"""The simulation follows its aggregator through streams that break, and says so if it could not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from simulation import federation


class Display:
    def __init__(self) -> None:
        self.shown: list[str] = []

    def show(self, progress: str) -> None:
        self.shown.append(progress)


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

    monkeypatch.setattr(federation, "load_identity", lambda *_: None)
    monkeypatch.setattr(federation, "_channel", channel)
    monkeypatch.setattr(federation, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(federation.rpc, "ObservationStub", lambda _channel: SimpleNamespace(Watch=watch))
    display = Display()
    asyncio.run(federation._watch("nowhere:1", Path(), False, display))  # type: ignore[arg-type]
    assert display.shown == ["round 1", "round 1", "round 2"]
    assert streams == []
