"""Run a party's program in its own process, with the task of simulation/slot_task.py: SLOTS MODULE [ARGUMENTS ...]."""

from __future__ import annotations

import importlib
import sys

from simulation.slot_task import known, slot_task


def main() -> None:
    """Run `python -m MODULE ARGUMENTS`, with one more task."""
    slots, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    with known(slot_task(int(slots))):
        importlib.import_module(f"{module}.__main__").app()


if __name__ == "__main__":
    main()
