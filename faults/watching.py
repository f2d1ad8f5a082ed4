"""Look on at a run over the wire: when each phase began, and who is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import grpc

from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import AggregatorConnection
from faults.parties import Parties


class Watcher(threading.Thread):
    """Notes what the aggregator tells those who look on. `began` has the time of each phase of each round."""

    def __init__(self, parties: Parties, address: str) -> None:
        super().__init__(daemon=True)
        self.began: dict[tuple[str, int], float] = {}
        self.last = pb.Progress()
        self._changed = threading.Condition()
        self._line = AggregatorConnection(address, 5.0, parties["server"])
        self.start()

    def run(self) -> None:
        stub = rpc.ObservationStub(self._line.channel)
        with suppress(grpc.RpcError, ValueError):
            for progress in stub.Watch(pb.WatchRequest()):
                with self._changed:
                    self.last = progress
                    self.began.setdefault((progress.phase, progress.round), time.monotonic())
                    self._changed.notify_all()

    def wait_for(self, holds: Callable[[pb.Progress], bool], patience: float) -> float:
        """Wait until the progress fulfils this, and return the seconds. Raises AssertionError when patience is over."""
        started = time.monotonic()
        with self._changed:
            if not self._changed.wait_for(lambda: holds(self.last), patience):
                raise AssertionError(f"not seen within {patience:g} seconds; the last status: {self.last}")
        return time.monotonic() - started

    def close(self) -> None:
        self._line.channel.close()
        self.join(5.0)
