"""Run the aggregator: it leads the rounds and adds updates that it cannot read.

python -m server --clients 5
python -m server healthy --server 127.0.0.1:50551
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
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from core.console import INSECURE_DEMO_KEYS, INSECURE_STAMP, PLAINTEXT_STAMP, configure_log, sentences
from core.errors import GrokfedError, RunFailedError
from core.federated import encoding_for, initial_model
from core.secagg.scheme import PublicKey
from core.tasks import get_task
from core.tasks.task import Task
from core.training import Dataset
from core.wire.dialing import check_address
from core.wire.streams import model_from_bytes
from server.coordinator import Coordinator
from server.results import table, write_results
from server.rounds import RoundRules
from server.service import KEY_HOLDING, listen
from server.settings import RunSettings
from server.store import Store

DEFAULT_ADDRESS = "127.0.0.1:50551"
FAREWELL_SECONDS = 5.0
log = structlog.get_logger()
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=__doc__)


@dataclass(frozen=True)
class Places:
    """Where the aggregator listens, keeps its state, and writes its results."""

    listen: str
    state: Path
    out: Path | None
    keep_serving: bool


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    listen_at: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 lets the system choose.")] = (
        DEFAULT_ADDRESS
    ),
    state: Annotated[Path, typer.Option(help="Folder of the database; an unfinished run there goes on.")] = Path(
        "runs/server"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for history.csv, .jsonl, .png and model.npz.")] = None,
    task: Annotated[str, typer.Option(help="What to learn.")] = "spam",
    rounds: Annotated[int, typer.Option(help="How many rounds.")] = 5,
    clients: Annotated[int | None, typer.Option(help="Begin as soon as this many clients are here.")] = None,
    min_cohort: Annotated[int, typer.Option(help="Open no sum of fewer contributors.")] = 2,
    max_cohort: Annotated[int, typer.Option(help="Slots are wide enough for this many contributors.")] = 64,
    scheme: Annotated[
        str, typer.Option(help="paillier, damgard-jurik, or plain, which encrypts nothing.")
    ] = "paillier",
    key_bits: Annotated[int, typer.Option(help="Size of the Paillier key.")] = 2048,
    count_cap: Annotated[
        int, typer.Option(min=0, help="Clients count by their examples, up to this many; 0: all alike.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the starting model and all shuffling.")] = 0,
    test: Annotated[str | None, typer.Option(help="Mailbox to judge each model on, or `generated`.")] = None,
    gather_seconds: Annotated[float, typer.Option(help="Begin when nobody new came for so long.")] = 5.0,
    round_seconds: Annotated[float, typer.Option(help="From the opening of a round to its deadline.")] = 120.0,
    patience: Annotated[float, typer.Option(help="Longest wait, in seconds, for clients or the key holder.")] = 600.0,
    keep_serving: Annotated[bool, typer.Option(help="Stay after the last round and hand out the model.")] = False,
    insecure_demo_keys: Annotated[
        bool, typer.Option(envvar=INSECURE_DEMO_KEYS, help="Allow keys below 2048 bits, and cohorts of one.")
    ] = False,
) -> None:
    """Lead the rounds and add updates that cannot be read here."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with sentences():
        rules = RoundRules(
            rounds=rounds,
            min_cohort=min_cohort,
            max_cohort=max_cohort,
            target=clients,
            gather_seconds=gather_seconds,
            round_seconds=round_seconds,
            patience_seconds=patience,
        )
        settings = RunSettings(task, scheme, key_bits, seed, rules, insecure_demo_keys, count_cap)
        places = Places(listen_at, state, out, keep_serving)
        the_task = get_task(task)
        plaintext_bits = PublicKey(scheme, key_bits).plaintext_bits
        values = len(initial_model(the_task, seed))
        encoding_for(the_task, values, plaintext_bits, max_cohort, count_cap)  # or say now why not
        test_data = the_task.load_test(test, seed, clients) if test is not None else None
        if not asyncio.run(_serve(settings, places, the_task, test_data)):
            raise KeyboardInterrupt


