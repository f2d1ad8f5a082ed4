"""The same blocks as tasks of a Ray cluster that exists: `--engine ray`, with `pip install 'grokfed[ray]'`.

The model is put into the cluster's object store once a round, partial sums are added in a tree, and what a lost node
was doing Ray does again elsewhere. The numbers that are added are the same, so the model's bytes are too.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from core.errors import RunFailedError, SettingsError
from core.secagg.factory import adder_for
from core.tasks.own import LOADED
from core.threads import ONE_THREAD
from simulation.processes import import_path
from simulation.virtual.block import BlockRunner, EncryptedSum, PartialSum, RoundJob, Seconds, SlotSum
from simulation.virtual.workers import LOOK_SECONDS, Progress

if TYPE_CHECKING:
    from types import TracebackType

FloatArray = npt.NDArray[np.float64]
FAN_IN = 8
"""Partial sums that one task adds."""
BLOCKS_A_PROCESSOR = 4
LARGEST_BLOCK = 256
ANSWER_SECONDS = 5.0
"""How long a cluster's address may take to answer."""
RETRIES = 4
"""How often Ray does a block again whose node was lost."""


class RayCluster:
    """An engine on a Ray cluster.

    Args:
        address: of the cluster, as Ray writes it; "auto" finds the one of this machine, None starts one here.

    Raises SettingsError where Ray is not installed or there is no such cluster.
    """

    def __init__(self, runner: BlockRunner, address: str | None) -> None:
        self._ray: Any = imported_ray()
        environment = {"env_vars": {**ONE_THREAD, "PYTHONPATH": import_path()}}
        require_answer(address)
        try:
            self._ray.init(address, runtime_env=environment, logging_level="ERROR", log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(address, error) from error
        for module in LOADED:
            self._ray.cloudpickle.register_pickle_by_value(module)
        remote = self._ray.remote(max_retries=RETRIES)
        self._train, self._add = remote(_train), remote(_add)
        self._runner = self._ray.put(runner)

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    @property
    def processors(self) -> int:
        """How many processors the cluster has now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def sum(self, job: RoundJob, start: FloatArray, numbers: Sequence[int], done: Progress) -> PartialSum:
        """Let these clients train from `start`, as VirtualRun.start, and return their sum.

        Raises RunFailedError if a block was lost too often; what a client's training raises.
        """
        shared = self._ray.put(start)
        size = min(LARGEST_BLOCK, math.ceil(len(numbers) / (BLOCKS_A_PROCESSOR * self.processors)))
        blocks = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]
        counts = {self._train.remote(self._runner, job, shared, block): len(block) for block in blocks}
        try:
            return self._added(job, counts, done)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            lost = f"the Ray cluster lost a block of round {job.round} {RETRIES + 1} times"
            raise RunFailedError(f"{lost}: {error}") from error

    def _added(self, job: RoundJob, counts: dict[Any, int], done: Progress) -> PartialSum:
        """Add partial sums, some at a time, as they become ready."""
        waiting: list[Any] = list(counts)
        ready: list[Any] = []
        while len(waiting) + len(ready) > 1:
            finished, waiting = self._finished(waiting, FAN_IN)
            if waiting and not finished:
                done(0)
            for one in finished:
                done(counts.get(one, 0))
            ready += finished
            while len(ready) >= FAN_IN or (len(ready) > 1 and not waiting):
                waiting.append(self._add.remote(job, *ready[:FAN_IN]))
                ready = ready[FAN_IN:]
        (last,) = waiting + ready
        while not self._finished([last], 1)[0]:
            done(0)
        partial: PartialSum = self._ray.get(last)
        done(counts.get(last, 0))
        return partial

    def _finished(self, waiting: list[Any], most: int) -> tuple[list[Any], list[Any]]:
        """Return which of these are ready, some at least if that takes no longer than LOOK_SECONDS, and which not."""
        if not waiting:
            return [], []
        finished, left = self._ray.wait(waiting, num_returns=min(most, len(waiting)), timeout=LOOK_SECONDS)
        return finished, left


def imported_ray() -> Any:
    """Return the module of Ray. Raises SettingsError where it is not installed."""
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise SettingsError("--engine ray needs Ray, which is not installed; pip install 'grokfed[ray]'") from error
    return ray


def require_ray(address: str | None) -> None:
    """Raise SettingsError where Ray is not installed, or nothing listens at the cluster's address."""
    imported_ray()
    require_answer(address)


def require_answer(address: str | None) -> None:
    """Raise SettingsError where the address has a host and port, and no program listens there.

    Ray itself waits for minutes.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str | None, error: Exception) -> SettingsError:
    where = f"at {address!r}" if address else "on this machine"
    return SettingsError(f"no Ray cluster answers {where} ({error}); `ray start --head` starts one")


# ------------------------------------------------------------------------------------------------ in the cluster


def _train(runner: BlockRunner, job: RoundJob, model: FloatArray, numbers: Sequence[int]) -> PartialSum:
    """Let a block of clients train; what a worker process does, and no more."""
    sums = np.zeros(job.slots, np.int64)
    into = SlotSum(sums) if job.key is None else EncryptedSum(job)
    seconds = runner.run(job, model, numbers, into)
    payload = into.payload() if isinstance(into, EncryptedSum) else b""
    return PartialSum(len(numbers), sums, payload, seconds)


def _add(job: RoundJob, *parts: PartialSum) -> PartialSum:
    """Add partial sums."""
    clients, seconds = sum(part.clients for part in parts), sum((part.seconds for part in parts), Seconds())
    slots = np.sum([part.slots for part in parts], axis=0)
    if job.key is None:
        return PartialSum(clients, slots, b"", seconds)
    adder = adder_for(job.key, job.encoding.plaintexts)
    for part in parts:
        adder.add(part.payload)
    return PartialSum(clients, slots, adder.payload(), seconds)
