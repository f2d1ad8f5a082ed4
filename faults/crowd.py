"""A thousand clients at once in one round, each on its own mutual TLS connection, at a real aggregator's process.

Their ciphertexts are made beforehand, for the key that will be used; signing, committing and uploading is done live.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from core.federated import encoding_for, task_digest
from core.identity import signing
from core.protocol import AttemptId, Commitment, Signed, SubmissionHeader, digest
from core.secagg.encoding import Update
from core.secagg.roles import encryptor_for
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import AggregatorConnection, channel_options
from core.wire.messages import (
    certificate_from_bytes,
    commitment_to_bytes,
    description_from_bytes,
    signed_commitment_to_wire,
    submission_header_to_wire,
)
from core.wire.streams import pieces
from faults.live import LiveHolder, Worker, errors_of, homes_of, judge
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import ServerProcess
from faults.task import known, slot_task
from keyholder.shares import Shares
from server.rules import RoundRules

PATIENCE = 180.0
MOST_SECONDS = 60.0
MOST_MB = 1073.7
"""1 GiB."""


@dataclass
class Crowd:
    """Everyone's payload, and what all of them were told."""

    parties: Parties
    task: Task
    address: str
    payloads: dict[str, bytes]
    receipts: list[Noted]
    run: str = ""


def run(options: Options) -> Iterator[Outcome]:
    """One round with 1,000 clients; quick: with 50."""
    clients = options.count(long=1000, quick=50)
    what = f"{clients} clients at once in one round, each with its own mTLS connection"
    with timed("crowd", what) as outcome, scratch(on_disk=True) as folder, known(slot_task(clients)) as task:
        outcome.add(one_round(folder, task, clients, outcome), f"{clients} clients")
    yield outcome


def one_round(folder: Path, task: Task, clients: int, outcome: Outcome) -> list[str]:
    """What went wrong in one round with so many."""
    parties = Parties(folder, clients=clients, light=True)
    rules = RoundRules(
        rounds=1, min_cohort=clients, max_cohort=clients, target=clients, patience_seconds=PATIENCE,
        round_seconds=PATIENCE, upload_seconds=PATIENCE, answer_seconds=PATIENCE,
    )  # fmt: skip
    homes = homes_of(parties, folder, 1)
    server = ServerProcess(parties, folder / "server", clients, rules)
    server.start()
    crowd = Crowd(parties, task, f"127.0.0.1:{server.port}", payloads_of(parties, homes, task, clients), [])
    holders: list[Worker] = [
        LiveHolder(parties, name, home, lambda name: AggregatorConnection(crowd.address, PATIENCE, parties[name]))
        for name, home in homes.items()
    ]
    for holder in holders:
        holder.start()
    started = time.perf_counter()
    found = asyncio.run(everyone(crowd))
    seconds = time.perf_counter() - started
    memory = server.peak_mb()
    found += errors_of(holders, PATIENCE)
    found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
    outcome.measured = (
        f"{seconds:.1f} s from the first connection to the end of the run; server at most {memory:.0f} MB"
    )
    found += [] if seconds <= MOST_SECONDS else [f"it took {seconds:.1f} s"]
    found += [] if memory <= MOST_MB else [f"the server took {memory:.0f} MB"]
    return found + judge(parties, folder / "server", homes, rules, crowd.receipts)


def payloads_of(parties: Parties, homes: dict[str, Path], task: Task, clients: int) -> dict[str, bytes]:
    """Everyone's ciphertexts under the only key there is: client i adds 1 to weight i - 1."""
    holder = parties.holders[0]
    (dealt,) = Shares(parties.holder_in(homes[holder], holder)).dealt()
    key = certificate_from_bytes(dealt.signed.body).key
    encoding = encoding_for(task, clients, key.plaintext_bits, clients)
    payloads = {}
    with closing(encryptor_for(key, encoding.plaintexts * clients)) as encryptor:
        for name, number in parties.numbers().items():
            delta = np.zeros(clients)
            delta[number - 1] = 1.0
            payloads[name] = encryptor.encrypt(encoding.encode(Update(delta, examples=1, loss=1.0, correct=1)))
    return payloads


async def everyone(crowd: Crowd) -> list[str]:
    """Let all clients take part at once, and give what went wrong with any."""
    ends = await asyncio.gather(*(take_part(crowd, name) for name in crowd.payloads), return_exceptions=True)
    return [f"{name}: {end!r:.200}" for name, end in zip(crowd.payloads, ends, strict=True) if end is not None]


async def take_part(crowd: Crowd, name: str) -> None:
    """One client from its connection to the end of the run."""
    keys, server = crowd.parties.cards[name], crowd.parties["server"]
    secure = grpc.ssl_channel_credentials(server.authority_pem, keys.tls_key_pem, keys.certificate_pem)
    options = (*channel_options(server), ("grpc.use_local_subchannel_pool", 1))
    async with grpc.aio.secure_channel(crowd.address, secure, options=options) as channel:
        stub = rpc.FederationStub(channel)
        async for notice in stub.Join(join_request(crowd.task), timeout=PATIENCE, wait_for_ready=True):
            match notice.WhichOneof("notice"):
                case "welcome":
                    crowd.run = notice.welcome.run
                case "round_opened":
                    await commit(crowd, stub, name, notice.round_opened)
                case "list_closed":
                    await upload(crowd, stub, name, notice.list_closed)
                case "run_ended":
                    if not notice.run_ended.completed:
                        raise AssertionError(notice.run_ended.sentence)
                    return
    raise AssertionError("the stream ended before the run")


def join_request(task: Task) -> pb.JoinRequest:
    """What a new process of a client asks first."""
    return pb.JoinRequest(task=task.name, task_digest=task_digest(task), instance=secrets.token_bytes(16))


async def commit(crowd: Crowd, stub: rpc.FederationAsyncStub, name: str, opened: pb.RoundOpened) -> None:
    """Answer a round that was opened with a commitment, after fetching its model."""
    id = description_from_bytes(opened.round.description).id
    async for _ in stub.FetchModel(pb.ModelRequest(round=0), timeout=PATIENCE):
        pass
    payload_digest = digest(crowd.payloads[name])
    commitment = Commitment(id, name, secrets.token_bytes(16), digest(opened.round.description), payload_digest)
    body = commitment_to_bytes(commitment)
    signed = Signed(body, crowd.parties.cards[name].signing.sign(signing.COMMITMENT, body))
    request = pb.CommitRequest(commitment=signed_commitment_to_wire(signed))
    receipt = await stub.Commit(request, timeout=PATIENCE)
    crowd.receipts.append(Noted(name, id.round, id.attempt, "commit", receipt.sha256))


async def upload(crowd: Crowd, stub: rpc.FederationAsyncStub, name: str, closed: pb.ListClosed) -> None:
    """Send what was committed to."""
    payload = crowd.payloads[name]
    id = AttemptId(crowd.run, closed.round, closed.attempt)
    header = pb.SubmitRequest(header=submission_header_to_wire(SubmissionHeader(id, len(payload), digest(payload))))
    requests = [header, *(pb.SubmitRequest(data=piece) for piece in pieces(payload))]
    receipt = await stub.Submit(iter(requests), timeout=PATIENCE)
    crowd.receipts.append(Noted(name, closed.round, closed.attempt, "submit", receipt.sha256))
