"""Count each server's rule's rounds to 90 % on MNIST with unlike clients: `python -m benchmarks.server_rules`.

100 clients with Dirichlet(0.1) shares of the digits, ten of them drawn each round, virtual and not encrypted (which
gives the models of encrypted runs to the bit). Clients of all rules train one pass of plain gradient descent (or
`--local-steps`), in batches of 32. Each rule has the two rates at which it was first on another seed, which `--tune`
looks for; other rates are given with a rule's name, as in fedadam:0.01:0.1, the server's first.
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from rich.console import Console

from benchmarks.measure import numbers_table
from book.pictures.style import COLOURS, DASHES, new_figure, style
from core.local_settings import LocalSettings, OptimiserName
from core.server_rules import RuleName, ServerRule
from core.tasks import get_task
from core.tasks.task import Task
from results.intervals import over_seeds
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.virtual.block import BlockRunner
from simulation.virtual.controls import FILE, Controls
from simulation.virtual.population import Population, population_for
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

CLIENTS, COHORT, PARTITION = 100, 10, "dirichlet:0.1"
GOAL = 0.9
TUNING_SEED = 0
LOCAL_RATES = (0.1, 0.3, 0.6)
STEPS = (0.01, 0.03, 0.1)
SERVER_RATES = {
    RuleName.fedavg: (0.5, 1.0, 1.5),
    RuleName.fedavgm: (0.1, 0.3, 1.0),
    RuleName.fedadagrad: STEPS,
    RuleName.fedadam: (0.003, 0.01, 0.03),
    RuleName.fedyogi: (0.003, 0.01, 0.03),
    RuleName.scaffold: (0.5, 1.0, 1.5),
}
"""The grid of `--tune`: nine pairs of rates for each rule."""


@dataclass(frozen=True)
class Choice:
    """A rule with its learning rate and its clients'; None is the default of the rule or of the task."""

    rule: RuleName
    server_rate: float | None = None
    local_rate: float | None = None

    @classmethod
    def of(cls, text: str) -> Choice:
        """Return what NAME, NAME:RATE or NAME:RATE:CLIENTS_RATE says; a name alone has its tuned rates.

        Raises SettingsError for a rule that there is not.
        """
        name, *rates = text.split(":")
        rule = ServerRule(cast("RuleName", name)).name
        return cls(rule, *map(float, rates)) if rates else TUNED[rule]

    def __str__(self) -> str:
        return ":".join([self.rule.value, *(f"{rate:g}" for rate in (self.server_rate, self.local_rate) if rate)])

    def settings(self, task: Task, seed: int, rounds: int, steps: int | None = None) -> RunSettings:
        """Return the settings of a run, whose clients train so many steps, or one pass."""
        rules = RoundRules(
            rounds=rounds, min_cohort=COHORT, max_cohort=COHORT, cohort=COHORT, over_selection=1.0, threshold=1,
            holders=1,
        )  # fmt: skip
        local = LocalSettings(
            optimiser=OptimiserName.SGD, learning_rate=self.local_rate, batch_size=32, local_steps=steps,
            local_epochs=1 if steps is None else None,
        )  # fmt: skip
        rule = ServerRule(self.rule, self.server_rate).over(CLIENTS)
        return RunSettings(task.name, "plain", 2048, seed, rules, server_rule=rule, local=local)


TUNED = {choice.rule: choice for choice in (
    Choice(RuleName.fedavg, 1.0, 0.3), Choice(RuleName.fedavgm, 0.3, 0.3), Choice(RuleName.fedadagrad, 0.03, 0.3),
    Choice(RuleName.fedadam, 0.03, 0.3), Choice(RuleName.fedyogi, 0.03, 0.3), Choice(RuleName.scaffold, 1.0, 0.3),
)}  # fmt: skip
"""What `--tune` found with `--data ../shared/data`."""


def accuracies(task: Task, population: Population, settings: RunSettings) -> Iterator[float]:
    """Yield the test accuracy after each round of one run."""
    run, seed = VirtualRun(settings, task, population), settings.seed
    with tempfile.TemporaryDirectory() as folder:
        controls = Controls(Path(folder, FILE), CLIENTS, len(run.model))
        controls.prepare(CLIENTS)
        runner = BlockRunner(task, population, seed, controls)
        with WorkerPool(runner, 1, len(run.start), run.slots, COHORT) as pool:
            for result in run.rounds(pool, lambda _clients: None):
                yield result.accuracy


