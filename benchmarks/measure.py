"""Time the same work done in several ways, turn about, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from core.nn import Linear

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
            seconds[name].append(processor_seconds(work))
    return Timing(case, {name: statistics.median(times) for name, times in seconds.items()})


def find_torch() -> Any:
    """Return PyTorch, held to one thread, or None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch


def beside_torch(ours: Work, twin: Callable[[Any], Work]) -> dict[str, Work]:
    """Return our way, and where PyTorch is installed what `twin` makes with it."""
    torch = find_torch()
    return {OURS: ours} if torch is None else {OURS: ours, THEIRS: twin(torch)}


def take_step(optimiser: Any, loss: Any) -> float:
    """Take a step on the gradient of a loss, ours or PyTorch's; return the loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.item())


def twin_linear(torch: Any, layer: Linear) -> Any:
    """Return PyTorch's linear layer with the same start: our weights, and biases of 0 or none."""
    twin = torch.nn.Linear(*layer.weight.shape, bias=layer.bias is not None)
    twin.weight.data = torch.tensor(layer.weight.data.T.copy())
    if twin.bias is not None:
        twin.bias.data.zero_()
    return twin


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of one call: of all threads of this process, whatever else the machine runs."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def numbers_table(first: Sequence[str], headings: Iterable[str], **options: Any) -> Table:
    """Return an empty table: columns of text first, then columns of numbers."""
    table = Table(*first, box=None, **options)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
