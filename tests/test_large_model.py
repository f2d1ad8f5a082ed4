"""A model of four million weights passes in both directions, with gRPC's message limits left as they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from templates import Shape, deal

from client import connection as client_connection
from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.identity.party import load_identity
from core.losses import mse
from core.nn import Module, Parameter
from core.optim import SGD
from core.policy import Policy
from core.tasks import TASKS
from core.tasks.task import LocalTraining, Reading, Task
from core.tensor import Tensor
from core.wire.dialing import AggregatorConnection
from keyholder import connection as holder_connection
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession
from registrar.federation import make_federation
from server.rules import RoundRules
from server.run import ActiveRun
from server.service import listen
from server.settings import RunSettings
from server.store import Store

WEIGHTS = 4_000_000
RUN = "0123456789abcdef"


class Large(Module):
    """Four million weights whose mean is to become one; the gradient of each is -2 / WEIGHTS at the start."""

    def __init__(self) -> None:
        self.weights = Parameter(np.zeros(WEIGHTS))

    def forward(self, inputs: np.ndarray) -> Tensor:
        return self.weights.mean() * Tensor(np.ones(len(inputs)))


class Targets:
    """One example."""

    def __len__(self) -> int:
        return 1

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(rows)), np.ones(len(rows))


TASK = Task(
    name="large",
    build=lambda rng: Large(),
    loss=mse,
    correct=lambda outputs, targets: 0,
    read=lambda path: Reading([]),
    generate=lambda seed, number: [],
    generate_test=lambda seed, clients: [],
    prepare=lambda examples: Targets(),
    local=LocalTraining(learning_rate=WEIGHTS / 8, optimiser=SGD),  # one step of 0.25
    clip=4.0,
)


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    """Two clients and one key holder, with keys for two attempts."""
    folder = tmp_path / "federation"
    make_federation(folder, clients=2, holders=1, threshold=1, now=datetime.now(UTC))
    deal(folder, Shape(clients=2, holders=1, threshold=1, scheme="plain", bits=2048, keys=2))
    return folder


@pytest.fixture
def address(tmp_path: Path, federation: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An aggregator in a thread of this process."""
    monkeypatch.setitem(TASKS, TASK.name, TASK)  # for the key holder, who looks it up
    ready: Future[tuple[asyncio.AbstractEventLoop, str]] = Future()

    async def serve() -> None:
        rules = RoundRules(rounds=1, target=2, min_cohort=2, holders=1, threshold=1)
        settings = RunSettings(TASK.name, "plain", 2048, 0, rules)
        store = Store(tmp_path / "server")
        store.begin_run(RUN, settings.to_json(), np.zeros(WEIGHTS))
        coordinator = ActiveRun(RUN, settings, TASK, store, load_identity(federation / "server"))
        await coordinator.start()
        server, port = await listen(coordinator, "127.0.0.1:0")
        ready.set_result((asyncio.get_running_loop(), f"127.0.0.1:{port}"))
        await coordinator.keep_time()
        await coordinator.audience.until_empty()
        await server.stop(grace=1)
        await coordinator.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    yield ready.result(timeout=30)[1]
    thread.join(timeout=60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_four_million_weights_go_up_and_down(address: str, federation: Path, tmp_path: Path) -> None:
    models: list[np.ndarray] = []
    policy = Policy(min_cohort=2, max_colluders=0, allow_plain=True)

    def run_client(number: int) -> None:
        identity = load_identity(federation / f"client-{number}")
        with AggregatorConnection(address, 20, identity) as connection:
            participant = Participant(identity, TASK, policy, lambda seed, number: Targets(), SYSTEM_CLOCK)
            session = ClientSession(participant, keep_model=True)
            client_connection.run_session(connection, session)
            models.append(session.model)

    def hold() -> None:
        identity = load_identity(federation / "keyholder-1")
        ledger = Ledger(tmp_path / "holder")
        with AggregatorConnection(address, 20, identity) as connection:
            holder = KeyHolder(identity, policy, ledger, DifferenceRule.ENFORCE, SYSTEM_CLOCK)
            holder_connection.run_session(connection, HolderSession(holder))
        ledger.close()

    threads = [threading.Thread(target=run_client, args=(number,)) for number in (1, 2)]
    threads.append(threading.Thread(target=hold))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(models) == 2
    assert (models[0] == 0.25).all()
    assert (models[1] == 0.25).all()
