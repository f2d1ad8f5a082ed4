"""Ray by itself: a task for each client, the model put into its store once a round."""

from __future__ import annotations

import time

import numpy as np
import ray

from benchmarks.others import AT_ONCE
from benchmarks.plain_update import WORDS, FloatArray, change

BATCH = 16
"""Changes that are fetched at once."""


def simulate(clients: int, rounds: int) -> tuple[list[float], FloatArray]:
    """Return when the first round began and when each one ended, and the model after the last, shape (values,)."""
    ray.init(num_cpus=AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    task, model = ray.remote(change), np.zeros(WORDS + 1)
    ray.get([task.remote(model, client, 0) for client in range(AT_ONCE)])  # so that its workers are there
    ends = [time.monotonic()]
    for number in range(1, rounds + 1):
        put, total = ray.put(model), np.zeros_like(model)
        waiting = [task.remote(put, client, number) for client in range(1, clients + 1)]
        while waiting:
            done, waiting = ray.wait(waiting, num_returns=min(len(waiting), BATCH))
            total += np.sum(ray.get(done), axis=0)
        model = model + total / clients
        ends.append(time.monotonic())
    ray.shutdown()
    return ends, model
