"""Folders of runs as simulations leave them, without running any."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.runs import FILE, HISTORY


def keep(
    folder: Path,
    *,
    accuracies: Sequence[float] = (0.5,),
    rounds: int | None = None,
    state: str = "completed",
    settings: Mapping[str, Any] | None = None,
    started: str = "2026-01-01T00:00:00Z",
    **more: Any,
) -> Path:
    """Make the folder of a run whose rounds each took 2 seconds, and 1,000 bytes from each of 3 clients."""
    folder.mkdir(parents=True)
    record = {
        "format": 1,
        "state": state,
        "way": "virtual",
        "settings": {"task": "spam", "clients": 3, "seed": 0, **(settings or {})},
        "clients": 3,
        "rounds": len(accuracies) if rounds is None else rounds,
        "started": started,
        "wall_seconds": 5.0,
        "versions": {"python": "3.11", "numpy": "2.0"},
        "processor": {"name": "one", "count": 2},
        "data": {},
        "git_commit": "",
        "model_sha256": "00",
        "message": "",
        **more,
    }
    (folder / FILE).write_text(json.dumps(record))
    rows = [
        {
            "round": number, "contributors": 3, "accuracy": accuracy, "loss": 1 - accuracy,
            "bytes_up_per_client": 1000, "round_s": 2.0,
        }
        for number, accuracy in enumerate(accuracies, start=1)
    ]  # fmt: skip
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
