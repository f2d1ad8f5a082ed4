"""Send many updates to one aggregator at once, and see how much memory it takes: `python -m benchmarks.uploads`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from core.federated import initial_model, task_digest
from core.protocol import RoundDescription, SubmissionHeader, digest
from core.secagg.encoding import Update
from core.secagg.roles import encryptor_for
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import Line
from core.wire.messages import description_from_bytes, submission_header_to_wire
from core.wire.streams import pieces

TASK = get_task("analogies")  # the largest there is


@dataclass(frozen=True)
class Taken:
    """What one round of so many clients came to."""

    clients: int
    update_bytes: int
    upload_seconds: float
    round_seconds: float
    before_bytes: int
    peak_bytes: int


class Sender:
    """A client that sends a made-up update, all of them at the same time."""

    def __init__(self, address: str, number: int) -> None:
        self.line = Line(address, patience=600)
        self.stub = rpc.FederationStub(self.line.channel)
        self.name = f"client-{number}"
        self.request = pb.JoinRequest(
            client=self.name, task=TASK.name, task_digest=task_digest(TASK), number=number, instance=b"x" * 16
        )
        self.notices: Iterator[pb.Notice] = iter(())

    def join(self) -> None:
        self.notices = self.stub.Join(self.request)
        assert next(self.notices).HasField("welcome")

    def encrypt(self) -> tuple[SubmissionHeader, bytes]:
        raw = next(self.notices).round_opened.description
        description: RoundDescription = description_from_bytes(raw)
        encoding = description.encoding
        delta = np.random.default_rng(abs(hash(self.name))).normal(0, 0.01, encoding.values)
        payload = encryptor_for(description.key, encoding.plaintexts).encrypt(encoding.encode(Update(delta, 1, 0.5, 1)))
        header = SubmissionHeader(description.id, self.name, digest(raw), len(payload), digest(payload), 0.0, 0.0)
        return header, payload

    def send(self, header: SubmissionHeader, payload: bytes, together: threading.Barrier) -> None:
        def requests() -> Iterator[pb.SubmitRequest]:
            yield pb.SubmitRequest(header=submission_header_to_wire(header))
            for piece in pieces(payload):
                yield pb.SubmitRequest(data=piece)

        together.wait()
        self.line.call(lambda: self.stub.Submit(requests(), timeout=600))


def take(clients: int) -> Taken:
    """Run one round with so many clients."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server, address = _server(folder, clients, stack)
        _start(stack, "keyholder", "--server", address, "--state", f"{folder}/keyholder")
        senders = [Sender(address, number) for number in range(1, clients + 1)]
        for sender in senders:
            stack.callback(sender.line.channel.close)
            sender.join()
        updates = [sender.encrypt() for sender in senders]
        before = _peak(server.pid)
        started = time.monotonic()
        together = threading.Barrier(clients)
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda sender, update: sender.send(*update, together), senders, updates))
        uploaded = time.monotonic()
        while not next(senders[0].notices).HasField("round_closed"):
            pass
        finished = time.monotonic()
        return Taken(clients, len(updates[0][1]), uploaded - started, finished - started, before, _peak(server.pid))


def _server(folder: str, clients: int, stack: ExitStack) -> tuple[subprocess.Popen[str], str]:
    options = [
        "--task",
        TASK.name,
        "--clients",
        str(clients),
        "--rounds",
        "1",
        "--max-cohort",
        str(clients),
        "--round-seconds",
        "600",
    ]
    options += ["--listen", "127.0.0.1:0", "--state", f"{folder}/server", "--out", f"{folder}/out"]
    server = _start(stack, "server", *options)
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        said.append(line)
        if found := re.search(r"listening on (\S+)", line):
            threading.Thread(target=server.stdout.read, daemon=True).start()
            return server, found[1]
    raise RuntimeError(f"the aggregator did not start: {''.join(said)}")


def _start(stack: ExitStack, *arguments: str) -> subprocess.Popen[str]:
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    )
    stack.callback(process.kill)
    return process


def _peak(process: int) -> int:
    """The most memory a process has held so far, in bytes."""
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
