"""A network that fails, between real programs: a TCP proxy that can stall, cut and slow down what goes through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

PIECE = 65536


class FaultyNetwork(threading.Thread):
    """Forwards a port of this machine, chosen by the system, to `target` (HOST:PORT).

    stall()   nothing goes through in either direction, and neither side is informed, as when a cable is pulled
    heal()    what was held back is delivered, and new connections are made
    cut()     every connection is closed; new ones can be made
    slow(n)   at most n bytes a second in each direction of each connection; None: as fast as it goes
    """

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._going = asyncio.Event()
        self._rate: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._going.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def stall(self) -> None:
        self._loop.call_soon_threadsafe(self._going.clear)

    def heal(self) -> None:
        self._loop.call_soon_threadsafe(self._going.set)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def slow(self, rate: int | None) -> None:
        self._rate = rate

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(10)

    # -------------------------------------------------------------------------------- in its own thread

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._spawn(self._connect(reader, writer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward both ways until either side, or cut(), ends it."""
        there: asyncio.StreamWriter | None = None
        try:
            await self._going.wait()
            host, _, port = self._target.rpartition(":")
            from_there, there = await asyncio.open_connection(host, int(port))
            ways = [self._loop.create_task(self._forward(*way)) for way in ((reader, there), (from_there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the aggregator is away: the caller sees its connection close
        finally:
            for end in (writer, there):
                if end is not None:
                    end.close()

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(PIECE if self._rate is None else max(1, self._rate // 10)):
                await self._going.wait()
                sink.write(piece)
                await sink.drain()
                if self._rate is not None:
                    await asyncio.sleep(len(piece) / self._rate)

    def _cancel(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
