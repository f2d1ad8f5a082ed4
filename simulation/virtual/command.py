"""A simulation with virtual clients on the command line: check, run, show, and keep what it leaves behind."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from core.console import shielded_from_signals
from core.errors import SettingsError
from core.settings.command_line import Given
from core.tasks.own import load_task
from core.tasks.task import Task, one_by_one
from core.wording import counted
from server.budget import ending_of
from server.recorder import Recorder
from server.results import FILES, judged_apart, row, table, write_results
from server.rules import DEFAULT_OVER_SELECTION, LARGEST, RoundRules
from server.settings import RunSettings
from server.workable import workable
from simulation.keeper import VIRTUAL, Heard, Keeper, ignored
from simulation.say_next import next_command
from simulation.settings import Engine, SimulationSettings
from simulation.virtual.block import BlockRunner
from simulation.virtual.checkpoint import FILE as CHECKPOINT
from simulation.virtual.checkpoint import read_checkpoint, save_checkpoint
from simulation.virtual.controls import FILE as CONTROLS
from simulation.virtual.controls import Controls
from simulation.virtual.population import Population, population_for
from simulation.virtual.progress import shown
from simulation.virtual.run import Engine as TrainsClients
from simulation.virtual.run import VirtualResult, VirtualRun
from simulation.virtual.times import RandomPresence, Stopwatch, presence_from, speeds_from
from simulation.virtual.workers import WorkerPool, default_workers, require_room

if TYPE_CHECKING:
    from simulation.virtual.on_ray import RayCluster

UNPROTECTED = "virtual clients: one program trains them all, so nothing is protected from anyone"


def simulate(console: Console, options: SimulationSettings, keeper: Keeper, heard: Heard = ignored) -> None:
    """Run a simulation with virtual clients, or go on with one.

    Args:
        keeper: makes the folder of its results, once the settings are known to work.
        heard: is told of each completed round.
    """
    if options.engine is Engine.ray:
        from simulation.virtual.on_ray import require_ray

        require_ray(options.ray_address)
    given = keeper.given
    task, seed = load_task(given["task"]), given["seed"]
    population = population_for(task, options.data, options.clients, options.partition, seed, options.spam_label)
    settings = settings_of_virtual(given, options, task, population.size)
    run = VirtualRun(settings, task, population, stopwatch_for(options, settings, task))
    if options.engine is not Engine.ray:
        require_room(_workers(options, run))
    folder = keeper.begin(VIRTUAL, settings, population.size, task)
    if keeper.goes_on:
        _go_on(run, folder)
    recorder = Recorder(folder, settings, run.results)
    _say_start(console, options, run, population)
    started, why = time.monotonic(), ""
    try:
        with _engine(options, run, BlockRunner(task, population, seed, _controls(run, population, folder))) as engine:
            _play(console, run, engine, folder, recorder, heard)
    except (KeyboardInterrupt, SystemExit):
        if not run.is_complete:  # else there is nothing left to stop, and its results can be written
            why = f"it was stopped after {len(run.results)} of {counted(settings.rules.rounds, 'round')}"
            console.print(why.removeprefix("it was "), highlight=False)
            raise
    finally:
        if run.results:
            with shielded_from_signals():  # a second one ends it at once, and --resume then goes on
                write_results(folder, settings, run.results, task, run.model, _report(settings, run, why))
    with shielded_from_signals():
        _say_end(console, run, folder, time.monotonic() - started)
        for name in (CHECKPOINT, CONTROLS):
            (folder / name).unlink(missing_ok=True)


def _play(
    console: Console, run: VirtualRun, engine: TrainsClients, folder: Path, recorder: Recorder, heard: Heard
) -> None:
    """Play the rounds that are left, and keep and show each when it is over."""
    with shown(console, run) as done:
        for result in run.rounds(engine, done):
            save_checkpoint(folder, run)
            recorder.add(result)
            console.print(_line(result, run.settings), highlight=False, soft_wrap=True)
            heard(row(result, run.settings))


def _go_on(run: VirtualRun, folder: Path) -> None:
    """Take up an interrupted run from its checkpoint; results of its folder are written anew from there."""
    checkpoint = read_checkpoint(folder)
    if checkpoint is not None:
        run.go_on(checkpoint.vector, checkpoint.results, checkpoint.now)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _say_start(console: Console, options: SimulationSettings, run: VirtualRun, population: Population) -> None:
    settings = run.settings
    a_round = f"{run.largest_round} of them a round, " if run.largest_round < population.size else ""
    console.print(
        f"{counted(population.size, 'virtual client')}, {a_round}{counted(settings.rules.rounds, 'round')}, "
        f"{_where(options, run)}; {_said_of(settings)}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(population.sentence, highlight=False, soft_wrap=True)
    for sentence in _rules_of(settings):
        console.print(sentence, highlight=False, soft_wrap=True)
    if run.results:
        console.print(f"going on after round {len(run.results)}", highlight=False)


def _workers(options: SimulationSettings, run: VirtualRun) -> int:
    return min(options.workers or default_workers(), run.largest_round)


def _where(options: SimulationSettings, run: VirtualRun) -> str:
    return "on Ray" if options.engine is Engine.ray else counted(_workers(options, run), "worker")


def _engine(options: SimulationSettings, run: VirtualRun, runner: BlockRunner) -> WorkerPool | RayCluster:
    if options.engine is Engine.ray:
        from simulation.virtual.on_ray import RayCluster

        return RayCluster(runner, options.ray_address)
    return WorkerPool(runner, _workers(options, run), len(run.start), run.slots, run.largest_round)


def settings_of_virtual(given: Given, options: SimulationSettings, task: Task, clients: int) -> RunSettings:
    """Return the settings of a run in which no party joins, so there is nothing to wait for.

    Raises SettingsError for those that cannot work.
    """
    cohort = given["cohort"]
    if cohort is not None and cohort > clients:
        raise SettingsError(f"--cohort is {cohort}, and there are {counted(clients, 'client')}")
    if cohort is None and clients > LARGEST:
        raise SettingsError(
            f"{clients} clients are too many for one round, which has at most {LARGEST}; choose some with --cohort"
        )
    over = options.over_selection if options.speeds is not None and cohort is not None else 1.0
    if cohort is None and options.over_selection != DEFAULT_OVER_SELECTION:
        raise SettingsError(
            f"--over-selection is {options.over_selection:g}, which is times --cohort; add --cohort, or leave it out"
        )
    most = clients if cohort is None else min(clients, ceil(round(cohort * over, 6)))
    decided = options.decide(clients, cohort, given["groups"])
    seconds = options.round_seconds or RoundRules().round_seconds  # of simulated time; there is no other deadline
    decided |= {"round_seconds": seconds, "upload_seconds": seconds}
    decided |= {"target": None, "max_cohort": most, "over_selection": over, "threshold": 1, "holders": 1}
    settings = given.make(RunSettings, task=task.name, **decided)
    settings = replace(settings, server_rule=settings.server_rule.over(clients))
    if settings.server_rule.corrects_clients:
        _check_controls(options)
    return workable(settings, task)


def _check_controls(options: SimulationSettings) -> None:
    """Raise SettingsError where control variates cannot be kept, or are not known of each client by itself."""
    if options.engine is Engine.ray:
        raise SettingsError(
            "--rule scaffold keeps a file of control variates on this machine, which the workers of --engine ray do "
            "not share; leave --engine out"
        )


def _controls(run: VirtualRun, population: Population, folder: Path) -> Controls | None:
    """Return where the clients' control variates are kept, with room for them; None if the rule has none."""
    if not run.settings.server_rule.corrects_clients:
        return None
    controls = Controls(folder / CONTROLS, population.size, len(run.model))
    controls.prepare(min(population.size, run.largest_round * run.settings.rules.rounds))
    return controls


