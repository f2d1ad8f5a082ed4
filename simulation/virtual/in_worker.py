"""What a worker process of virtual clients does: train the blocks that it is given, and end with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import GrokfedError, TaskError
from simulation.virtual.block import BlockRunner, EncryptedSum, RoundJob, SlotSum

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that the parent holds back while it forks, until the worker has handlers of its own."""
SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's <sys/prctl.h>."""


class Shared:
    """An array in memory that is shared with the worker processes, which are handed this object when they start."""

    def __init__(self, context: Any, length: int, dtype: type[np.float64 | np.int64]) -> None:
        kind = ctypes.c_double if dtype is np.float64 else ctypes.c_int64
        self._memory, self._length, self._dtype = context.RawArray(kind, max(1, length)), length, dtype

    @property
    def array(self) -> Any:
        """The array, shape (length,), of zeros at first."""
        return np.frombuffer(self._memory, dtype=self._dtype, count=self._length)


def begin(parent: int, *arguments: Any) -> None:
    """Begin a worker process, whose parent has this process number; the arguments are those of `work`."""
    end_with_parent(parent)
    work(*arguments)


def end_with_parent(parent: int) -> None:
    """Let Linux kill this process when the thread that started it ends, and end it now if its parent has ended.

    Without it a client that trains for long, or hangs, would outlive a simulation that was killed. Elsewhere a worker
    ends after its block.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)


def work(
    runner: BlockRunner,
    model: Shared,
    numbers: Shared,
    sums: Shared,
    connection: Connection,
    others: Sequence[Connection],
) -> None:
    """Answer each block with what it took, until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    for other in others:  # else the parent's end would stay open here when the parent is gone
        other.close()
    worker = _Worker(runner, model.array, numbers.array, sums.array)
    with contextlib.suppress(EOFError, OSError):  # the pipe's: reset, where the parent left without reading all
        while True:
            message = connection.recv()
            if isinstance(message, RoundJob):
                worker.begin(message)
            else:
                connection.send(worker.answer(message))


class _Worker:
    """Trains blocks of one round after another, and keeps a partial sum."""

    def __init__(self, runner: BlockRunner, model: FloatArray, numbers: IntArray, sums: IntArray) -> None:
        self._runner, self._model, self._numbers, self._sums = runner, model, numbers, sums
        self._into: SlotSum | EncryptedSum = SlotSum(sums)
        self._job: RoundJob | None = None

    def begin(self, job: RoundJob) -> None:
        """Start a round's partial sum."""
        self._job, self._into = job, SlotSum(self._sums) if job.key is None else EncryptedSum(job)

    def answer(self, block: tuple[int, int] | None) -> Any:
        """Train a block, given as places in the round's numbers, and return what it took; of None, the encrypted sum.

        What goes wrong is returned, for the parent to raise.
        """
        try:
            if block is None:
                assert isinstance(self._into, EncryptedSum)
                return self._into.payload()
            assert self._job is not None
            clients = self._numbers[block[0] : block[1]].tolist()
            return self._runner.run(self._job, self._model, clients, self._into)
        except KeyboardInterrupt as error:  # no one's Ctrl-C, which is ignored here
            return TaskError(f"{error}, in code of the task; let it raise an exception of another kind")
        except (GrokfedError, ValueError, OSError, MemoryError) as error:
            return error
