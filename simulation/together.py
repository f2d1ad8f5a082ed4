"""A simulation with all parties in this process: real checks and real cryptography, message by message, no sockets."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from core.console import quiet_log
from core.errors import RunFailedError
from core.protocol import RoundResult
from core.tasks.own import load_task
from core.tasks.task import Task
from core.wording import counted
from results.record import write_record
from server import states
from server.recorder import Recorder
from server.report import report
from server.results import judged_apart, row, table, write_results
from server.settings import RunSettings
from simulation.anywhere import run_anywhere
from simulation.in_process import InProcessFederation, Options
from simulation.keeper import IN_PROCESS, Heard, Keeper, ignored
from simulation.network import Network, between
from simulation.registered import registered
from simulation.settings import SimulationSettings, settings_of_parties
from simulation.virtual.population import Population, population_for


def simulate(console: Console, options: SimulationSettings, keeper: Keeper, heard: Heard = ignored) -> None:
    """Run a whole federation in this process; the states of its parties are removed afterwards.

    Args:
        keeper: makes the folder of its results, once the settings are known to work.
        heard: is told of each completed round.

    Raises RunFailedError if the run fails.
    """
    given = keeper.given
    task, seed = load_task(given["task"]), given["seed"]
    population = population_for(task, options.data, options.clients, options.partition, seed, options.spam_label)
    settings = settings_of_parties(given, options, task, population.size)
    folder = keeper.begin(IN_PROCESS, settings, population.size, task)
    console.print(
        f"{counted(population.size, 'client')} in one process, {counted(settings.rules.rounds, 'round')}, "
        f"{settings.protection}",
        highlight=False,
    )
    console.print(population.sentence, highlight=False, soft_wrap=True)
    recorder = Recorder(folder, settings, [])
    federation = run_anywhere(_played(settings, task, population, options, recorder, heard))
    console.print(table(federation.results, f"{settings.task}: {settings.protection}", settings.privacy))
    if apart := judged_apart(federation.results[-1]):
        console.print(apart, highlight=False, soft_wrap=True)
    console.print(f"results are in {folder}", highlight=False, soft_wrap=True)


async def _played(
    settings: RunSettings,
    task: Task,
    population: Population,
    options: SimulationSettings,
    recorder: Recorder,
    heard: Heard,
) -> InProcessFederation:
    parties = Options(
        rule=options.difference_rule, test_data=population.test(), load=lambda _seed, number: population.data(number)
    )
    with tempfile.TemporaryDirectory() as folder, quiet_log():
        identities = registered(Path(folder, "federation"), settings, population.size)
        network = Network(delay=between(0.01, 0.05))
        federation = InProcessFederation(Path(folder), identities, settings, task, parties, network)
        await federation.start()
        try:
            await _play_rounds(federation, recorder, heard)
            await federation.conclude()
            await _write(federation, recorder.folder)
        finally:
            await federation.close()
        return federation


async def _play_rounds(federation: InProcessFederation, recorder: Recorder, heard: Heard) -> None:
    """Play to the end, and tell of each round as soon as it is over."""
    told: list[RoundResult] = []
    while not federation.over:
        await federation.play(lambda: len(federation.run.results) > len(told))
        for result in federation.run.results[len(told) :]:
            told.append(result)
            recorder.add(result)
            heard(row(result, federation.settings))
    await federation.play()
    if isinstance(federation.phase, states.Failed):
        raise RunFailedError(f"the run failed: {federation.phase.message}")


async def _write(federation: InProcessFederation, folder: Path) -> None:
    context, model = federation.run.context, federation.model
    assert model is not None
    refusals = await federation.run.all_refusals()
    words = report(context.id, federation.settings, context.verifier.roster, federation.results, refusals)
    write_results(folder, federation.settings, federation.results, federation.task, model, words)
    write_record(folder, federation.record)
