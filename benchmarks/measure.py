"""Time the same work done in several ways, turn about, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OURS = "grokfed"
THEIRS = "PyTorch"
LAYER = "layer on vectors"
CELLS = "cell by cell"

Work = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """Something to time.

    Attributes:
        name: how to ask for it.
        shapes: what is computed, with its sizes.
        build: makes the ways to do it by name, each a function that does all of it once and returns a number
            (a loss, mostly) that must come out alike for all. Given a generator and whether to be small.
        book: seconds that the book's own program takes for all of it; None if the book has no such program.
    """

    name: str
    shapes: str
    build: Callable[[np.random.Generator, bool], Mapping[str, Work]]
    book: float | None = None


@dataclass(frozen=True)
class Timing:
    """Median processor seconds of one case, by way."""

    case: Case
    seconds: Mapping[str, float]

    def ratio(self, way: str) -> float | None:
        """Return how many times PyTorch's seconds those of `way` are: below 1 it is ahead of PyTorch."""
        return self.seconds[way] / self.seconds[THEIRS] if THEIRS in self.seconds else None

    def times_faster_than_book(self, way: str) -> float | None:
        return self.case.book / self.seconds[way] if self.case.book else None


def measure(case: Case, repeats: int, small: bool = False, tolerance: float = 0.05) -> Timing:
    """Time each way `repeats` times, turn about, after one round to warm up.

    Raises:
        AssertionError: the ways do not compute the same: their numbers differ by more than the tolerance.
    """
    ways = case.build(np.random.default_rng(1), small)
    results = {name: work() for name, work in ways.items()}
    for name, result in results.items():
        if abs(result - results[OURS]) > tolerance * abs(results[OURS]):
            raise AssertionError(f"{case.name}: {OURS} gives {results[OURS]:.6g}, but {name} gives {result:.6g}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            seconds[name].append(_time(work))
    return Timing(case, {name: statistics.median(times) for name, times in seconds.items()})


def find_torch() -> Any:
    """Return PyTorch, held to one thread, or None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch


def _time(work: Work) -> float:
    gc.collect()
    start = time.process_time()  # of the processor, like the book's figures: other programs may run beside
    work()
    return time.process_time() - start
