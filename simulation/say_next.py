"""What to do with a model once it is trained."""

from __future__ import annotations

import shlex
from pathlib import Path

from core.commands import command_of


def next_command(task: str, folder: Path) -> str:
    """Return the line that asks the model in a results folder about a message; empty if the task has no such thing."""
    if task != "spam":
        return ""
    options = shlex.join(["classify", "--model", str(folder / "model.npz")])
    return f"ask its model: {command_of('client')} {options} MESSAGE"
