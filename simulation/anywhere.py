"""Run a coroutine to its end: in a program, in a thread, and where an event loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from core.console import ending_signals, leave_at_once

T = TypeVar("T")


def run_anywhere(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where an event loop is running already.

    In the main thread, Ctrl-C, SIGTERM and SIGHUP cancel it once, and end the process at once when they come again.
    """
    return _in_a_thread(work) if _loop_is_running() else _in_this_thread(work)


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_this_thread(work: Coroutine[Any, Any, T]) -> T:
    came: list[int] = []
    try:
        return asyncio.run(_ending_on_signals(work, came))
    except asyncio.CancelledError:
        if not came:
            raise
    # Raised here, and not in the loop, which would show its own frames and complain of tasks that nobody asked.
    raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(128 + came[0])


async def _ending_on_signals(work: Coroutine[Any, Any, T], came: list[int]) -> T:
    """Await the work; cancel it at the first signal, whose number is then in `came`."""
    if threading.current_thread() is not threading.main_thread():
        return await work
    task = asyncio.current_task()
    assert task is not None

    def end(number: int) -> None:
        if came:
            leave_at_once(number)
        came.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, end, number)
    return await work


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread with its own event loop; interrupting the caller cancels it."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def begun() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(max_workers=1) as thread:
        result = thread.submit(asyncio.run, begun())
        try:
            return result.result()
        except BaseException:
            if not result.done():
                loop, task = started.result()
                loop.call_soon_threadsafe(task.cancel)
            raise
