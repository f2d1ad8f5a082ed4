"""Worker processes that each take block after block of a round's clients and keep one partial sum.

The model, the clients' numbers and the sums lie in memory that all of them share. Blocks are dealt out as workers
become free, small enough that they end together. What a worker had added is lost with it if it dies: its blocks are
dealt out again, to a worker in its place. Workers are forked; where a system has no safe fork they start as new
interpreters, which takes longer.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from core.errors import RunFailedError, SettingsError
from core.secagg.factory import adder_for
from core.secagg.powers import processors
from core.tasks import get_task
from core.tasks.task import Task
from core.wording import counted
from simulation.virtual.block import BlockRunner, PartialSum, RoundJob, Seconds
from simulation.virtual.in_worker import HELD, Shared, begin

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int], None]
"""Told how many more clients are done; 0 every LOOK_SECONDS or so while clients train."""
BLOCK_SECONDS = 0.2
"""The longest that a block should take, so that progress shows and workers end together."""
LOOK_SECONDS = 1.0
STOP_SECONDS = 5.0
START_METHOD = "fork" if sys.platform == "linux" else "spawn"
FILES_A_WORKER = 5
"""Files that are open for each worker: both ends of its life line, its pipe, and twice its shared memory."""
OTHER_FILES = 32
"""Files that a run may have open besides."""
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)
"""Errors of a system that has no room for another process or its files."""


def most_workers() -> int:
    """Return how many workers the system's limit of open files has room for; at least 1."""
    limit = _open_files()
    return sys.maxsize if limit is None else max(1, (limit - OTHER_FILES) // FILES_A_WORKER)


def default_workers() -> int:
    """Return one worker a processor, as far as there is room for them."""
    return min(processors(), most_workers())


def require_room(workers: int) -> None:
    """Raise SettingsError if so many workers need more open files than this process may have."""
    if workers > (most := most_workers()):
        needed = FILES_A_WORKER * workers + OTHER_FILES
        raise SettingsError(
            f"--workers is {workers}, which needs {needed} open files, and the limit is {_open_files()}; choose at "
            f"most {counted(most, 'worker')}, or raise the limit with `ulimit -n {needed}`"
        )


def _open_files() -> int | None:
    """Return how many files this process may have open; None for any number."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back: a fork that handled one as its parent does would run the parent's clean-up too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _room_for(worker: int) -> Iterator[None]:
    """Say which worker there was no room for. Raises SettingsError."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise SettingsError(
            f"worker {worker} cannot be started: {error.strerror}; choose fewer with --workers, or raise the limits "
            "that `ulimit -a` shows"
        ) from error


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
        try:
            for number in range(1, workers + 1):
                with _room_for(number):
                    sums = Shared(self._context, slots, np.int64)
                self._workers.append(self._started(number, sums))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(STOP_SECONDS)
            worker.connection.close()

    def _started(self, number: int, sums: Shared) -> _Worker:
        """Start a worker. Raises SettingsError if the system has no room for one more."""
        with _room_for(number):
            ours, theirs = self._context.Pipe()
            others = [*(worker.connection for worker in self._workers), ours] if self._forks else []
            arguments = (os.getpid(), self._runner, self._start, self._numbers, sums, theirs, others)
            process = self._context.Process(target=begin, args=arguments, daemon=True)
            with _signals_held():
                process.start()
        theirs.close()
        return _Worker(number, process, ours, sums)

    def sum(self, job: RoundJob, start: FloatArray, numbers: Sequence[int], done: Progress) -> PartialSum:
        """Let these clients train from `start`, as VirtualRun.start, and return their sum.

        Raises RunFailedError if a worker dies twice; what a client's training raises.
        """
        self._start.array[:] = start
        self._numbers.array[: len(numbers)] = numbers
        for worker in list(self._workers):
            worker.blocks.clear()
            worker.sums.array[:] = 0
            if not _sent(worker, job):
                self._replaced(worker, job)
        dealing, seconds, payloads = _Dealing(len(numbers)), Seconds(), list[bytes]()
        while dealing.left:
            seconds += self._dealt_out(job, dealing, done)
            payloads = self._payloads(job, dealing, done)
        return self._added(job, payloads, len(numbers), seconds)

    # -------------------------------------------------------------------------------- dealing out

    def _dealt_out(self, job: RoundJob, dealing: _Dealing, done: Progress) -> Seconds:
        """Give blocks to free workers until all clients are done."""
        seconds = Seconds()
        busy: dict[Connection, _Worker] = {}
        idle = list(self._workers)
        while busy or dealing.left:
            while idle and dealing.left:
                worker = idle.pop()
                block = dealing.next(self._block_size(dealing.left))
                worker.blocks.append(block)
                _sent(worker, block)  # if it is dead, waiting for its answer shows it
                busy[worker.connection] = worker
            ready = wait(list(busy), LOOK_SECONDS)
            if not ready:
                done(0)
            for connection in ready:
                worker = busy.pop(cast("Connection", connection))
                reply = _received(worker)
                if reply is None:
                    worker = self._replaced(worker, job, dealing, done, unfinished=1)
                elif isinstance(reply, BaseException):
                    raise reply
                else:
                    first, after = worker.blocks[-1]
                    seconds += reply
                    self._note_cost(reply.total / (after - first))
                    done(after - first)
                idle.append(worker)
        return seconds

    def _block_size(self, left: int) -> int:
        fair = -(-left // (2 * len(self._workers)))
        return max(1, min(fair, int(BLOCK_SECONDS / self._client_seconds) if self._client_seconds else 1))

    def _note_cost(self, seconds: float) -> None:
        """Keep a running mean of what a client takes."""
        self._client_seconds = seconds if not self._client_seconds else 0.8 * self._client_seconds + 0.2 * seconds

    def _replaced(
        self, worker: _Worker, job: RoundJob, dealing: _Dealing | None = None, done: Progress | None = None, *,
        unfinished: int = 0,
    ) -> _Worker:  # fmt: skip
        """Put another worker in the place of a dead one, and deal its blocks of this round out again.

        Args:
            unfinished: how many of its blocks, the last ones, were not yet counted as done.

        Raises RunFailedError if it is the second to die there.
        """
        if dealing is not None and done is not None:
            counted_blocks = worker.blocks[: len(worker.blocks) - unfinished]
            done(-sum(after - first for first, after in counted_blocks))
            dealing.again(worker.blocks)
        how = _ended(worker)
        if worker.replaced:
            raise RunFailedError(f"worker {worker.number} ended twice in this run, the second time {how}")
        worker.connection.close()
        place = self._workers.index(worker)
        del self._workers[place]  # the new one must not hold the connection of the old
        worker.sums.array[:] = 0
        fresh = self._started(worker.number, worker.sums)
        fresh.replaced = True
        self._workers.insert(place, fresh)
        _sent(fresh, job)  # if it is dead already, waiting for its answers shows it
        return fresh

    # -------------------------------------------------------------------------------- adding up

    def _payloads(self, job: RoundJob, dealing: _Dealing, done: Progress) -> list[bytes]:
        """Return the workers' encrypted sums; none where nothing is encrypted, for those lie in shared memory.

        What a worker had added that is dead by now is dealt out again.
        """
        payloads = []
        for worker in [each for each in self._workers if job.key is not None and each.blocks]:
            payload = _received(worker) if _sent(worker, None) else None
            if payload is None:
                self._replaced(worker, job, dealing, done)
            elif isinstance(payload, BaseException):
                raise payload
            else:
                payloads.append(payload)
        return payloads

    def _added(self, job: RoundJob, payloads: Sequence[bytes], clients: int, seconds: Seconds) -> PartialSum:
        if job.key is None:
            slots = np.sum([worker.sums.array for worker in self._workers], axis=0)
            return PartialSum(clients, slots, b"", seconds)
        adder = adder_for(job.key, job.encoding.plaintexts)
        for payload in payloads:
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


def _sent(worker: _Worker, message: Any) -> bool:
    """Send a worker something, and return whether it is there to receive it."""
    try:
        worker.connection.send(message)
    except OSError:
        return False
    return True


def _received(worker: _Worker) -> Any:
    """Return what a worker sent; None if it is dead."""
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


def _ended(worker: _Worker) -> str:
    """Wait until a worker whose pipe failed has ended, or end it; return how that was."""
    worker.process.join(STOP_SECONDS)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join(STOP_SECONDS)
        return "because it had closed its pipe"
    code = worker.process.exitcode
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
