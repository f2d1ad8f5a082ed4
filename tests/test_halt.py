"""An aggregator that could not write down what it decided decides nothing more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.errors import StorageError
from faults.fuzz_calls import CLIENTS, RULES
from faults.parties import Parties
from faults.world import World
from simulation.slot_task import known, slot_task


def test_after_a_halt_time_changes_nothing_any_more(tmp_path: Path) -> None:
    async def story() -> None:
        world = World(parties, tmp_path / "world", task, RULES)
        await world.start()
        coordinator = world.aggregator.run
        before = coordinator.state
        coordinator.halt(StorageError("the disk is full"))
        world.now += RULES.patience_seconds  # else it would fail now, for want of key holders
        await coordinator.tick()
        assert coordinator.state == before
        assert isinstance(coordinator.ended.exception(), StorageError)
        await world.close()

    (tmp_path / "world").mkdir()
    with known(slot_task(CLIENTS)) as task:
        parties = Parties(tmp_path, clients=CLIENTS)
        asyncio.run(story())
