"""Malformed messages at every handler of the service, in the middle of a round: refused, and the round continues."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from core.tasks.task import Task
from core.wire.dialing import PARTY_KEY
from faults.corpus import STREAMS_IN, GoodCall, good_calls
from faults.mutation import mutated
from faults.parties import Parties
from faults.trials import run_world
from faults.world import World
from server.answering import Gate
from server.call_limits import CallLimits
from server.connections import Connections
from server.rules import RoundRules
from server.service import services_for

CLIENTS = 3
RULES = RoundRules(
    holders=3, threshold=2, rounds=2, min_cohort=2, max_cohort=8, target=CLIENTS, gather_seconds=5, max_attempts=5
)
FORBIDDEN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
A_LOT = 200
"""Steps of a world after which every phase was passed."""


class HandContext:
    """What a handler sees of a call and can do with it, without a connection."""

    def __init__(self, caller: str) -> None:
        self.code = grpc.StatusCode.OK
        self.details = ""
        self._caller = caller

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ((PARTY_KEY, self._caller),)

    def peer(self) -> str:
        return "by hand"

    def set_trailing_metadata(self, _metadata: object) -> None:
        """Ignore it."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.code, self.details = code, details
        raise grpc.aio.AbortError


def fuzz_a_run(
    parties: Parties, folder: Path, task: Task, seed: int, count: int, codes: Counter[str]
) -> tuple[list[str], int]:
    """Make malformed calls in the middle of a run, let it end, and judge it; return how many calls there were."""
    rng = random.Random(seed)  # noqa: S311
    made = 0

    async def story(world: World) -> list[str]:
        nonlocal made
        await world.play(until=_after(rng.randrange(A_LOT)))
        found = []
        handlers = _handlers(world)
        calls = good_calls(world)
        for _ in range(count):
            call = rng.choice(calls)
            messages = [mutated(message, rng) for message in call.messages]
            if any(message is None for message in messages):
                continue
            made += 1
            caller = call.caller if rng.random() < 0.95 else rng.choice(("", "client/x", "server/server", "a/b/c"))
            code, details = await _call(handlers, GoodCall(call.name, caller, tuple(filter(None, messages))))
            codes[code.name] += 1
            if code in FORBIDDEN:
                found.append(f"{call.name} ended as {code.name} {details}: {str(messages)[:500]}")
        await world.play()
        return found + await world.end()

    return run_world(lambda: World(parties, folder, task, RULES, seed=seed, scheme="paillier"), story), made


def _after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps))
    return lambda: next(left, None) is None


def _handlers(world: World) -> dict[str, Callable[..., Any]]:
    services = services_for(
        world.aggregator.run,
        Gate(CallLimits(time.monotonic, rates={}), Connections(time.monotonic), plaintext=True),
    )
    each_service = (services.federation, services.key_holding, services.membership, services.observation)
    return {name: getattr(each, name) for each in each_service for name in dir(type(each)) if name[0].isupper()}


async def _call(handlers: dict[str, Callable[..., Any]], call: GoodCall) -> tuple[grpc.StatusCode, str]:
    """Make one call by hand, and return how it ended; of a stream only the first message is read."""
    context = HandContext(call.caller)
    request = _stream(call.messages) if call.name in STREAMS_IN else call.messages[0]
    try:
        answer = handlers[call.name](request, context)
        if hasattr(answer, "__aiter__"):
            async for _ in answer:
                break
            await answer.aclose()
        else:
            await answer
    except grpc.aio.AbortError:
        pass
    return context.code, context.details


async def _stream(messages: tuple[Message, ...]) -> AsyncIterator[Message]:
    for message in messages:
        yield message
