"""Callers that hang up and disks that are full: the run's rules, store and streams stay of one mind."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from in_process import RULES, SpamFederation, Start

from core.errors import StorageError
from server import states
from server.store import Store


def full(*_: object) -> None:
    raise StorageError("the disk is full")


# ------------------------------------------------------------------------------------------------ hanging up


class Gate:
    """Holds the first call of a function of the store up, in the worker thread, until the test lets it go on."""

    def __init__(self, store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.calls, self._open = False, 0, threading.Event()
        function = getattr(store, name)

        def held(*arguments: Any, **named: Any) -> Any:
            self.reached = True
            assert self._open.wait(20)
            self.calls += 1
            return function(*arguments, **named)

        monkeypatch.setattr(store, name, held)

    def open(self) -> None:
        self._open.set()


async def move_until(federation: SpamFederation, gate: Gate) -> asyncio.Task[None]:
    """Let parties move until the store is at work for one of them, and return that move."""
    while True:
        ready = [party for party in federation.parties if not party.idle]
        move = asyncio.ensure_future(federation.move(federation.rng.choice(ready)))
        while not (gate.reached or move.done()):
            await asyncio.sleep(0)
        if gate.reached:
            return move


@pytest.mark.parametrize(
    ("function", "phase"),
    [
        ("open_attempt", states.Waiting),
        ("add_commitment", states.Committing),
        ("set_state", states.Committing),
        ("announce_list", states.Closing),
        ("add_payload", states.Uploading),
        ("keep_opened", states.Releasing),
        ("complete_attempt", states.Endorsing),
    ],
)
async def test_a_caller_that_hangs_up_while_the_store_is_at_work_leaves_nothing_half_done(
    start: Start, monkeypatch: pytest.MonkeyPatch, function: str, phase: type[states.Phase]
) -> None:
    """The step goes on to its end; the caller, who does not know, repeats it."""
    federation = await start()
    await federation.play_until(phase)
    gate = Gate(federation.store, function, monkeypatch)
    move = await move_until(federation, gate)
    move.cancel()
    with pytest.raises(asyncio.CancelledError):
        await move
    assert gate.calls == 0
    gate.open()
    async with federation.run.step():
        assert gate.calls >= 1, "no caller waits for the step, and it has ended"
    await federation.finish()
    assert federation.refusals == []


# ------------------------------------------------------------------------------------------------ a full disk


async def play_with_full_disk(federation: SpamFederation, which: int) -> tuple[int, bool]:
    """Play with one failing write; return how many writes there were, and whether the process had to stop."""
    store, writes = federation.store, 0

    def commit() -> Any:
        nonlocal writes
        writes += 1
        return full() if writes == which else store._database.commit()

    store._commit = commit  # type: ignore[method-assign]
    ended = federation.run.ended
    await federation.play(ended.done)
    stopped = isinstance(ended.exception(), StorageError)
    if stopped:
        assert "start the aggregator again when this is fixed" in str(ended.exception())
        await federation.restart_aggregator()
    await federation.finish()
    assert federation.run.results[0].contributors == 2
    return writes, stopped


async def test_a_full_disk_at_any_write_loses_nothing_that_was_acknowledged(start: Start) -> None:
    """The first write fails, then the second, ...: callers are asked to try again, or the process stops and starts."""
    rules = replace(RULES, target=2, max_cohort=2)
    stops = which = writes = 0
    while which <= writes:
        which += 1
        federation = await start(rules, absent=["client-3"], gather=False)
        writes, stopped = await play_with_full_disk(federation, which)
        stops += stopped
    assert which > 10
    assert stops >= 5, "opening, closing, announcing, fixing, keeping or completing it"


async def test_no_room_for_an_opened_sum_stops_the_process_and_a_restart_opens_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Releasing)
    monkeypatch.setattr(federation.store, "keep_opened", full)
    await federation.play(federation.run.ended.done)
    assert isinstance(federation.run.ended.exception(), StorageError)
    assert federation.store.last_attempt(federation.run.context.id).state == "releasing"  # type: ignore[union-attr]
    await federation.restart_aggregator()
    await federation.finish()


async def test_a_disk_that_cannot_be_read_stops_the_process_and_not_the_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = await start()
    await federation.play_until(states.Closing)
    monkeypatch.setattr(federation.store, "endorsements", full)
    await federation.play_until(states.Releasing)
    assert isinstance(federation.run.ended.exception(), StorageError)
    assert federation.store.unfinished_run() is not None
    await federation.restart_aggregator()
    await federation.finish()
