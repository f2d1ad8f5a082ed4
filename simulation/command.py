"""A simulation with real parties: show what it is, run it, and say what it learned and cost."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console

from core.console import INSECURE_STAMP, PLAINTEXT_STAMP, UNBOUNDED_STAMP
from core.tasks.own import faithful, load_task
from core.wording import counted
from server.budget import ending_of
from server.results import judged_apart, table
from server.settings import RunSettings
from simulation.anywhere import run_anywhere
from simulation.central import check_central, train_in_one_place
from simulation.display import Display
from simulation.federation import Federation
from simulation.going_on import go_on
from simulation.keeper import PROCESSES, Heard, Keeper, ignored
from simulation.nameless import NamelessFolder
from simulation.plan import make_plan
from simulation.say_next import next_command
from simulation.settings import SimulationSettings, settings_of_parties


def simulate(console: Console, options: SimulationSettings, keeper: Keeper, heard: Heard = ignored) -> None:
    """Run a whole federation of processes, or go on with one.

    Args:
        keeper: makes the folder of its results, once the settings are known to work.
        heard: is told of each completed round.
    """
    given = keeper.given
    with NamelessFolder() as scratch:
        task, seed = load_task(given["task"]), given["seed"]
        plan = make_plan(task, options.data, options.clients, options.partition, seed, scratch, options.spam_label)
        settings = settings_of_parties(given, options, task, plan.clients)
        if options.central:
            check_central(task, plan, seed, settings.local_training)
        folder, said = keeper.begin(PROCESSES, settings, plan.clients, task), faithful(given["task"])
        federation = Federation(settings, plan, folder, said, options.port, options.difference_rule)
        _simulate(console, go_on(federation) if keeper.goes_on else federation, heard)
        if options.central:
            rounds = settings.rules.before_budget.rounds
            sums = train_in_one_place(task, plan, rounds, seed, settings.local_training)
            after = f"{sums.accuracy:.2%} after {counted(rounds, 'pass', 'passes')}"
            console.print(f"all {'mail' if task.mail else 'data'} in one place: {after}", highlight=False)


def _simulate(console: Console, federation: Federation, heard: Heard) -> None:
    settings, plan = federation.settings, federation.plan
    rounds = counted(settings.rules.rounds, "round")
    by_examples = f", counted by their examples up to {settings.count_cap}" * (settings.count_cap > 0)
    console.print(f"{counted(plan.clients, 'client')}{by_examples}, {rounds}, {settings.protection}", highlight=False)
    console.print(plan.sentence, highlight=False, soft_wrap=True)
    for said in _chosen(settings):
        console.print(said, highlight=False, soft_wrap=True)
    for switched_off, sentence in (
        (settings.insecure_demo_keys, INSECURE_STAMP),
        (settings.insecure_plaintext, PLAINTEXT_STAMP),
        (settings.insecure_unbounded, UNBOUNDED_STAMP),
    ):
        if switched_off:
            console.print(sentence, style="bold", soft_wrap=True)
    if federation.goes_on:
        console.print(f"going on after round {federation.rounds_before}", highlight=False)
    started = time.monotonic()
    with Display(console, settings, federation.rounds_before, heard) as display:
        _run(console, federation, display)
    if not display.results:
        console.print(f"the run is over; it could not be followed, and its results are in {federation.out}")
        return
    console.print(table(display.results, f"{settings.task}: {settings.protection}", settings.privacy))
    if ending := ending_of(settings, display.results):
        console.print(ending, highlight=False, soft_wrap=True)
    console.print(
        f"test accuracy {display.results[-1].accuracy:.2%} after {counted(len(display.results), 'round')}, "
        f"{counted(round(time.monotonic() - started), 'second')}; results are in {federation.out}",
        highlight=False,
        soft_wrap=True,
    )
    if apart := judged_apart(display.results[-1]):
        console.print(apart, highlight=False, soft_wrap=True)
    if command := next_command(settings.task, federation.out):
        console.print(command, highlight=False, soft_wrap=True)


def _chosen(settings: RunSettings) -> Iterator[str]:
    """Yield what was set otherwise than by default, and who reads what."""
    if settings.local_training is not None:
        yield f"clients train with {settings.local_training.sentence}"
    if settings.who_reads:
        yield settings.who_reads
    if settings.grouping is not None:
        yield settings.grouping.sentence(settings.rules.min_cohort)
    if not settings.server_rule.is_default:
        yield f"the server's rule: {settings.server_rule.sentence}"
    if settings.privacy is not None:
        yield _promise(settings)


def _run(console: Console, federation: Federation, display: Display) -> None:
    """Run it to its end; interrupted, say what there is of it."""
    try:
        run_anywhere(federation.run(display))
    except (KeyboardInterrupt, SystemExit):
        done, rounds = len(display.results), federation.settings.rules.rounds
        left = f"; their history, picture and model are in {federation.out}" if done else ""
        console.print(f"stopped after {done} of {counted(rounds, 'round')}{left}", highlight=False, soft_wrap=True)
        raise


def _promise(settings: RunSettings) -> str:
    privacy = settings.privacy
    assert privacy is not None
    return (
        f"with privacy: updates clipped to a norm of {privacy.clip_norm:g}, noise {privacy.noise_multiplier:g} times "
        f"as wide on the sum of {settings.rules.min_cohort} or more clients"
    )
