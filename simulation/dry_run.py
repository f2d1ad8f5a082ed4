"""`--dry-run`: say what a run would send, take, hold and reveal, without running it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console

from core.federated import encoding_for, initial_model
from core.secagg.scheme import PublicKey
from core.settings.command_line import Given
from core.tasks.own import load_task
from core.tasks.task import Task
from core.wording import counted
from server.settings import RunSettings
from simulation import forecast
from simulation.forecast import Forecast, Work
from simulation.probe import probe, probe_worker, pss_bytes
from simulation.settings import Engine, SimulationSettings, settings_of_parties
from simulation.virtual.population import Population, population_for
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import default_workers


def tell(console: Console, given: Given, options: SimulationSettings) -> None:
    """Print what the run would cost, for people or as JSON. Raises what the run itself would raise at its start."""
    found, settings = foretell(given, options)
    if options.as_json:
        print(json.dumps(asdict(found), allow_nan=False))
        return
    for line in sentences(found, settings, options):
        console.print(line, highlight=False, soft_wrap=True)


def foretell(given: Given, options: SimulationSettings) -> tuple[Forecast, RunSettings]:
    """Return what a run would cost and the settings that it would have."""
    task, seed = load_task(given["task"]), given["seed"]
    population = population_for(task, options.data, options.clients, options.partition, seed, options.spam_label)
    settings = _settings(given, options, task, population)
    rules, values = settings.rules, len(initial_model(task, settings.seed))
    bits = PublicKey(settings.scheme, settings.key_bits).plaintext_bits
    numbers = settings.server_rule.numbers(values)
    encoding = encoding_for(task, numbers, bits, rules.max_cohort, settings.count_cap, settings.mechanism)
    cohort = min(population.size, rules.cohort or population.size)
    work = Work(settings, encoding, population.size, cohort)
    seen = probe(settings, task, population, encoding)
    if options.virtual:
        workers = min(options.workers or default_workers(), work.cohort)
        memory = pss_bytes()
        if work.encrypted:
            seen = probe_worker(seen, settings, encoding)
        a_round, total = forecast.seconds_of_virtual(work, seen, workers)
        memory_mb = forecast.memory_of_virtual(work, seen, workers, memory)
    else:
        a_round, total = forecast.seconds_of_parties(work, seen)
        memory_mb = forecast.memory_of_parties(work, _bytes_of(population.data(1)))
    found = Forecast(
        bytes_up_per_client=work.bytes_up,
        bytes_down_per_client=work.bytes_down,
        seconds_per_round=round(a_round, 4),
        seconds_total=round(total, 2),
        memory_mb_total=round(memory_mb, 1),
        epsilon=forecast.epsilon_of_run(work),
        warnings=tuple(warnings_of(settings, options)),
    )
    return found, settings


def _settings(given: Given, options: SimulationSettings, task: Task, population: Population) -> RunSettings:
    """Return the settings of the run, checked as the run checks them."""
    if options.virtual:
        from simulation.virtual.command import settings_of_virtual, stopwatch_for

        settings = settings_of_virtual(given, options, task, population.size)
        VirtualRun(
            settings, task, population, stopwatch_for(options, settings, task)
        )  # refuses groups that are too small
        return settings
    return settings_of_parties(given, options, task, population.size)


def _bytes_of(data: Any) -> int:
    """Return the bytes of the arrays that a data set has."""
    return (
        sum(each.nbytes for each in vars(data).values() if isinstance(each, np.ndarray))
        if hasattr(data, "__dict__")
        else 0
    )


def warnings_of(settings: RunSettings, options: SimulationSettings) -> list[str]:
    """Return what a reader should know before the run: what is not protected, who reads what, what a budget cuts."""
    rules, found = settings.rules, [f"INSECURE: {sentence}" for sentence in settings.insecurities]
    if options.virtual:
        found.append("virtual clients: one program trains them all, so nothing is protected from anyone")
    elif settings.who_reads:
        found.append(settings.who_reads)
    if settings.grouping is not None:
        found.append(settings.grouping.sentence(rules.min_cohort))
    if rules.asked is not None:
        found.append(rules.foretold)
    if options.engine is Engine.ray:
        found.append("seconds and memory are those of workers on this machine, not of a Ray cluster")
    if options.speeds is not None:
        found.append("the seconds are those of this machine; --speeds simulates others")
    return found


def sentences(found: Forecast, settings: RunSettings, options: SimulationSettings) -> Sequence[str]:
    """Return the forecast for people."""
    rounds = settings.rules.rounds
    sent = f"{found.bytes_up_per_client:,} bytes up and {found.bytes_down_per_client:,} bytes down"
    cost = ""
    if found.epsilon is not None and settings.privacy is not None:
        of = f"an epsilon of {found.epsilon:.3g} at delta {settings.privacy.delta:g}"
        cost = f"privacy: {counted(rounds, 'round costs', 'rounds cost')} {of}, if no client drops out"
    where = "the program and its workers" if options.virtual else "all parties together"
    return [
        "a dry run: nothing was trained, sent or written",
        f"each client, each round: {sent}",
        f"a round: {found.seconds_per_round:.3g} seconds; {counted(rounds, 'round')} with the start: "
        f"{found.seconds_total:.3g} seconds, by a probe of this machine as busy as it is now",
        f"memory of {where}: {found.memory_mb_total:,.0f} MB",
        *filter(None, [cost]),
        *found.warnings,
    ]
