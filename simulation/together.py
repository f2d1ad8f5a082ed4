"""A simulation with all parties in this process: real checks and real cryptography, message by message, no sockets."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from client.memory import Memory
from core.console import quiet_log
from core.errors import RunFailedError
from core.identity.members import Role
from core.identity.party import PartyIdentity
from core.protocol import RoundResult
from core.tasks.own import load_task
from core.tasks.task import Task
from core.wording import counted
from results.record import write_record
from results.runs import COMPLETED
from server import states
from server.connections import raise_file_limit
from server.recorder import Recorder
from server.records import FILE as DATABASE
from server.report import report
from server.results import judged_apart, row, table, write_results
from server.settings import RunSettings, Start
from server.store import Store
from simulation.anywhere import run_anywhere
from simulation.going_on import give_up_waiting, wait_for_parties
from simulation.in_process import InProcessFederation, Options
from simulation.keeper import IN_PROCESS, Heard, Keeper, ignored
from simulation.network import Network, between
from simulation.registered import registered, registered_before
from simulation.settings import SimulationSettings, settings_of_parties
from simulation.virtual.population import Population, population_for

PARTIES = "parties"
"""The folder, in that of the results, with the state of the parties while the run is not over."""


def simulate(console: Console, options: SimulationSettings, keeper: Keeper, heard: Heard = ignored) -> None:
    """Run a whole federation in this process, or go on with one.

    The state of its parties is kept in the folder of its results until the run is over.

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
    parties = folder / PARTIES
    before = _before(parties, task)
    if before.results:
        console.print(f"going on after round {len(before.results)}", highlight=False)
    recorder = Recorder(folder, settings, before.results)
    federation = run_anywhere(_played(settings, task, population, options, before, recorder, heard))
    shutil.rmtree(parties)
    console.print(table(federation.results, f"{settings.task}: {settings.protection}", settings.privacy))
    if apart := judged_apart(federation.results[-1]):
        console.print(apart, highlight=False, soft_wrap=True)
    console.print(f"results are in {folder}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Before:
    """What an interrupted run has left in the folder of its parties.

    Attributes:
        folder: of the parties.
        begun: whether there are parties; their aggregator has its run in its store, if it came so far.
        run: the name of that run if it is over; else None.
        results: of its completed rounds.
    """

    folder: Path
    begun: bool = False
    run: str | None = None
    results: Sequence[RoundResult] = ()


def _before(folder: Path, task: Task) -> Before:
    """Return what there is of an interrupted run, with no attempt that waits for clients, whose calls are lost."""
    if not (folder / "server" / DATABASE).exists():
        shutil.rmtree(folder, ignore_errors=True)  # interrupted while the federation was made
        return Before(folder)
    wait_for_parties(folder)
    store = Store(folder / "server")
    try:
        ending, origin = store.last_ending(), store.last_model_of(task.name)
        over = None if ending is None or origin is None or ending[0] != COMPLETED else origin.run
        if over is None:
            give_up_waiting(store, folder)
        run = over or (unfinished.run if (unfinished := store.unfinished_run()) else "")
        return Before(folder, True, over, store.history(run))
    finally:
        store.close()


def _identities(before: Before, settings: RunSettings, clients: int) -> dict[str, PartyIdentity]:
    if before.begun:
        return registered_before(before.folder / "federation", settings)
    before.folder.mkdir(mode=0o700)
    return registered(before.folder / "federation", settings, clients)


async def _played(
    settings: RunSettings,
    task: Task,
    population: Population,
    options: SimulationSettings,
    before: Before,
    recorder: Recorder,
    heard: Heard,
) -> InProcessFederation:
    with quiet_log():
        identities = _identities(before, settings, population.size)
        raise_file_limit()
        clients = [name for name, identity in identities.items() if identity.role is Role.CLIENT]
        parties = Options(
            rule=options.difference_rule,
            test_data=population.test(),
            load=lambda _seed, number: population.data(number),
            start=before.run or Start.CONTINUE,
            memories={name: Memory(before.folder / name) for name in clients},
        )
        network = Network(delay=between(0.01, 0.05))
        federation = InProcessFederation(before.folder, identities, settings, task, parties, network)
        await federation.start()
        try:
            await _play_rounds(federation, before.results, recorder, heard)
            await federation.conclude()
            await _write(federation, recorder.folder)
        finally:
            await federation.close()
            for memory in federation.memories.values():
                memory.close()
        return federation


async def _play_rounds(
    federation: InProcessFederation, before: Sequence[RoundResult], recorder: Recorder, heard: Heard
) -> None:
    """Play to the end, and tell of each new round as soon as it is over."""
    told = list(before)
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
