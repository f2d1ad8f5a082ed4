"""Run the aggregator: it leads the rounds and adds updates that it cannot read.

python -m server --identity runs/federation/server --clients 5
python -m server status --state runs/server
python -m server healthy --identity runs/federation/server
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import grpc
import structlog
import typer
from rich.console import Console

from core.console import (
    Identity,
    InsecureDemoKeys,
    InsecurePlaintext,
    PassphraseFile,
    configure_log,
    help_of,
    sentences,
    stamp,
)
from core.errors import RunFailedError, SettingsError
from core.federated import encoding_for, initial_model
from core.identity.members import Role
from core.identity.party import PartyIdentity, load_identity
from core.privacy.options import (
    DEFAULT_DELTA,
    ClipNorm,
    Delta,
    EpsilonBudget,
    MaxColluders,
    NoiseMultiplier,
    privacy_of,
)
from core.secagg.scheme import DEFAULT_KEY_BITS, PublicKey
from core.tasks import get_task
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.wire.health import check_health
from core.wire.streams import model_from_bytes
from server import metrics
from server.budget import within_budget
from server.report import report
from server.results import judged_apart, make_results_folder, table, write_results
from server.rules import RoundRules
from server.run import ActiveRun
from server.service import listen
from server.settings import RunSettings
from server.status import show_status
from server.store import Store

DEFAULT_ADDRESS = "127.0.0.1:50551"
FAREWELL_SECONDS = 5.0
log = structlog.get_logger()
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=help_of(__doc__))


@dataclass(frozen=True)
class Places:
    """Where the aggregator listens, keeps its state, and writes its results."""

    listen: str
    state: Path
    out: Path | None
    keep_serving: bool
    plaintext: bool


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    identity: Identity = Path("runs/federation/server"),
    passphrase_file: PassphraseFile = None,
    listen_at: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 lets the system choose.")] = (
        DEFAULT_ADDRESS
    ),
    state: Annotated[Path, typer.Option(help="Folder of the database; an unfinished run there goes on.")] = Path(
        "runs/server"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for history.csv, .jsonl, .png, report.md and model.npz.")] = (
        None
    ),
    task: Annotated[str, typer.Option(help="What to learn.")] = "spam",
    rounds: Annotated[int, typer.Option(help="How many rounds.")] = 5,
    clients: Annotated[int | None, typer.Option(help="Begin as soon as this many clients are here.")] = None,
    min_cohort: Annotated[int, typer.Option(help="Open no sum of fewer contributors.")] = 2,
    max_cohort: Annotated[int, typer.Option(help="Slots are wide enough for this many contributors.")] = 64,
    cohort: Annotated[
        int | None, typer.Option(help="Updates wanted a round, of clients chosen at random; without it, everyone's.")
    ] = None,
    over_selection: Annotated[
        float, typer.Option(help="Clients chosen for each update wanted (with --cohort), because some drop out.")
    ] = 1.3,
    scheme: Annotated[
        str, typer.Option(help="paillier, damgard-jurik, or plain, which encrypts nothing.")
    ] = "paillier",
    key_bits: Annotated[
        int, typer.Option(help="Size of the Paillier key, in bits; 2048 are faster, and weaker.")
    ] = DEFAULT_KEY_BITS,
    count_cap: Annotated[
        int, typer.Option(min=0, help="Clients count by their examples, up to this many; 0: all alike.")
    ] = 0,
    clip_norm: ClipNorm = None,
    noise_multiplier: NoiseMultiplier = None,
    delta: Delta = DEFAULT_DELTA,
    max_colluders: MaxColluders = 0,
    epsilon_budget: EpsilonBudget = None,
    seed: Annotated[int, typer.Option(help="Of the starting model and all shuffling.")] = 0,
    test: Annotated[str | None, typer.Option(help="Mailbox to judge each model on, or `generated`.")] = None,
    gather_seconds: Annotated[float, typer.Option(help="Begin when nobody new came for so many seconds.")] = 5.0,
    round_seconds: Annotated[
        float, typer.Option(help="Seconds from the opening of a round to the last commitment.")
    ] = 120.0,
    upload_seconds: Annotated[float, typer.Option(help="Seconds from the closed list to the last update.")] = 60.0,
    answer_seconds: Annotated[float, typer.Option(help="Seconds after which other key holders are asked too.")] = 20.0,
    patience: Annotated[float, typer.Option(help="Longest wait, in seconds, for clients or key holders.")] = 600.0,
    keep_serving: Annotated[bool, typer.Option(help="Stay after the last round and hand out the model.")] = False,
    metrics_at: Annotated[
        str | None, typer.Option("--metrics", help="HOST:PORT for Prometheus to read /metrics at.")
    ] = None,
    insecure_demo_keys: InsecureDemoKeys = False,
    insecure_plaintext: InsecurePlaintext = False,
) -> None:
    """Lead the rounds and add updates that cannot be read here."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with sentences():
        party = load_identity(identity, passphrase_file, Role.SERVER)
        roster = party.roster.current()
        rules = RoundRules(
            rounds=rounds,
            min_cohort=min_cohort,
            max_cohort=max_cohort,
            target=clients,
            cohort=cohort,
            over_selection=over_selection,
            threshold=roster.threshold,
            holders=len(roster.holders),
            gather_seconds=gather_seconds,
            round_seconds=round_seconds,
            upload_seconds=upload_seconds,
            answer_seconds=answer_seconds,
            patience_seconds=patience,
            deal=f"python -m registrar deal FEDERATION --scheme {scheme} --key-bits {key_bits}",
        )
        settings = RunSettings(
            *(task, scheme, key_bits, seed, rules, insecure_demo_keys, count_cap, insecure_plaintext),
            privacy_of(clip_norm, noise_multiplier, delta, max_colluders, epsilon_budget),
        )
        if settings.privacy is not None and test is None:
            raise SettingsError("with privacy nobody's accuracy is sent; give --test to judge the models on")
        if out is not None:
            make_results_folder(out)  # or say now why not
        places = Places(listen_at, state, out, keep_serving, insecure_plaintext)
        the_task = get_task(task)
        plaintext_bits = PublicKey(scheme, key_bits).plaintext_bits
        values = len(initial_model(the_task, seed))
        encoding_for(the_task, values, plaintext_bits, max_cohort, count_cap, settings.mechanism)  # or say now why not
        settings = within_budget(settings, values)
        test_data = the_task.load_test(test, seed, clients) if test is not None else None
        if test_data is not None and test_data.sentence:
            print(f"the models are judged by {test_data.sentence}", flush=True)
        stamp(insecure_demo_keys=insecure_demo_keys, insecure_plaintext=insecure_plaintext)
        if settings.weaker_key:
            log.warning("key size", advice=settings.weaker_key.strip())
        if metrics_at is not None:
            print(f"metrics at port {metrics.serve(metrics_at)}", flush=True)
        if not asyncio.run(_serve(settings, places, party, the_task, test_data)):
            raise KeyboardInterrupt


