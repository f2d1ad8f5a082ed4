"""The same federation over real gRPC and mutual TLS on loopback: clients and key holders as threads of this process.

They are the product's own connections, with all their repeating; only what they were given is noted down. The
aggregator is a thread here, or a separate process that can be killed (`faults/child.py`).
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from client.connection import run_session as run_client
from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.errors import GrokfedError
from core.federated import initial_model
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Call
from core.wire.dialing import AggregatorConnection
from faults.oracle import Evidence, Noted, violations
from faults.parties import POLICY, Parties
from keyholder.connection import run_session as hold
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession
from server.call_limits import CallLimits
from server.records import FILE
from server.rules import RoundRules
from server.run import ActiveRun
from server.service import listen
from server.settings import RunSettings
from server.store import Store

RUN = "0123456789abcdef"
GOODBYE_SECONDS = 10.0
Dial = Callable[[str], AggregatorConnection]
"""Opens a party's connection to the aggregator, given the party's name."""


class Worker(threading.Thread):
    """A party in a thread; `error` is how it ended if not well."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self.error = error

    def work(self) -> None:
        raise NotImplementedError


class _Noting:
    """A connection, which also writes down every receipt that a client is given."""

    def __init__(self, connection: AggregatorConnection, participant: Participant, notes: list[Noted]) -> None:
        self._connection, self._participant, self._notes = connection, participant, notes
        self.address = connection.address
        self.subscribe = connection.subscribe

    def carry(self, call: Call) -> Any:
        reply, submission = self._connection.carry(call), self._participant.last
        if isinstance(reply, pb.Receipt) and submission is not None:
            id = submission.header.id
            self._notes.append(Noted(self._participant.name, id.round, id.attempt, call.method.lower(), reply.sha256))
        return reply


class LiveClient(Worker):
    """A data owner."""

    def __init__(self, parties: Parties, name: str, task: Task, dial: Dial, notes: list[Noted]) -> None:
        super().__init__(name)
        self._dial, self._notes = dial, notes
        load: Callable[[int, int], Any] = lambda seed, number: task.prepare(task.generate(seed, number))  # noqa: E731
        self._participant = Participant(parties[name], task, POLICY, load, SYSTEM_CLOCK)

    def work(self) -> None:
        with self._dial(self.name) as connection:
            noting: Any = _Noting(connection, self._participant, self._notes)
            run_client(noting, ClientSession(self._participant))


class LiveHolder(Worker):
    """A key holder, with ledger and shares in `folder`."""

    def __init__(self, parties: Parties, name: str, folder: Path, dial: Dial) -> None:
        super().__init__(name)
        self._identity, self._dial, self._state = parties.holder_in(folder, name), dial, folder / "state"

    def work(self) -> None:
        ledger = Ledger(self._state)
        try:
            holder = KeyHolder(self._identity, POLICY, ledger, DifferenceRule.REPORT, SYSTEM_CLOCK)
            with self._dial(self.name) as connection:
                hold(connection, HolderSession(holder))
        finally:
            ledger.close()


class LiveServer(Worker):
    """The aggregator in a thread with its own event loop; its address is known when it has started."""

    def __init__(self, parties: Parties, folder: Path, task: Task, rules: RoundRules, scheme: str = "plain") -> None:
        super().__init__("server")
        self._identity, self._folder, self._task = parties["server"], folder, task
        self._settings = RunSettings(task.name, scheme, 256, 0, rules, insecure_demo_keys=True, insecure_unbounded=True)
        self._ready = threading.Event()
        self.stay: threading.Event | None = None
        """If given, the server announces the end of the run until it is set, for parties that lost their stream."""
        self.limits: CallLimits | None = None
        """What one member may ask for; the usual limits if None."""
        self._port = 0

    def begin(self) -> str:
        """Start, and return the address."""
        self.start()
        self._ready.wait(30)
        if not self._port:
            raise self.error or AssertionError("the server did not start")
        return f"127.0.0.1:{self._port}"

    def work(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        store = Store(self._folder)
        if store.unfinished_run() is None:
            store.begin_run(RUN, self._settings.to_json(), initial_model(self._task, 0))
        coordinator = ActiveRun(RUN, self._settings, self._task, store, self._identity)
        await coordinator.start()
        server, self._port = await listen(coordinator, "127.0.0.1:0", limits=self.limits)
        self._ready.set()
        await coordinator.keep_time()
        with suppress(TimeoutError):
            await asyncio.wait_for(coordinator.audience.until_empty(), GOODBYE_SECONDS)
        if self.stay is not None:
            await asyncio.to_thread(self.stay.wait)
        await coordinator.conclude()
        await server.stop(grace=0.2)
        await coordinator.close()


def homes_of(parties: Parties, folder: Path, keys: int, scheme: str = "paillier") -> dict[str, Path]:
    """Make a folder for each key holder, with its shares of `keys` keys, and return them by name."""
    homes = {name: folder / name for name in parties.holders}
    for name, home in homes.items():
        shutil.copytree(parties.dealt(keys, scheme) / name, home)
    return homes


def start_workers(
    parties: Parties,
    homes: dict[str, Path],
    task: Task,
    dial: Dial,
    receipts: list[Noted],
    clients: Iterable[str] | None = None,
) -> list[Worker]:
    """Start all key holders and these clients (or all) in threads, each with its own connection."""
    workers: list[Worker] = [LiveHolder(parties, name, home, dial) for name, home in homes.items()]
    workers += [LiveClient(parties, name, task, dial, receipts) for name in clients or parties.clients]
    for worker in workers:
        worker.start()
    return workers


def judge(
    parties: Parties, server: Path, folders: dict[str, Path], rules: RoundRules, receipts: list[Noted]
) -> list[str]:
    """Return what is wrong with a run that was played live; holders' folders by name."""
    ledgers = [folder / "state" / "keyholder.sqlite" for folder in folders.values()]
    numbers = parties.numbers()
    return violations(Evidence(server / FILE, ledgers, numbers, rules.threshold, rules.min_cohort, receipts))


def errors_of(workers: list[Worker], patience: float) -> list[str]:
    """Wait for all to end, and return what went wrong with them."""
    found = []
    for worker in workers:
        worker.join(patience)
        if worker.is_alive():
            found.append(f"{worker.name} has not ended after {patience:g} seconds")
        elif isinstance(worker.error, GrokfedError | grpc.RpcError):
            found.append(f"{worker.name}: {worker.error}")
        elif worker.error is not None:
            found.append(f"{worker.name}: {worker.error!r}")
    return found
