"""Worker processes that each take block after block of a round's clients and keep one partial sum.

The model, the clients' numbers and the sums lie in memory that all of them share. Blocks are dealt out as workers
become free, small enough that they end together. What a worker had added is lost with it if it dies: its blocks are
dealt out again, to a worker in its place. Workers are forked; where a system has no safe fork they start as new
interpreters, which takes longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from core.errors import GrokfedError, RunFailedError, SettingsError
from core.secagg.factory import adder_for
from core.secagg.powers import processors
from core.tasks import get_task
from core.tasks.task import Task
from simulation.virtual.block import BlockRunner, EncryptedSum, PartialSum, RoundJob, Seconds, SlotSum

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Progress = Callable[[int], None]
"""Told how many more clients are done."""
BLOCK_SECONDS = 0.2
"""The longest that a block should take, so that progress shows and workers end together."""
STOP_SECONDS = 5.0
START_METHOD = "fork" if sys.platform == "linux" else "spawn"

default_workers = processors


class Shared:
    """An array in memory that is shared with the worker processes, which are handed this object when they start."""

    def __init__(self, context: Any, length: int, dtype: type[np.float64 | np.int64]) -> None:
        kind = ctypes.c_double if dtype is np.float64 else ctypes.c_int64
        self._memory, self._length, self._dtype = context.RawArray(kind, max(1, length)), length, dtype

    @property
    def array(self) -> Any:
        """The array, shape (length,), of zeros at first."""
        return np.frombuffer(self._memory, dtype=self._dtype, count=self._length)


def _by_name(task: Task) -> tuple[Any, ...]:
    """Hand a task to a new interpreter as its name: its functions cannot travel.

    Raises SettingsError for a task of the user's own.
    """
    if task.source is not None:
        raise SettingsError(f"the task {task.name} of your own needs forked workers, which only Linux has")
    return get_task, (task.name,)


ForkingPickler.register(Task, _by_name)


@dataclass
class _Worker:
    """One worker as its parent sees it."""

    number: int
    process: Any
    connection: Connection
    sums: Shared
    blocks: list[tuple[int, int]] = field(default_factory=list)
    """Those of this round that it was given."""
    replaced: bool = False


class WorkerPool:
    """Some processes that train a task's clients.

    Args:
        values: numbers that clients train from, as VirtualRun.start, and `slots`: numbers in one update.
        largest_round: the most clients that a round has.
        method: how workers start, fork or spawn; a spawned worker finds its task by the name.
    """

    def __init__(
        self, runner: BlockRunner, workers: int, values: int, slots: int, largest_round: int, method: str = START_METHOD
    ) -> None:
        self._runner = runner
        self._context: Any = multiprocessing.get_context(method)
        self._forks = method == "fork"
        self._start = Shared(self._context, values, np.float64)
        self._numbers = Shared(self._context, largest_round, np.int64)
        self._workers: list[_Worker] = []
        self._client_seconds = 0.0
        for number in range(1, workers + 1):
            self._workers.append(self._started(number, Shared(self._context, slots, np.int64)))

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(STOP_SECONDS)
            worker.connection.close()

    def _started(self, number: int, sums: Shared) -> _Worker:
        ours, theirs = self._context.Pipe()
        others = [*(worker.connection for worker in self._workers), ours] if self._forks else []
        arguments = (self._runner, self._start, self._numbers, sums, theirs, others)
        process = self._context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Worker(number, process, ours, sums)

    def sum(self, job: RoundJob, start: FloatArray, numbers: Sequence[int], done: Progress) -> PartialSum:
        """Let these clients train from `start`, as VirtualRun.start, and return their sum.

        Raises RunFailedError if a worker dies twice; what a client's training raises.
        """
        self._start.array[:] = start
        self._numbers.array[: len(numbers)] = numbers
        for worker in self._workers:
            worker.blocks.clear()
            worker.sums.array[:] = 0
            worker.connection.send(job)
        seconds = self._dealt_out(job, len(numbers), done)
        return self._collected(job, len(numbers), seconds)

    # -------------------------------------------------------------------------------- dealing out

    def _dealt_out(self, job: RoundJob, count: int, done: Progress) -> Seconds:
        """Give blocks to free workers until all clients are done."""
        dealing, seconds = _Dealing(count), Seconds()
        busy: dict[Connection, _Worker] = {}
        idle = list(self._workers)
        while busy or dealing.left:
            while idle and dealing.left:
                worker = idle.pop()
                block = dealing.next(self._block_size(dealing.left))
                worker.blocks.append(block)
                with contextlib.suppress(OSError):  # it is dead, which shows below
                    worker.connection.send(block)
                busy[worker.connection] = worker
            for ready in wait(list(busy)):
                worker = busy.pop(cast("Connection", ready))
                reply = _received(worker)
                if reply is None:
                    done(-sum(stop - start for start, stop in worker.blocks[:-1]))
                    dealing.again(worker.blocks)
                    worker = self._replaced(worker, job)
                elif isinstance(reply, BaseException):
                    raise reply
                else:
                    start, stop = worker.blocks[-1]
                    seconds += reply
                    self._note_cost(reply.total / (stop - start))
                    done(stop - start)
                idle.append(worker)
        return seconds

    def _block_size(self, left: int) -> int:
        fair = -(-left // (2 * len(self._workers)))
        return max(1, min(fair, int(BLOCK_SECONDS / self._client_seconds) if self._client_seconds else 1))

    def _note_cost(self, seconds: float) -> None:
        """Keep a running mean of what a client takes."""
        self._client_seconds = seconds if not self._client_seconds else 0.8 * self._client_seconds + 0.2 * seconds

    def _replaced(self, worker: _Worker, job: RoundJob) -> _Worker:
        worker.process.join(STOP_SECONDS)
        if worker.replaced:
            code = worker.process.exitcode
            how = f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
            raise RunFailedError(f"worker {worker.number} ended twice in this run, the second time {how}")
        worker.connection.close()
        place = self._workers.index(worker)
        del self._workers[place]  # the new one must not hold the connection of the old
        worker.sums.array[:] = 0
        fresh = self._started(worker.number, worker.sums)
        fresh.replaced = True
        fresh.connection.send(job)
        self._workers.insert(place, fresh)
        return fresh

    # -------------------------------------------------------------------------------- adding up

    def _collected(self, job: RoundJob, clients: int, seconds: Seconds) -> PartialSum:
        if job.key is None:
            slots = np.sum([worker.sums.array for worker in self._workers], axis=0)
            return PartialSum(clients, slots, b"", seconds)
        adder = adder_for(job.key, job.encoding.plaintexts)
        for worker in self._workers:
            if worker.blocks:
                worker.connection.send(None)
                payload = _received(worker)
                if not isinstance(payload, bytes):
                    raise RunFailedError(f"worker {worker.number} ended before it gave its partial sum")
                adder.add(payload)
        return PartialSum(clients, np.zeros(0, np.int64), adder.payload(), seconds)


class _Dealing:
    """The places of a round's clients that were not dealt out yet."""

    def __init__(self, count: int) -> None:
        self._next, self._count = 0, count
        self._again: list[tuple[int, int]] = []

    @property
    def left(self) -> int:
        """How many clients wait for a worker."""
        return self._count - self._next + sum(stop - start for start, stop in self._again)

    def next(self, size: int) -> tuple[int, int]:
        """Return the next block, as the places from `start` to before `stop`."""
        if self._again:
            start, stop = self._again.pop()
            if stop - start > size:
                self._again.append((start + size, stop))
            return start, min(stop, start + size)
        start = self._next
        self._next = min(self._count, start + size)
        return start, self._next

    def again(self, blocks: Sequence[tuple[int, int]]) -> None:
        """Deal these blocks out once more."""
        self._again += blocks


