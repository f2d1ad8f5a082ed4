"""Break things and judge what is left: `python -m faults [SCENARIO ...]`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from faults import (
    class_room,
    client_crashes,
    client_kills,
    clock_skew,
    crash_points,
    crowd,
    disk_full,
    duplicates,
    floods,
    fuzz,
    holder_crashes,
    kills,
    lossy,
    over_selection,
    oversized,
    partition,
    sequences,
    slow_clients,
    soak,
)
from faults.outcome import SHOWN, Options, Outcome, Scenario, markdown, write_csv

SCENARIOS: dict[str, Scenario] = {
    "random": sequences.run,
    "crash-points": crash_points.run,
    "kills": kills.run,
    "client-crashes": client_crashes.run,
    "client-kills": client_kills.run,
    "holder-crashes": holder_crashes.run,
    "duplicates": duplicates.run,
    "lossy": lossy.run,
    "partition": partition.run,
    "slow-clients": slow_clients.run,
    "over-selection": over_selection.run,
    "floods": floods.run,
    "fuzz": fuzz.run,
    "crowd": crowd.run,
    "oversized": oversized.run,
    "disk-full": disk_full.run,
    "class-room": class_room.run,
    "clock-skew": clock_skew.run,
    "soak": soak.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with command-line arguments (those of the process if None); 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="the counts of the tests: seconds for each, not minutes")
    parser.add_argument("--seed", type=int, default=0, help="where all chance begins (default %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=6.0, help="the longest for rows that can stop anywhere (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/faults.csv"), help="the table, also written as .md (%(default)s)"
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no scenario {unknown[0]!r}; known are {', '.join(SCENARIOS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    outcomes: list[Outcome] = []
    for name in options.scenarios or SCENARIOS:
        for outcome in SCENARIOS[name](Options(options.quick, options.seed, options.minutes)):
            outcomes.append(outcome)
            _say(outcome)
            _write(options.out, outcomes)  # after each, so that nothing is lost if it is stopped
    return 1 if any(outcome.violations for outcome in outcomes) else 0


def _say(outcome: Outcome) -> None:
    scenario, what, trials, violations, seconds, measured = outcome.row()
    print(f"{scenario}: {what}: {trials} trials, {violations} violations, {seconds} s. {measured}", flush=True)
    for sentence in outcome.violations[:SHOWN]:
        print(f"    {sentence}", flush=True)


def _write(path: Path, outcomes: Sequence[Outcome]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, outcomes)
    path.with_suffix(".md").write_text(markdown(outcomes), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
