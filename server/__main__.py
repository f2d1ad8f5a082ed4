"""Run the aggregator: it leads the rounds and adds updates that it cannot read.

python -m server --identity runs/federation/server --clients 5
python -m server status --state runs/server
python -m server evidence --state runs/server
python -m server healthy --identity runs/federation/server
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import grpc
import structlog
import typer
from rich.console import Console

from core.commands import command_of
from core.console import configure_log, ending_signals, leave_at_once, reporting_errors, stamp
from core.enrolling import EnrolSettings, enroll
from core.errors import RunFailedError, SettingsError
from core.identity.members import Role
from core.identity.party import PartyIdentity, load_identity
from core.privacy.mechanism import Privacy
from core.program import Program
from core.settings.command_line import Given, options_of
from core.settings.common import Identity, InsecurePlaintext, PassphraseFile, Server
from core.settings.setting import Setting
from core.tasks.held_out import HeldOut
from core.tasks.own import load_task
from core.tasks.task import Task
from core.wire.health import check_health
from core.wire.streams import model_from_bytes
from core.wording import counted
from results.record import write_record
from server import metrics
from server.budget import ending_of, spent_in_all
from server.keeping import Keeper
from server.liars import false_updates
from server.recorder import Recorder
from server.recovery import begin
from server.report import report
from server.results import judged_apart, make_results_folder, table, write_results
from server.run import ActiveRun
from server.service import listen
from server.settings import Places, RunSettings
from server.status import show_status, write_evidence
from server.store import Store
from server.workable import workable

FAREWELL_SECONDS = 5.0
log = structlog.get_logger()
app = Program(__doc__)


@app.callback(invoke_without_command=True)
@options_of(Places, RunSettings)
def serve(context: typer.Context, given: Given) -> None:
    """Lead the rounds and add updates that cannot be read here."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with reporting_errors():
        places = given.make(Places)
        party = load_identity(places.identity, places.passphrase_file, Role.SERVER)
        settings = _settings_of(given, party)
        if settings.privacy is not None and places.test is None:
            raise SettingsError("with privacy no accuracy is sent; pass --test with data to judge the models on")
        if places.out is not None:
            make_results_folder(places.out)  # or say now why not
        task = load_task(settings.task)
        settings = workable(replace(settings, task=task.name), task)
        test_data = _test_data(places, settings, task)
        stamp(
            insecure_demo_keys=settings.insecure_demo_keys,
            insecure_plaintext=settings.insecure_plaintext,
            insecure_unbounded=settings.insecure_unbounded,
        )
        if settings.who_reads:
            print(settings.who_reads, flush=True)
        if settings.weaker_key:
            log.warning("key size", advice=settings.weaker_key.strip())
        if places.metrics is not None:
            print(f"metrics at port {metrics.serve(places.metrics)}", flush=True)
        with Keeper(given) as keeper:
            if not asyncio.run(_serve(settings, places, party, task, test_data, keeper)):
                raise KeyboardInterrupt


@app.command(name="enroll")
@options_of(EnrolSettings)
def enroll_party(given: Given) -> None:
    """Make this party's keys, and have the registrar that invited it certify them."""
    configure_log()
    with reporting_errors():
        enroll(Role.SERVER, given.make(EnrolSettings))


@app.command()
@options_of()
def status(
    state: Annotated[Path, Setting("Folder of the aggregator's database.", "folder")] = Path("runs/server"),
) -> None:
    """Show rounds, contributors and refusals of a running or stopped aggregator, from its database."""
    with reporting_errors():
        show_status(state, Console(width=None if sys.stdout.isatty() else 100))


@app.command()
@options_of()
def evidence(
    state: Annotated[Path, Setting("Folder of the aggregator's database.", "folder")] = Path("runs/server"),
    out: Annotated[Path, Setting("Where to write it.", "folder")] = Path("runs/evidence"),
) -> None:
    """Write what shows that clients lied to files, which `python -m results evidence` judges again."""
    with reporting_errors():
        found = list(write_evidence(state, out))
        for path, message in found:
            print(f"{path}: {message}")
        print(f"{counted(len(found), 'false update')} in {state}")