def _received(worker: _Worker) -> Any:
    """Return what a worker sent; None if it is dead."""
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


# ------------------------------------------------------------------------------------------------ in the worker


def _work(
    runner: BlockRunner,
    model: Shared,
    numbers: Shared,
    sums: Shared,
    connection: Connection,
    others: Sequence[Connection],
) -> None:
    """Answer each block with what it took, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:  # else the parent's end would stay open here when the parent is gone
        other.close()
    with contextlib.suppress(EOFError, ConnectionError):  # reset, where the parent left without reading all
        for reply in _replies(runner, model.array, numbers.array, sums.array, connection):
            connection.send(reply)


def _replies(
    runner: BlockRunner, model: FloatArray, numbers: IntArray, sums: IntArray, connection: Connection
) -> Iterator[Any]:
    into: SlotSum | EncryptedSum = SlotSum(sums)
    job: RoundJob | None = None
    while True:
        match connection.recv():
            case RoundJob() as job:
                into = SlotSum(sums) if job.key is None else EncryptedSum(job)
            case (start, stop):
                assert job is not None
                try:
                    yield runner.run(job, model, numbers[start:stop].tolist(), into)
                except (GrokfedError, ValueError) as error:
                    yield error
            case _:
                assert isinstance(into, EncryptedSum)
                yield into.payload()