@app.command()
def status(
    state: Annotated[Path, typer.Option(help="Folder of the aggregator's database.")] = Path("runs/server"),
) -> None:
    """Show rounds, contributors and refusals of a running or stopped aggregator, from its database."""
    with sentences():
        show_status(state, Console(width=None if sys.stdout.isatty() else 100))


@app.command()
def healthy(
    identity: Identity = Path("runs/federation/server"),
    passphrase_file: PassphraseFile = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT; if none is given, as in the party's folder.")] = None,
    insecure_plaintext: InsecurePlaintext = False,
) -> None:
    """Exit 0 if the aggregator answers and says it serves, else 1."""
    with sentences():
        party = load_identity(identity, passphrase_file)
        check_health(server or party.address, party, plaintext=insecure_plaintext)
        print("healthy")


async def _serve(
    settings: RunSettings,
    places: Places,
    identity: PartyIdentity,
    task: Task,
    test_data: HeldOut | None,
) -> bool:
    """Run to the end; False if a signal ended it before (an unfinished run goes on at the next start)."""
    store = Store(places.state)
    run = _begin_or_resume(store, settings, task, places.state)
    active = ActiveRun(run, settings, task, store, identity, test_data)
    server: grpc.aio.Server | None = None
    _end_on_signals(asyncio.current_task())
    try:
        await active.start()
        server, port = await listen(active, places.listen, plaintext=places.plaintext)
        print(f"listening on {places.listen.rpartition(':')[0]}:{port}", flush=True)
        await active.keep_time()
        ended = await active.ended
        await _farewell(active)
        _print_table(settings, active, test_data is not None)
        await _write_results(settings, places, active, "" if ended.completed else ended.message)
        await active.conclude()
        if not ended.completed:
            raise RunFailedError(f"the run failed: {ended.message}")
        if places.keep_serving:
            print(f"the model stays available at port {port}; Ctrl-C ends this", flush=True)
            await _until_interrupted()
    except asyncio.CancelledError:
        return False
    else:
        return True
    finally:
        await asyncio.shield(_close(server, active))


