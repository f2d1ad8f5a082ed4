"""How much memory a process holds, as the system says."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mb(process: int | None = None) -> float:
    """Megabytes (10^6 bytes) of a process that are in memory; of this one if none is named."""
    pages = Path(f"/proc/{process or 'self'}/statm").read_text().split()[1]
    return int(pages) * PAGE / 1e6


def peak_mb(process: int) -> float:
    """Return the most a process ever held, in megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError("the system does not say how much memory was held at most")
