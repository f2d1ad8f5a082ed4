"""Run a whole federation on this machine: aggregator, key holders and clients as real processes that talk real gRPC.

python -m simulation
python -m simulation --clients 10 --rounds 3 --scheme plain
python -m simulation --data FOLDER_WITH_MAILBOXES
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import shlex
import sys
import time
from pathlib import Path

import typer
from rich.console import Console

from core.console import INSECURE_STAMP, PLAINTEXT_STAMP, reporting_errors
from core.errors import SettingsError
from core.federated import initial_model
from core.new_paths import new_folder
from core.settings.command_line import Given, options_of
from core.tasks import get_task
from core.wording import counted
from server.budget import within_budget
from server.results import judged_apart, table
from server.settings import RunSettings
from simulation.anywhere import run_anywhere
from simulation.central import train_in_one_place
from simulation.display import Display
from simulation.federation import Federation
from simulation.nameless import NamelessFolder
from simulation.plan import make_plan
from simulation.settings import NOT_ASKED, Scheme, SimulationSettings


@options_of(SimulationSettings, RunSettings, without=NOT_ASKED)
def main(given: Given) -> None:
    """Run a whole federation on this machine and show what it learned, what it cost, and how long it took."""
    console = Console(width=None if sys.stdout.isatty() else 80)
    with reporting_errors(), NamelessFolder() as scratch:
        options = given.make(SimulationSettings)
        task, seed = get_task(given["task"]), given["seed"]
        plan = make_plan(task, options.data, options.clients, options.partition, seed, scratch, options.spam_label)
        if plan.clients < 2 and options.scheme is not Scheme.plain and not options.insecure_demo_keys:
            raise SettingsError(
                f"there is {plan.clients} client; the sum of one is its update in clear, so at least 2 are needed"
            )
        settings = given.make(RunSettings, **options.decide(plan.clients, given["cohort"]))
        settings = within_budget(settings, len(initial_model(task, seed)))
        folder = new_folder(options.out or Path("runs", time.strftime(f"{settings.task}-%Y%m%d-%H%M%S")))
        _simulate(console, Federation(settings, plan, folder, options.port, options.difference_rule))
        if options.central:
            rounds = settings.rules.before_budget.rounds
            sums = train_in_one_place(task, plan, rounds, seed)
            console.print(
                f"all mail in one place: {sums.accuracy:.2%} after {counted(rounds, 'pass', 'passes')}", highlight=False
            )


def _simulate(console: Console, federation: Federation) -> None:
    settings, plan = federation.settings, federation.plan
    rounds = counted(settings.rules.rounds, "round")
    by_examples = f", counted by their examples up to {settings.count_cap}" * (settings.count_cap > 0)
    console.print(f"{counted(plan.clients, 'client')}{by_examples}, {rounds}, {settings.protection}", highlight=False)
    console.print(plan.sentence, highlight=False, soft_wrap=True)
    if settings.privacy is not None:
        console.print(_promise(settings), highlight=False, soft_wrap=True)
    for switched_off, sentence in (
        (settings.insecure_demo_keys, INSECURE_STAMP),
        (settings.insecure_plaintext, PLAINTEXT_STAMP),
    ):
        if switched_off:
            console.print(sentence, style="bold", soft_wrap=True)
    started = time.monotonic()
    with Display(console, settings.rules.rounds) as display:
        _run(console, federation, display)
    if not display.results:
        console.print(f"the run is over; it could not be followed, and its results are in {federation.out}")
        return
    console.print(table(display.results, f"{settings.task}: {settings.protection}", settings.privacy))
    if settings.rules.asked is not None:
        console.print(settings.rules.ending, highlight=False, soft_wrap=True)
    console.print(
        f"test accuracy {display.results[-1].accuracy:.2%} after {counted(len(display.results), 'round')}, "
        f"{counted(round(time.monotonic() - started), 'second')}; results are in {federation.out}",
        highlight=False,
        soft_wrap=True,
    )
    if apart := judged_apart(display.results[-1]):
        console.print(apart, highlight=False, soft_wrap=True)
    _say_next(console, federation)


def _run(console: Console, federation: Federation, display: Display) -> None:
    """Run it to its end; interrupted, say what there is of it."""
    try:
        run_anywhere(federation.run(display))
    except (KeyboardInterrupt, SystemExit):
        done, rounds = len(display.results), federation.settings.rules.rounds
        left = f"; their history, picture and model are in {federation.out}" if done else ""
        console.print(f"stopped after {done} of {counted(rounds, 'round')}{left}", highlight=False, soft_wrap=True)
        raise


def _say_next(console: Console, federation: Federation) -> None:
    """Print the command that asks the model about a message."""
    if federation.settings.task == "spam":
        program = Path(sys.executable)
        if program.is_relative_to(Path.cwd()):
            program = program.relative_to(Path.cwd())
        command = shlex.join([str(program), "-m", "client", "classify", "--model", str(federation.out / "model.npz")])
        console.print(f"ask its model: {command} MESSAGE", highlight=False, soft_wrap=True)


def _promise(settings: RunSettings) -> str:
    privacy = settings.privacy
    assert privacy is not None
    return (
        f"with privacy: updates clipped to a norm of {privacy.clip_norm:g}, noise {privacy.noise_multiplier:g} times "
        f"as wide on the sum of {settings.rules.min_cohort} or more clients"
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(main)
    app()
