"""Key holders whose disks are restored from a copy: what they signed since is forgotten."""

from __future__ import annotations

import shutil

from faults.oracle import DISCARDED
from faults.world import Holder, World


def copy_holder(world: World, party: Holder) -> None:
    """Copy a key holder's disk as it lies there now, in the place of an earlier copy."""
    copy = world.folder / f"{party.name}-copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world.folder / party.name, copy)


async def restore_holder(world: World, party: Holder) -> None:
    """Kill a key holder and start it from the copy of its disk, if there is one; what it had is kept for the judge."""
    copy, own = world.folder / f"{party.name}-copy", world.folder / party.name
    if copy.exists():
        await party.stop()
        world.discarded.append(own.rename(world.folder / f"{party.name}{DISCARDED}{len(world.discarded)}"))
        shutil.copytree(copy, own)
        await party.restart()
