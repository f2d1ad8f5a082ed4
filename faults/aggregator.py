"""One life of the aggregator in a world: what server/__main__.py puts together, without its sockets."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError
from core.federated import initial_model
from faults.breaking import Breaker, Crash, break_store
from server.clients import Clients
from server.holders import Holders
from server.run import ActiveRun
from server.store import Store

if TYPE_CHECKING:
    from faults.world import World


class Aggregator:
    """One life of the aggregator: what server/__main__.py puts together, without its sockets."""

    def __init__(self, world: World, folder: Path, breaker: Breaker) -> None:
        self.folder = folder
        self.breaker = breaker
        self.store = Store(folder)
        break_store(self.store, breaker)
        try:
            self.run = self._begun(world)
        except (Crash, StorageError):
            self.store.close()
            raise
        self.coordinator = ActiveRun(
            self.run, world.settings, world.task, self.store, world.parties["server"], clock=lambda: world.now
        )
        self.clients = Clients(self.coordinator)
        self.holders = Holders(self.coordinator)

    def _begun(self, world: World) -> str:
        if unfinished := self.store.unfinished_run():
            return unfinished.run
        if world.run:
            return world.run  # it was over just before
        run = secrets.token_hex(8)
        self.store.begin_run(run, world.settings.to_json(), initial_model(world.task, world.settings.seed))
        return run

    async def close(self) -> None:
        await self.coordinator.close()