@app.command()
@options_of()
def healthy(
    identity: Identity = Path("runs/federation/server"),
    passphrase_file: PassphraseFile = None,
    server: Server = None,
    insecure_plaintext: InsecurePlaintext = False,
) -> None:
    """Exit 0 if the aggregator answers and says it serves, else 1."""
    with reporting_errors():
        party = load_identity(identity, passphrase_file)
        check_health(server or party.address, party, plaintext=insecure_plaintext)
        print("healthy")


def _settings_of(given: Given, party: PartyIdentity) -> RunSettings:
    roster = party.roster.current()
    deal = f"{command_of('registrar')} deal FEDERATION --scheme {given['scheme']} --key-bits {given['key-bits']}"
    settings = given.make(RunSettings, threshold=roster.threshold, holders=len(roster.holders), deal=deal)
    clients, least = sum(not client.revoked for client in roster.clients), settings.rules.min_cohort
    here = max(clients, settings.rules.target or 0)  # clients may be enrolled later than the server starts
    if settings.grouping is not None:
        settings.grouping.require_room(here, least)
    if here < least:
        raise SettingsError(
            f"the federation has {counted(clients, 'client')}, and the minimum cohort is {least}; pass --min-cohort "
            f"{clients} here and to every client and key holder to open smaller sums, or add clients with "
            f"{command_of('registrar')} add-client"
        )
    return settings


def _test_data(places: Places, settings: RunSettings, task: Task) -> HeldOut | None:
    """Return the data to judge models on, if there is any, and print what is judged apart."""
    if places.test is None:
        return None
    test_data = task.load_test(places.test, settings.seed, settings.rules.target, places.spam_label)
    if test_data.sentence:
        print(f"the models are judged by {test_data.sentence}", flush=True)
    return test_data


async def _serve(
    settings: RunSettings,
    places: Places,
    identity: PartyIdentity,
    task: Task,
    test_data: HeldOut | None,
    keeper: Keeper,
) -> bool:
    """Run to the end; False if a signal ended it before (an unfinished run continues at the next start)."""
    store = Store(places.state)
    run = _begin_or_resume(store, settings, task, places)
    active = ActiveRun(run, settings, task, store, identity, test_data)
    if places.out is not None:
        places = _kept(keeper, places, active, Recorder(places.out, settings, store.history(run)))
    server: grpc.aio.Server | None = None
    _end_on_signals(asyncio.current_task())
    try:
        await active.start()
        server, port = await listen(active, places.listen, plaintext=settings.insecure_plaintext)
        print(f"listening on {places.listen.rpartition(':')[0]}:{port}", flush=True)
        await active.keep_time()
        ended = await active.ended
        await _farewell(active)
        _print_table(settings, active, test_data is not None, await _lies(places, active))
        await _write_results(settings, places, active, "" if ended.completed else ended.message)
        await active.conclude()
        if not ended.completed:
            raise RunFailedError(f"the run failed: {ended.message}")
        keeper.completed()
        if places.keep_serving:
            print(f"the model stays available at port {port}; Ctrl-C ends this", flush=True)
            await _until_interrupted()
    except asyncio.CancelledError:
        await _write_unfinished(settings, places, active)
        return False
    else:
        return True
    finally:
        await asyncio.shield(_close(server, active))


def _kept(keeper: Keeper, places: Places, active: ActiveRun, recorder: Recorder) -> Places:
    """Begin the record in the folder of this run's results, and return the places with that folder."""
    keeper.begin(recorder.folder, active.context.settings, active.context.task)
    active.when_completed(recorder.add)
    print(f"results go to {recorder.folder}", flush=True)
    return replace(places, out=recorder.folder)


