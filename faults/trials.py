"""One trial after another, each with a new folder, a world in it, and its own event loop."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from faults.world import World


def folders(folder: Path) -> Callable[[], Path]:
    """Gives a new empty folder each time; the one before is removed."""
    numbers = itertools.count()
    last: list[Path] = []

    def fresh() -> Path:
        for old in last:
            shutil.rmtree(old, ignore_errors=True)
        last[:] = [folder / f"trial-{next(numbers)}"]
        last[0].mkdir()
        return last[0]

    return fresh


def run_world(make: Callable[[], World], story: Callable[[World], Awaitable[list[str]]]) -> list[str]:
    """Run one scenario in its own event loop."""

    async def run() -> list[str]:
        world = make()
        await world.start()
        return await story(world)

    return asyncio.run(run())
