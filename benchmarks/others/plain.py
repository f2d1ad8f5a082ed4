"""A loop in plain NumPy, one client after the other: no simulator at all."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.plain_update import WORDS, FloatArray, change


def simulate(clients: int, rounds: int) -> tuple[list[float], FloatArray]:
    """Return when the first round began and when each one ended, and the model after the last, shape (values,)."""
    model, ends = np.zeros(WORDS + 1), [time.monotonic()]
    for number in range(1, rounds + 1):
        total = np.zeros_like(model)
        for client in range(1, clients + 1):
            total += change(model, client, number)
        model = model + total / clients
        ends.append(time.monotonic())
    return ends, model
