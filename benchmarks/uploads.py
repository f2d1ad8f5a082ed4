"""Send many updates to one aggregator at once, and see how much memory it takes: `python -m benchmarks.uploads`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import os
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.federated import initial_model
from core.identity.party import load_identity
from core.policy import Policy
from core.secagg.scheme import PAILLIER, SAFE_KEY_BITS
from core.settings.setting import arguments_of
from core.tasks import get_task
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.calls import Conversation, converse
from core.wire.dialing import AggregatorConnection
from keyholder.settings import HolderSettings
from registrar.federation import make_federation
from server.rules import RoundRules
from server.settings import Places, RunSettings
from simulation.program import Program
from simulation.registered import deal_keys

TASK = get_task("analogies")  # the largest there is
PATIENCE = 600.0
"""Seconds that anything may take."""


@dataclass(frozen=True)
class Taken:
    """Measurements of one round."""

    clients: int
    update_bytes: int
    upload_seconds: float
    round_seconds: float
    before_bytes: int
    peak_bytes: int


class Sender:
    """The product's client, which uploads at the same time as all others."""

    def __init__(self, address: str, folder: Path) -> None:
        identity = load_identity(folder)
        policy = Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True)
        self.participant = Participant(identity, TASK, policy, _few_examples, SYSTEM_CLOCK)
        self.session = ClientSession(self.participant)
        self.connection = AggregatorConnection(address, PATIENCE, identity)
        self._notices = self.connection.subscribe(self.session.subscription())

    def answer(self, kind: str) -> None:
        """Read notices until one of this kind has come, and answer it."""
        converse(self.session.answer(self.wait_for(kind)), self.connection.carry)

    def wait_for(self, kind: str) -> pb.Notice:
        """Read notices until one of this kind has come."""
        found: pb.Notice = next(notice for notice in self._notices if notice.WhichOneof("notice") == kind)
        return found

    def upload(self, together: threading.Barrier) -> None:
        """Upload at the same time as all others."""
        conversation = Conversation(self.session.answer(self.wait_for("list_closed")))
        together.wait()
        assert conversation.asking is not None
        conversation.reply(self.connection.carry(conversation.asking))


def _few_examples(seed: int, number: int) -> Dataset:
    return TASK.prepare(TASK.generate(seed, number)[:20])


def take(clients: int, bits: int = 2048) -> Taken:
    """Run one round with one key holder, and return its measurements."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        federation = make_federation(
            Path(folder, "federation"), clients=clients, holders=1, threshold=1, now=datetime.now(UTC)
        )
        deal_keys(federation.folder, 1, PAILLIER, bits)
        insecure = bits < SAFE_KEY_BITS
        server, address = _server(Path(folder), federation.party("server"), clients, bits, stack)
        holder = HolderSettings(
            identity=federation.party("keyholder-1"), state=Path(folder, "keyholder"), server=address
        )
        arguments = arguments_of(holder, Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=insecure))
        stack.callback(Program("keyholder", *arguments, log=Path(os.devnull)).close)
        senders = [Sender(address, federation.party(f"client-{number}")) for number in range(1, clients + 1)]
        for sender in senders:
            stack.callback(sender.connection.channel.close)
            sender.answer("welcome")
        for sender in senders:
            sender.answer("round_opened")
        before = _peak(server.process.pid)
        started = time.monotonic()
        together = threading.Barrier(clients)
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda sender: sender.upload(together), senders))
        uploaded = time.monotonic()
        senders[0].wait_for("round_closed")
        finished = time.monotonic()
        submission = senders[0].participant.last
        assert submission is not None
        return Taken(
            clients, submission.header.length, uploaded - started, finished - started, before, _peak(server.process.pid)
        )


def _server(folder: Path, identity: Path, clients: int, bits: int, stack: ExitStack) -> tuple[Program, str]:
    places = Places(identity=identity, listen="127.0.0.1:0", state=folder / "server", out=folder / "out")
    rules = RoundRules(
        holders=3,
        threshold=2,
        rounds=1,
        target=clients,
        min_cohort=clients,
        max_cohort=clients,
        round_seconds=PATIENCE,
        upload_seconds=PATIENCE,
    )
    run = RunSettings(TASK.name, key_bits=bits, rules=rules, insecure_demo_keys=bits < SAFE_KEY_BITS)
    server = Program("server", *arguments_of(places, run), log=Path(os.devnull))
    stack.callback(server.close)
    return server, server.hear(r"listening on (\S+)")[1]


def _peak(process: int) -> int:
    """Return the most memory a process has held so far, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc", str(process), "status").read_text())
    assert found
    return int(found[1]) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uploads", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100], help="numbers of clients to try")
    options = parser.parse_args(arguments)
    console = Console(width=120, highlight=False)
    table = Table(
        "clients", "weights", "MB each", "all uploaded, s", "round done, s", "MB before", "MB at most", box=None
    )
    for clients in options.clients:
        with console.status(f"{clients} clients ..."):
            taken = take(clients)
        mega = [f"{size / 1e6:.1f}" for size in (taken.update_bytes, taken.before_bytes, taken.peak_bytes)]
        seconds = [f"{taken.upload_seconds:.1f}", f"{taken.round_seconds:.1f}"]
        table.add_row(str(clients), f"{len(initial_model(TASK, 0)):,}", mega[0], *seconds, *mega[1:])
    console.print(table)


if __name__ == "__main__":
    main()