async def _until_interrupted() -> None:
    """Wait for Ctrl-C, which is how a server that stays is meant to be ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def _close(server: grpc.aio.Server | None, active: ActiveRun) -> None:
    if server is not None:
        await server.stop(grace=1)
        with contextlib.suppress(TimeoutError):  # what is cut off in its last step shows a trace-back
            async with asyncio.timeout(FAREWELL_SECONDS):
                await active.audience.until_empty()
    await active.close()


async def _write_unfinished(settings: RunSettings, places: Places, active: ActiveRun) -> None:
    """Write the results of the completed rounds of a run that is stopped before its end."""
    if active.results and not active.ended.done():
        done, rounds = len(active.results), settings.rules.rounds
        await _write_results(settings, places, active, f"it was stopped after {done} of {counted(rounds, 'round')}")
        print(f"stopped after {done} of {counted(rounds, 'round')}; the results are in {places.out}", flush=True)


async def _write_results(settings: RunSettings, places: Places, active: ActiveRun, failure: str) -> None:
    out = places.out
    if out is not None:
        _, raw, _ = await active.model(None)
        model = model_from_bytes(raw, len(raw) // 8)
        context, refusals = active.context, await active.all_refusals()
        in_all = "" if settings.privacy is None else await active.with_store(partial(_spent_in_all, settings.privacy))
        lies = await _lies(places, active)
        words = report(context.id, settings, context.verifier.roster, active.results, refusals, failure, in_all, lies)
        write_results(out, settings, active.results, context.task, model, words)
        await active.with_store(lambda store: write_record(out, store.record(context.id)))


async def _lies(places: Places, active: ActiveRun) -> list[str]:
    evidence = await active.with_store(lambda store: store.evidence(active.context.id))
    return list(false_updates(evidence, places.state))


def _spent_in_all(privacy: Privacy, store: Store) -> str:
    return spent_in_all(store.opened_rounds(), privacy.delta)


def _begin_or_resume(store: Store, settings: RunSettings, task: Task, places: Places) -> str:
    if unfinished := store.unfinished_run():
        begun = store.last_attempt(unfinished.run) is not None
        settings.check_same(unfinished.settings, str(places.state), begun=begun)
        if not begun:
            store.change_settings(unfinished.run, settings.to_json())
        log.info("going on with the unfinished run", run=unfinished.run)
        return unfinished.run
    if store.has_runs():
        log.info("beginning a new run; the finished ones stay in the database", state=str(places.state))
    run = begin(store, settings, task, places.start)
    if origin := store.start_of(run):
        fresh = "--start fresh would begin with the task's initial model"
        print(f"this run continues from the model of {origin}; {fresh}", flush=True)
    return run


async def _farewell(active: ActiveRun) -> None:
    """Let everyone hear that the run is over before the connection goes away."""
    if active.ended_before_start:
        await asyncio.sleep(FAREWELL_SECONDS)  # parties that waited for a restart reconnect now
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            await active.audience.until_empty()
    except TimeoutError:
        log.warning("streams still open at shutdown")


def _print_table(settings: RunSettings, active: ActiveRun, tested: bool, lies: Sequence[str]) -> None:
    rules = settings.rules
    console = Console(width=None if sys.stdout.isatty() else 80)
    title = f"{settings.task}: {len(active.results)} of {counted(rules.rounds, 'round')}, {settings.protection}"
    console.print(table(active.results, title, settings.privacy))
    if ending := ending_of(settings, active.results):
        console.print(ending, highlight=False, soft_wrap=True)
    if active.results:
        last = active.results[-1].accuracy
        own = "accuracy of the model the last round began with, on the clients' own data (there is no test data)"
        kind = "test accuracy" if tested else own
        console.print(f"{kind}: {last:.2%}")
        if apart := judged_apart(active.results[-1]):
            console.print(apart, highlight=False, soft_wrap=True)
    for lie in lies:
        console.print(lie, highlight=False, markup=False, soft_wrap=True)


def _end_on_signals(task: asyncio.Task[bool] | None) -> None:
    """End in order on the first signal, and at once on the second: whatever was acknowledged is in the store."""
    assert task is not None

    def end(number: int) -> None:
        if task.cancelling():
            leave_at_once(number)
        task.cancel()

    for number in ending_signals():
        asyncio.get_running_loop().add_signal_handler(number, end, number)


if __name__ == "__main__":
    app()
