"""One worker thread for slow work, and steps that a caller's hang-up cannot cut in two."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Worker:
    """One thread for SQLite, big integers and evaluation, so that the event loop stays free for the network."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aggregator")

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call the function in the thread, after earlier calls, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def close(self) -> None:
        self._executor.shutdown()


def shielded_from_cancellation(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a step that has begun run to its end even if the caller hangs up in the middle of it.

    gRPC cancels a handler whose caller is gone. Between the database's commit and the rules' next state that would
    leave the two disagreeing.
    """

    @functools.wraps(method)
    async def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
        step = asyncio.ensure_future(method(*arguments, **named))
        # Mark the exception as seen: if the caller is gone, asyncio would log that it was never retrieved.
        step.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(step)

    return wrapped