def until(goal: float, found: Iterator[float]) -> list[float]:
    """Return the accuracies up to the first that is at least `goal`."""
    seen: list[float] = []
    for accuracy in found:
        seen.append(accuracy)
        if accuracy >= goal:
            break
    return seen


def rounds_to(goal: float, found: Sequence[float]) -> int | None:
    """Return the first round after which the accuracy is at least `goal`; None if there is none."""
    return next((number for number, accuracy in enumerate(found, start=1) if accuracy >= goal), None)


# ------------------------------------------------------------------------------------------------ tuning


def tuned(found: dict[Choice, list[float]], goal: float) -> Choice:
    """Return the choice that was first at the goal; if none was, the one with the best last ten rounds."""

    def order(choice: Choice) -> tuple[float, float]:
        reached = rounds_to(goal, found[choice])
        return reached or float("inf"), -float(np.mean(found[choice][-10:]))

    return min(found, key=order)


def tune(console: Console, task: Task, options: argparse.Namespace) -> None:
    """Run the grid of each rule on the seed that is for this alone, and print which rates were first."""
    population = population_for(task, options.data, CLIENTS, PARTITION, TUNING_SEED)
    table = numbers_table(
        ["rule", "server's rate"], [f"clients' rate {rate:g}" for rate in LOCAL_RATES], title_justify="left"
    )
    best: list[Choice] = []
    with console.status("tuning ...") as status:
        for name in dict.fromkeys(Choice.of(text).rule for text in options.rules):
            found: dict[Choice, list[float]] = {}
            for rates in product(SERVER_RATES[name], LOCAL_RATES):
                choice = Choice(name, *rates)
                status.update(f"tuning {choice}")
                settings = choice.settings(task, TUNING_SEED, options.rounds, options.local_steps)
                found[choice] = until(options.goal, accuracies(task, population, settings))
            for rate in SERVER_RATES[name]:
                table.add_row(
                    name.value,
                    f"{rate:g}",
                    *(_tried(found[Choice(name, rate, local)], options.goal) for local in LOCAL_RATES),
                )
            best.append(tuned(found, options.goal))
    console.print(
        f"rounds to {options.goal:.0%} with seed {TUNING_SEED}; in brackets the best accuracy where none came there"
    )
    console.print(table)
    console.print(f"--rules {' '.join(map(str, best))}")


def _tried(found: Sequence[float], goal: float) -> str:
    return str(rounds_to(goal, found) or f"({max(found):.1%})")


# ------------------------------------------------------------------------------------------------ table and picture


def written(found: np.ndarray, goal: float, first: np.ndarray) -> tuple[str, ...]:
    """Return what the table says of one rule's accuracies, shape (seeds, rounds), compared with the first rule's."""
    reached, base = ([rounds_to(goal, line.tolist()) for line in lines] for lines in (found, first))
    seeds = ", ".join("-" if each is None else str(each) for each in reached)
    to_goal, difference = f"{sum(each is not None for each in reached)} of {len(reached)} runs", "-"
    if None not in reached:
        to_goal = str(over_seeds([each for each in reached if each is not None]))
        pairs = [
            (each, other) for each, other in zip(reached, base, strict=True) if each is not None and other is not None
        ]
        difference = str(over_seeds([each - other for each, other in pairs])) if len(pairs) == len(reached) else "-"
    last = over_seeds(100 * found[:, -10:].mean(axis=1))
    return seeds, to_goal, difference, str(last)


