"""The two things that parties ask of a clock, to be passed in: today's date for keys, and seconds for timings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def today() -> int:
    """Return the days since 1970-01-01, in which the dates of keys are written."""
    return int(time.time() // 86400)


@dataclass(frozen=True)
class Clock:
    """What a party calls for today's date (days since 1970-01-01) and for running seconds."""

    today: Callable[[], int] = today
    seconds: Callable[[], float] = time.perf_counter


SYSTEM_CLOCK = Clock()