async def _until_interrupted() -> None:
    """Wait for Ctrl-C, which is how a server that stays is meant to be ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def _close(server: grpc.aio.Server | None, active: ActiveRun) -> None:
    if server is not None:
        await server.stop(grace=1)
        with contextlib.suppress(TimeoutError):  # what is cut off in its last step shows a trace-back
            await asyncio.wait_for(active.audience.until_empty(), FAREWELL_SECONDS)
    await active.close()


async def _write_results(settings: RunSettings, places: Places, active: ActiveRun, failure: str) -> None:
    if places.out is not None:
        _, raw, _ = await active.model(None)
        model = model_from_bytes(raw, len(raw) // 8)
        words = report(
            *(active.context.id, settings, active.context.trust.roster, active.results),
            *(await active.all_refusals(), failure),
        )
        write_results(places.out, settings, active.results, active.context.task, model, words)


def _begin_or_resume(store: Store, settings: RunSettings, task: Task, folder: Path) -> str:
    if unfinished := store.unfinished_run():
        settings.check_same(unfinished.settings, str(folder))
        log.info("going on with the unfinished run", run=unfinished.run)
        return unfinished.run
    if store.has_runs():
        log.info("beginning a new run; the finished ones stay in the database", state=str(folder))
    run = secrets.token_hex(8)
    store.begin_run(run, settings.to_json(), initial_model(task, settings.seed))
    return run


async def _farewell(active: ActiveRun) -> None:
    """Let everyone hear that the run is over before the connection goes away."""
    if active.ended_before_start:
        await asyncio.sleep(FAREWELL_SECONDS)  # parties that waited for a restart reconnect now
    try:
        await asyncio.wait_for(active.audience.until_empty(), FAREWELL_SECONDS)
    except TimeoutError:
        log.warning("streams still open at shutdown")


def _print_table(settings: RunSettings, active: ActiveRun, tested: bool) -> None:
    rules = settings.rules
    console = Console(width=None if sys.stdout.isatty() else 80)
    title = f"{settings.task}: {len(active.results)} of {rules.rounds} rounds, {settings.protection}"
    console.print(table(active.results, title, settings.privacy))
    if rules.asked is not None:
        console.print(rules.ending)
    if active.results:
        last = active.results[-1].accuracy
        own = "accuracy of the model the last round began with, on the clients' own data (there is no test data)"
        kind = "test accuracy" if tested else own
        console.print(f"{kind}: {last:.2%}")
        if apart := judged_apart(active.results[-1]):
            console.print(apart, highlight=False, soft_wrap=True)


def _end_on_signals(task: asyncio.Task[bool] | None) -> None:
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


if __name__ == "__main__":
    app()