@style()
def draw(path: Path, lines: dict[str, np.ndarray], goal: float) -> None:
    """Draw the mean accuracy over seeds by round, and next to it each seed's rounds to the goal."""
    figure = new_figure(11, 4.6, f"MNIST, {CLIENTS} clients with {PARTITION}, {COHORT} a round")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for place, (name, found) in enumerate(lines.items()):
        numbers = range(1, found.shape[1] + 1)
        left.plot(numbers, found.mean(axis=0), color=COLOURS[place], linestyle=DASHES[place], label=name)
        _dots(right, place, found, goal)
    left.axhline(goal, color="grey", linewidth=0.8)
    left.set(xlabel="rounds", ylabel="test accuracy, mean over seeds", ylim=(0.5, 1))
    left.legend(loc="lower right", title="rule : its rate : its clients' rate")
    right.set(xlabel=f"rounds to {goal:.0%}: one dot a seed, a bar at the mean", xlim=(0, None))
    right.set_yticks(range(len(lines)), list(lines))
    right.invert_yaxis()
    figure.savefig(path, metadata={"Software": None})


def _dots(axes: Axes, place: int, found: np.ndarray, goal: float) -> None:
    """Draw one rule's rounds to the goal; a run that did not come there is a hollow dot at its end."""
    rounds = found.shape[1]
    reached = [rounds_to(goal, line.tolist()) for line in found]
    there = [each for each in reached if each is not None]
    axes.plot(there, [place] * len(there), "o", color=COLOURS[place], alpha=0.7)
    missing = len(reached) - len(there)
    axes.plot([rounds] * missing, [place] * missing, "o", color=COLOURS[place], fillstyle="none")
    if there and not missing:
        axes.plot([np.mean(there)] * 2, [place - 0.3, place + 0.3], "-", color=COLOURS[place])


def write_csv(path: Path, lines: dict[str, np.ndarray], seeds: Sequence[int]) -> None:
    """Write the accuracy of every rule, seed and round."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rule", "seed", "round", "accuracy"])
        for name, found in lines.items():
            for seed, line in zip(seeds, found, strict=True):
                writer.writerows([name, seed, number, f"{each:.4f}"] for number, each in enumerate(line, start=1))


def compare(console: Console, task: Task, options: argparse.Namespace) -> None:
    """Run every rule with every seed; print the table, and write picture and numbers."""
    choices = [Choice.of(text) for text in options.rules]
    found: dict[Choice, list[list[float]]] = {choice: [] for choice in choices}
    with console.status("dealing out ...") as status:
        for seed in options.seeds:
            population = population_for(task, options.data, CLIENTS, PARTITION, seed)
            for choice in choices:
                status.update(f"seed {seed}, {choice}")
                settings = choice.settings(task, seed, options.rounds, options.local_steps)
                found[choice].append(list(accuracies(task, population, settings)))
    lines = {str(choice): np.array(each) for choice, each in found.items()}
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "accuracies.csv", lines, options.seeds)
    draw(options.out / "rules.png", lines, options.goal)
    first = next(iter(lines))
    headings = (
        f"rounds to {options.goal:.0%}, seeds {', '.join(map(str, options.seeds))}",
        "mean",
        f"less {first}",
        "last ten, %",
    )
    table = numbers_table(["rule : its rate : its clients' rate"], headings)
    for name, each in lines.items():
        table.add_row(name, *written(each, options.goal, lines[first]))
    console.print(table)
    console.print(f"the picture: {options.out / 'rules.png'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server_rules", description=__doc__.partition(":")[0])
    parser.add_argument("--data", type=Path, help="a folder with MNIST's files; drawn digits without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="(default 1 to 5)")
    parser.add_argument("--rounds", type=int, default=60, help="of each run (default %(default)s)")
    parser.add_argument(
        "--rules", nargs="+", default=list(TUNED),
        help="each NAME, NAME:RATE or NAME:RATE:CLIENTS_RATE (default: all, at their tuned rates)",
    )  # fmt: skip
    parser.add_argument("--local-steps", type=int, help="batches that each client trains on; one pass without it")
    parser.add_argument("--goal", type=float, default=GOAL, help="accuracy to count rounds to (default %(default)s)")
    parser.add_argument("--tune", action="store_true", help=f"look for each rule's rates, with seed {TUNING_SEED}")
    parser.add_argument("--out", type=Path, default=Path("runs/server-rules"), help="folder (default %(default)s)")
    options = parser.parse_args(arguments)
    console, task = Console(width=120, highlight=False), get_task("mnist-mlp")
    (tune if options.tune else compare)(console, task, options)


if __name__ == "__main__":
    main()