@app.command()
def healthy(
    server: Annotated[str, typer.Option(help="The aggregator's address, HOST:PORT.")] = DEFAULT_ADDRESS,
    key_holder: Annotated[bool, typer.Option(help="Ask whether the key holder is attending.")] = False,
) -> None:
    """Exit 0 if an aggregator answers (or its key holder attends), else 1."""
    with sentences():
        check_address(server)
        request = health_pb2.HealthCheckRequest(service=KEY_HOLDING if key_holder else "")
        with grpc.insecure_channel(server) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=3)
            except grpc.RpcError as error:
                raise GrokfedError(f"no aggregator answers at {server}") from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise GrokfedError(f"the {'key holder' if key_holder else 'aggregator'} at {server} is not ready")
        print("healthy")


async def _serve(settings: RunSettings, places: Places, task: Task, test_data: Dataset | None) -> bool:
    """Run to the end; False if a signal ended it before (an unfinished run goes on at the next start)."""
    store = Store(places.state)
    run = _begin_or_resume(store, settings, task, places.state)
    coordinator = Coordinator(run, settings, task, store, test_data)
    server: grpc.aio.Server | None = None
    _end_on_signals(asyncio.current_task())
    try:
        await coordinator.start()
        server, port = await listen(coordinator, places.listen)
        _announce(settings, places.listen, port)
        await coordinator.keep_time()
        ended = await coordinator.ended
        await _farewell(coordinator)
        await _show_results(settings, places, coordinator, tested=test_data is not None)
        await coordinator.conclude()
        if not ended.completed:
            raise RunFailedError(f"the run failed: {ended.sentence}")
        if places.keep_serving:
            print(f"the model stays available at port {port}; Ctrl-C ends this", flush=True)
            await _until_interrupted()
    except asyncio.CancelledError:
        return False
    else:
        return True
    finally:
        await asyncio.shield(_close(server, coordinator))


async def _until_interrupted() -> None:
    """Wait for Ctrl-C, which is how a server that stays is meant to be ended."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def _close(server: grpc.aio.Server | None, coordinator: Coordinator) -> None:
    if server is not None:
        await server.stop(grace=1)
    await coordinator.close()


async def _show_results(settings: RunSettings, places: Places, coordinator: Coordinator, *, tested: bool) -> None:
    if places.out is not None:
        _, raw = await coordinator.model(None)
        model = model_from_bytes(raw, len(raw) // 8)
        write_results(places.out, coordinator.results, coordinator.task, model)
    _print_table(settings, coordinator, tested)


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


def _announce(settings: RunSettings, address: str, port: int) -> None:
    host = address.rpartition(":")[0]
    print(f"listening on {host}:{port}", flush=True)
    if settings.insecure_demo_keys:
        print(INSECURE_STAMP, flush=True)
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        print(PLAINTEXT_STAMP, flush=True)


async def _farewell(coordinator: Coordinator) -> None:
    """Let everyone hear that the run is over before the connection goes away."""
    if coordinator.ended_before_start:
        await asyncio.sleep(FAREWELL_SECONDS)  # who was waiting for a restart has not come back yet
    try:
        await asyncio.wait_for(coordinator.audience.until_empty(), FAREWELL_SECONDS)
    except TimeoutError:
        log.warning("not everyone said goodbye")


def _print_table(settings: RunSettings, coordinator: Coordinator, tested: bool) -> None:
    rules = settings.rules
    console = Console(width=None if sys.stdout.isatty() else 80)
    title = f"{settings.task}: {len(coordinator.results)} of {rules.rounds} rounds, {settings.protection}"
    console.print(table(coordinator.results, title))
    if coordinator.results:
        last = coordinator.results[-1].accuracy
        own = "accuracy of the model the last round began with, on the clients' own data (there is no test data)"
        kind = "test accuracy" if tested else own
        console.print(f"{kind}: {last:.2%}")


def _end_on_signals(task: asyncio.Task[bool] | None) -> None:
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


if __name__ == "__main__":
    app()
