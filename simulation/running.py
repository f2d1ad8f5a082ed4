"""Run a simulation in the way that its settings ask for, and keep its record."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from core.settings.command_line import Given
from simulation.keeper import IN_PROCESS, Heard, ignored
from simulation.resuming import keeper_for
from simulation.settings import SimulationSettings


def run(console: Console, given: Given, heard: Heard = ignored, way: str = "") -> Path:
    """Run a simulation, or go on with one, and return the folder of its results.

    Args:
        console: what people see.
        heard: is told of each completed round.
        way: in-process if all parties are to be in this process; else --virtual decides.

    Raises GrokfedError, in one sentence, for what cannot work or does not.
    """
    given.make(SimulationSettings)  # says now what is wrong with them
    with keeper_for(given) as keeper:
        options = keeper.given.make(SimulationSettings)
        # Imported when asked for: the one way needs gRPC and the parties' programs, the other only NumPy.
        if (keeper.way or way) == IN_PROCESS:
            from simulation.together import simulate
        elif options.virtual:
            from simulation.virtual.command import simulate
        else:
            from simulation.command import simulate
        simulate(console, options, keeper, heard)
    assert keeper.folder is not None
    return keeper.folder
