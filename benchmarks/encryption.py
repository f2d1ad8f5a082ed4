"""Time encrypted sums in this and other libraries, and the bare arithmetic: `python -m benchmarks.encryption`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measure import numbers_table
from benchmarks.peers import PHE, PYPAILLIER, TENSEAL, build_peers
from benchmarks.secure_aggregation import FLOOR, OURS, Figure, Step, Way, build_ours, draw_problem, measure
from core.secagg import kernel
from core.secagg.scheme import DAMGARD_JURIK, PAILLIER

COLUMNS = (OURS, PHE, PYPAILLIER, TENSEAL, FLOOR)
CLIENT_STEPS = (Step.TEXTBOOK, Step.CLIENT, Step.SHORT_512, Step.POOLED)
UPLOAD = "bytes a client sends"
MEGABITS = (1, 10, 100)

Figures = Mapping[str, Mapping[Step, Figure]]


@dataclass(frozen=True)
class Bar:
    """The bar for one figure: how many times faster than a library of the same kind, or within which share of it."""

    limit: float
    at_least: bool = True

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,}{'x' if self.at_least else ''}"

    def holds(self, times_faster: float) -> bool:
        return times_faster >= self.limit if self.at_least else 1 / times_faster <= self.limit

    def says(self, times_faster: float) -> str:
        """Write a measured ratio the way this bar counts."""
        return f"{significant(times_faster)}x" if self.at_least else significant(1 / times_faster)


BARS: Mapping[tuple[str, str], Bar] = {
    (Step.CLIENT, PHE): Bar(2_000),
    (Step.CLIENT, PYPAILLIER): Bar(200),
    (Step.CLIENT, TENSEAL): Bar(0.8, at_least=False),
    (Step.SHORT_512, PHE): Bar(2_000),
    (Step.SHORT_512, PYPAILLIER): Bar(200),
    (Step.POOLED, PHE): Bar(30_000),
    (Step.POOLED, TENSEAL): Bar(0.25, at_least=False),
    (Step.BOTH, PHE): Bar(170),
    (Step.BOTH, PYPAILLIER): Bar(150),
    (Step.BOTH, TENSEAL): Bar(0.45, at_least=False),
    (Step.BOTH, FLOOR): Bar(1.05, at_least=False),
    (Step.OPEN, PHE): Bar(100),
    (Step.OPEN, PYPAILLIER): Bar(150),
    (Step.OPEN, FLOOR): Bar(1.05, at_least=False),
    (UPLOAD, PHE): Bar(100),
    (UPLOAD, PYPAILLIER): Bar(100),
    (UPLOAD, TENSEAL): Bar(11),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    options = _options(arguments)
    weights, clients, bits = (200, 3, 256) if options.small else (options.weights, options.clients, options.bits)
    console = Console(width=120, highlight=False)
    with console.status("encrypting one cohort in every way ..."):
        problem = draw_problem(weights, clients, bits, np.random.default_rng(1))
        peers, missing = build_peers(problem)
        ways = [*build_ours(problem, options.scheme), *peers]
    console.print(f"products modulo n: {'the compiled kernel' if kernel.available() else 'GMP alone'}")
    for message in missing:
        console.print(message)
    with console.status("timing ..."):
        figures = measure(ways, weights, options.repeats)
    console.print(
        f"{weights:,} weights of 16 bits, {clients} clients, {options.scheme} with keys of {bits} bits, "
        f"{options.repeats} repeats"
    )
    console.print("\nmilliseconds of processor time, median and spread; ~ extrapolated from fewer weights")
    console.print(_times_table(ways, figures, weights))
    ratios = advantages(ways, figures)
    console.print(f"\ntheir time over ours, and their bytes over ours: above 1 {OURS} is ahead")
    console.print(_ratio_table(ratios))
    if not options.small:
        console.print("\nthe bars: at least this many times faster or smaller (x), or at most this share of the time")
        console.print(_bar_table(ratios))
    console.print("\nseconds until a client has sent its update: processor time and upload")
    console.print(_uplink_table(ways, figures))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.encryption", description=__doc__.partition(":")[0] + "."
    )
    parser.add_argument("--weights", type=int, default=100_000, help="in one update (default %(default)s)")
    parser.add_argument("--clients", type=int, default=10, help="in the cohort, 2 or more (default %(default)s)")
    parser.add_argument("--bits", type=int, default=2048, help="of the Paillier keys (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median counts (default %(default)s)")
    parser.add_argument(
        "--scheme", choices=(PAILLIER, DAMGARD_JURIK), default=PAILLIER, help="ours (default %(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="200 weights, 3 clients, 256 bits: to see that it runs")
    options = parser.parse_args(arguments)
    for name, least in (("weights", 1), ("clients", 2), ("repeats", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least {least}")
    return options


# --- What was measured ---


def _times_table(ways: Sequence[Way], figures: Figures, weights: int) -> Table:
    table = numbers_table([""], COLUMNS)
    for step in Step:
        table.add_row(step, *(_milliseconds(figures.get(name, {}).get(step)) for name in COLUMNS))
    uploads = {way.name: way.upload for way in ways}
    errors = {way.name: way.error for way in ways}
    table.add_row(UPLOAD, *(_cell(uploads.get(name), "{:,.0f}") for name in COLUMNS))
    each = {name: upload / weights for name, upload in uploads.items() if upload is not None}
    table.add_row("bytes a weight", *(_cell(each.get(name), "{:,.2f}") for name in COLUMNS))
    table.add_row("largest error of a sum", *(_cell(errors.get(name), "{:.1g}") for name in COLUMNS))
    return table


def _milliseconds(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"{'~' if figure.extrapolated else ''}{significant(figure.seconds * 1000)} ±{figure.spread:.0%}"


# --- How far ahead or behind ---


def advantages(ways: Sequence[Way], figures: Figures) -> dict[tuple[str, str], float]:
    """Return the others' seconds (and bytes) over ours, by what is done and by whom: above 1 we are ahead.

    No library here but ours has several ways to encrypt, so each of ours is compared with its one.
    """
    ratios: dict[tuple[str, str], float] = {}
    for step in Step:
        for peer in COLUMNS[1:]:
            theirs = figures.get(peer, {})
            figure = theirs.get(step) or (theirs.get(Step.CLIENT) if step in CLIENT_STEPS else None)
            if figure and step in figures[OURS]:
                ratios[step, peer] = figure.seconds / figures[OURS][step].seconds
    uploads = {way.name: way.upload for way in ways if way.upload is not None}
    return ratios | {(UPLOAD, peer): upload / uploads[OURS] for peer, upload in uploads.items() if peer != OURS}


def _ratio_table(ratios: Mapping[tuple[str, str], float]) -> Table:
    table = numbers_table([""], COLUMNS[1:])
    for what in dict.fromkeys(what for what, _ in ratios):
        cells = (ratios.get((what, peer)) for peer in COLUMNS[1:])
        table.add_row(what, *("" if ratio is None else significant(ratio) for ratio in cells))
    return table


def _bar_table(ratios: Mapping[tuple[str, str], float]) -> Table:
    table = numbers_table(["what", "compared with"], ("measured", "bar", ""))
    for (what, peer), bar in BARS.items():
        if ratio := ratios.get((what, peer)):
            table.add_row(what, peer, bar.says(ratio), str(bar), "met" if bar.holds(ratio) else "MISSED")
    return table


# --- What it means on a line ---


def uplink_seconds(processor: float, upload: float, megabits: float) -> float:
    """Return the seconds from a trained model to a sent update: encrypt, then send `upload` bytes."""
    return processor + upload * 8 / (megabits * 1e6)


def _uplink_table(ways: Sequence[Way], figures: Figures) -> Table:
    table = numbers_table([""], (f"{megabits} Mbit/s" for megabits in MEGABITS))
    for way in ways:
        for step in (*CLIENT_STEPS, Step.SHARED):
            if way.upload is not None and (figure := figures[way.name].get(step)):
                name = f"{way.name}: {step}"
                seconds = (uplink_seconds(figure.seconds, way.upload, megabits) for megabits in MEGABITS)
                table.add_row(name, *map(significant, seconds))
    return table


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def significant(value: float) -> str:
    """Write a number with three significant digits."""
    rounded = float(f"{value:.3g}")
    digits = 2 - math.floor(math.log10(rounded)) if rounded else 0
    return f"{rounded:,.{max(digits, 0)}f}"


if __name__ == "__main__":
    main()
