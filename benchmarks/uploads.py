"""Send many updates to one aggregator at once, and see how much memory it takes: `python -m benchmarks.uploads`."""

from __future__ import annotations

import argparse
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from core.federated import initial_model, task_digest
from core.identity import signing
from core.identity.party import load_identity
from core.protocol import Commitment, RoundDescription, Signed, SubmissionHeader, digest
from core.secagg.encoding import Update
from core.secagg.roles import encryptor_for
from core.secagg.scheme import SAFE_KEY_BITS
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import Line
from core.wire.messages import (
    SUBMISSION_BYTES,
    commitment_to_bytes,
    description_from_bytes,
    round_from_wire,
    signed_commitment_to_wire,
    submission_header_to_wire,
)
from core.wire.streams import pieces
from registrar.federation import make_federation

TASK = get_task("analogies")  # the largest there is
PATIENCE = 600.0
"""Seconds that anything may take."""


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

    def __init__(self, address: str, folder: Path) -> None:
        self.identity = load_identity(folder)
        self.line = Line(address, PATIENCE, self.identity)
        self.stub = rpc.FederationStub(self.line.channel)
        self.request = pb.JoinRequest(task=TASK.name, task_digest=task_digest(TASK), instance=secrets.token_bytes(16))
        self.notices: Iterator[pb.Notice] = iter(())

    def join(self) -> None:
        self.notices = self.stub.Join(self.request)
        assert next(self.notices).HasField("welcome")

    def commit(self) -> tuple[SubmissionHeader, bytes]:
        """Encrypt a random update for the round that is opened, and commit to it."""
        signed = round_from_wire(next(self.notices).round_opened.round)
        description: RoundDescription = description_from_bytes(signed.body)
        encoding = description.encoding
        delta = np.random.default_rng(self.identity.number).normal(0, 0.01, encoding.values)
        payload = encryptor_for(description.key, encoding.plaintexts).encrypt(encoding.encode(Update(delta, 1, 0.5, 1)))
        header = SubmissionHeader(description.id, len(payload), digest(payload))
        commitment = Commitment(
            id=description.id,
            client=self.identity.name,
            submission=secrets.token_bytes(SUBMISSION_BYTES),
            description_digest=digest(signed.body),
            digest=header.digest,
        )
        body = commitment_to_bytes(commitment)
        made = Signed(body, self.identity.signing.sign(signing.COMMITMENT, body))
        request = pb.CommitRequest(commitment=signed_commitment_to_wire(made))
        self.line.call(lambda: self.stub.Commit(request, timeout=PATIENCE))
        return header, payload

    def send(self, header: SubmissionHeader, payload: bytes, together: threading.Barrier) -> None:
        def requests() -> Iterator[pb.SubmitRequest]:
            yield pb.SubmitRequest(header=submission_header_to_wire(header))
            for piece in pieces(payload):
                yield pb.SubmitRequest(data=piece)

        together.wait()
        self.line.call(lambda: self.stub.Submit(requests(), timeout=PATIENCE))

    def wait_for(self, kind: str) -> None:
        """Read notices until one of this kind has come."""
        while next(self.notices).WhichOneof("notice") != kind:
            pass


def take(clients: int, bits: int = 2048) -> Taken:
    """Run one round with so many clients and one key holder."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        federation = make_federation(
            Path(folder, "federation"), clients=clients, holders=1, threshold=1, now=datetime.now(UTC)
        )
        insecure = ["--insecure-demo-keys"] * (bits < SAFE_KEY_BITS)
        options = ["--key-bits", str(bits), *insecure]
        server, address = _server(folder, federation.party("server"), clients, options, stack)
        holder = ["--identity", str(federation.party("keyholder-1")), "--state", f"{folder}/keyholder"]
        _start(stack, "keyholder", "--server", address, *holder, *insecure)
        senders = [Sender(address, federation.party(f"client-{number}")) for number in range(1, clients + 1)]
        for sender in senders:
            stack.callback(sender.line.channel.close)
            sender.join()
        updates = [sender.commit() for sender in senders]
        senders[0].wait_for("list_closed")
        before = _peak(server.pid)
        started = time.monotonic()
        together = threading.Barrier(clients)
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda sender, update: sender.send(*update, together), senders, updates))
        uploaded = time.monotonic()
        senders[0].wait_for("round_closed")
        finished = time.monotonic()
        return Taken(clients, len(updates[0][1]), uploaded - started, finished - started, before, _peak(server.pid))


def _server(
    folder: str, identity: Path, clients: int, options: Sequence[str], stack: ExitStack
) -> tuple[subprocess.Popen[str], str]:
    run = ["--task", TASK.name, "--clients", str(clients), "--rounds", "1", "--max-cohort", str(clients)]
    seconds = ["--round-seconds", str(PATIENCE), "--upload-seconds", str(PATIENCE)]
    places = ["--identity", str(identity), "--listen", "127.0.0.1:0", "--state", f"{folder}/server"]
    options = [*run, *seconds, *places, "--out", f"{folder}/out", *options]
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