def stopwatch_for(options: SimulationSettings, settings: RunSettings, task: Task) -> Stopwatch | None:
    """Return what simulates time; None for nothing. Raises SettingsError or DataError for what cannot be used."""
    if options.speeds is None:
        return None
    steps, seed = task.local_in(settings.local_training, 1).steps, settings.seed
    if steps is not None and task.shuffled is not one_by_one:
        raise SettingsError(
            f"--speeds counts examples, and a step of the task {task.name} trains on sequences of them; "
            "give --local-epochs instead of --local-steps"
        )
    presence = RandomPresence(1.0, seed) if options.availability is None else presence_from(options.availability, seed)
    return Stopwatch(speeds_from(options.speeds, seed), presence, settings.rules.cohort, settings.rules.round_seconds)


def _said_of(settings: RunSettings) -> str:
    if settings.scheme == "plain":
        return UNPROTECTED
    return f"every update is encrypted ({settings.scheme}, {settings.key_bits} bits), and opened here: {UNPROTECTED}"


def _line(result: VirtualResult, settings: RunSettings) -> str:
    answers = result.answers
    precision = f", precision {answers.precision:.2%}, false alarms {answers.false_alarm_rate:.2%}"
    epsilon = f", epsilon {result.epsilon:.2f}" * (result.epsilon > 0)
    epsilon += f", clip {result.clip_norm:.3g}" * (result.clip_norm > 0)
    simulated = f", {result.simulated_seconds:.0f} simulated seconds, {result.late} late, {result.dropped} left"
    return (
        f"round {result.round} of {settings.rules.rounds}: {counted(result.contributors, 'client')}, "
        f"accuracy {result.accuracy:.2%}{precision * result.asks_yes_or_no}, loss {result.loss:.4f}{epsilon}, "
        f"{result.seconds:.2f} s{simulated * result.timed}"
    )


def _rules_of(settings: RunSettings) -> list[str]:
    """Say how sums make models, where it is not the plain mean of one sum."""
    rule, grouping = settings.server_rule, settings.grouping
    said = [] if rule.is_default else [f"the server's rule: {rule.sentence}"]
    return said if grouping is None else [*said, grouping.sentence(settings.rules.min_cohort)]


def _report(settings: RunSettings, run: VirtualRun, why: str) -> str:
    rounds = f"{len(run.results)} of {counted(settings.rules.rounds, 'round')}"
    ended = f"\n\n**The run ended early:** {why}." * bool(why)
    apart = f"\n\n{judged_apart(run.results[-1])}." * bool(judged_apart(run.results[-1]))
    rules = "".join(f"\n\n{sentence[0].upper()}{sentence[1:]}." for sentence in _rules_of(settings))
    return f"# {settings.task}, {rounds}\n\n**{_said_of(settings)}.**{rules}{ended}{apart}\n"


def _say_end(console: Console, run: VirtualRun, folder: Path, seconds: float) -> None:
    settings = run.settings
    title = (
        f"{settings.task}: virtual clients, {'nothing is encrypted' if settings.scheme == 'plain' else settings.scheme}"
    )
    console.print(table(run.results, title, settings.privacy))
    if ending := ending_of(settings, run.results):
        console.print(ending, highlight=False, soft_wrap=True)
    last = run.results[-1]
    simulated = f" ({last.simulated_total:.0f} simulated)" * last.timed
    console.print(
        f"test accuracy {last.accuracy:.2%} after {counted(len(run.results), 'round')}, "
        f"{counted(round(seconds), 'second')}{simulated}; results are in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    for sentence in filter(None, (judged_apart(last), next_command(settings.task, folder))):
        console.print(sentence, highlight=False, soft_wrap=True)
    sys.stdout.flush()
