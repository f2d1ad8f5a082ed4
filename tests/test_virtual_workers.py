"""What a worker that trains virtual clients does when the simulation that started it is gone."""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any

import numpy as np
import pytest

from core.tasks import get_task
from simulation.virtual.block import BlockRunner
from simulation.virtual.population import Generated
from simulation.virtual.workers import Shared, _work


@pytest.mark.parametrize("unread", [True, False])
def test_a_worker_ends_silently_however_its_parent_has_left(unread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that left an answer unread resets the connection, as `kill -9` does; else it is only closed."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    if unread:
        theirs.send("an answer")
    ours.close()
    if unread:
        with pytest.raises(ConnectionResetError):
            theirs.recv()
        ours, theirs = context.Pipe()
        theirs.send("an answer")
        ours.close()
    task = get_task("spam")
    shared = [Shared(context, 1, np.float64) for _ in range(3)]
    _work(BlockRunner(task, Generated(task, 0, 1), 0), *shared, theirs, [])
