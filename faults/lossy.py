"""Three of ten requests and three of ten answers are lost, on every call and every stream; the rounds are exact.

A lost request never reaches the aggregator. A lost answer does: everything was done, and the caller hears nothing. Both
look alike to it: UNAVAILABLE. Of a stream, every message can be the last. The pauses before repeating are
left out, and with them the aggregator's limit on calls a second, so that nothing but the repeating itself is tried.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import tenacity

from core.identity.party import PartyIdentity
from core.tasks.task import Task
from core.wire.dialing import AggregatorConnection, methods_of
from faults.live import LiveServer, errors_of, homes_of, judge, start_workers
from faults.oracle import Noted
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from server.call_limits import CallLimits
from server.rules import RoundRules
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS = 4, 100
LOST = 0.3
PATIENCE = 300.0


class LostError(grpc.RpcError):
    """What a caller sees of a call that was lost."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "lost on the way"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class LossyNetwork(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor
):
    """Loses requests and answers with the probability `lost` each, and counts what it lost."""

    def __init__(self, lost: float, seed: str) -> None:
        self.requests = self.answers = self.calls = 0
        self._lost = lost
        self._rng = random.Random(seed)  # noqa: S311

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return self._one_answer(continuation, client_call_details, request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return self._one_answer(continuation, client_call_details, request_iterator)

    def _one_answer(self, continuation: Any, details: Any, request: Any) -> Any:
        self._perhaps_lose_request()
        call = continuation(details, request)
        call.exception()  # wait until it is over, whatever came of it
        if self._rng.random() < self._lost:
            self.answers += 1
            raise LostError
        return call

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self._perhaps_lose_request()
        return self._breaking(continuation(client_call_details, request))

    def _breaking(self, call: Any) -> Iterator[Any]:
        """Yield the messages of a stream until it breaks: as one comes, which is then lost, or while none does."""
        for message in call:
            if self._rng.random() < self._lost:
                break
            yield message
            if self._rng.random() < self._lost:
                break
        else:
            return
        self.answers += 1
        call.cancel()
        raise LostError

    def _perhaps_lose_request(self) -> None:
        self.calls += 1
        if self._rng.random() < self._lost:
            self.requests += 1
            raise LostError


class LossyConnection(AggregatorConnection):
    """The product's connection over a lossy network."""

    def __init__(self, address: str, identity: PartyIdentity, network: LossyNetwork) -> None:
        super().__init__(address, PATIENCE, identity)
        self.channel = grpc.intercept_channel(self.channel, network)
        self._methods = methods_of(self.channel)


def run(options: Options) -> Iterator[Outcome]:
    """Ten runs of a hundred rounds; quick: one of twenty."""
    rounds = options.count(long=ROUNDS, quick=20)
    what = f"{LOST:.0%} of requests and {LOST:.0%} of answers lost on every call, over gRPC; a trial is a round"
    with timed("lossy", what) as outcome:
        for seed in range(options.seed, options.seed + options.count(long=10, quick=1)):
            with scratch() as folder, known(slot_task(CLIENTS)) as task:
                found, lost = one_run(folder, task, rounds, seed)
            outcome.trials += rounds
            outcome.violations += [f"seed {seed}: {sentence}" for sentence in found]
            outcome.measured = lost
    yield outcome


def one_run(folder: Path, task: Task, rounds: int, seed: int) -> tuple[list[str], str]:
    """Play `rounds` rounds; return what went wrong, and how much was lost, in words."""
    rules = RoundRules(
        holders=3,
        threshold=2,
        rounds=rounds,
        min_cohort=CLIENTS,
        max_cohort=8,
        target=CLIENTS,
        patience_seconds=PATIENCE,
    )
    parties = Parties(folder, clients=CLIENTS)
    homes = homes_of(parties, folder, rounds + 5, "plain")
    networks: list[LossyNetwork] = []
    receipts: list[Noted] = []
    server = LiveServer(parties, folder / "server", task, rules)
    server.stay = threading.Event()
    server.limits = CallLimits(time.monotonic, rates={})
    address = server.begin()

    def dial(name: str) -> AggregatorConnection:
        networks.append(LossyNetwork(LOST, f"{name}.{seed}"))
        return LossyConnection(address, parties[name], networks[-1])

    with patch.object(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none()):
        workers = start_workers(parties, homes, task, dial, receipts)
        found = errors_of(workers, PATIENCE)
        server.stay.set()
        found += errors_of([server], PATIENCE)
    calls, requests, answers = (sum(getattr(n, what) for n in networks) for what in ("calls", "requests", "answers"))
    if not requests or not answers:
        found.append("nothing was lost")
    lost = f"of {calls} calls, {requests} requests and {answers} answers were lost in the last run"
    return found + judge(parties, folder / "server", homes, rules, receipts), lost
