"""A whole federation on this machine.

from simulation import simulate

result = simulate(task="spam", clients=20, rounds=5)
print(result.history[-1]["accuracy"], result.folder)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.scripting import Result

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[:1] != [_ROOT]:
    # `python -m` looks in the current folder first, where a user may have a server.py or core.py of another kind.
    sys.path.insert(0, _ROOT)


def simulate(
    *,
    task: Any = None,
    clients: int | None = None,
    rounds: int | None = None,
    seed: int | None = None,
    way: str | None = None,
    on_round: Callable[[dict[str, Any]], object] | None = None,
    show: bool = False,
    **settings: Any,
) -> Result:
    """Run a federation from a script or a notebook cell, and return its history, model and record.

    Everything that `python -m simulation --help` lists, but dry_run and json, is a keyword here, with underscores, and
    means the same: scheme, data, partition, out, ...; what is None has the command's default. `resume` goes on with an
    interrupted run.

    Args:
        task: what to learn: a task's name, or FILE.py:NAME for one of your own (docs/own-task.md); by default spam.
        way: "virtual" (the default: all clients in a few processes, nothing protected), "processes" (a process for each
            party), or "in-process" (all parties in this process, with real checks and real cryptography).
        on_round: is called with each completed round, a row of the history by column.
        show: print what the command prints.

    Raises SettingsError, DataError, RunFailedError (core.errors), with the sentences of the command.
    """
    from simulation.scripting import simulate_with

    named = {"task": task, "clients": clients, "rounds": rounds, "seed": seed}
    return simulate_with({**named, **settings}, way, on_round, show=show)
