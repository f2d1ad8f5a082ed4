"""An aggregator that passes a false update on: honest holders open nothing with it, and without their check it is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import keyholder.adding
from core.protected_update import ProtectedUpdate
from core.wire import federation_pb2 as pb
from faults.crash_points import CLIENTS, RULES
from faults.lying import LIES
from faults.parties import Parties
from faults.sequences import machine
from faults.world import PROVEN, World
from keyholder.difference import DifferenceRule
from server import states
from simulation.slot_task import known, slot_task

LIAR = "client-2"
Make = Callable[[], World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a trial in which a client lies, and the aggregator passes it on."""

    def make() -> World:
        (tmp_path / "world").mkdir()
        world = World(parties, tmp_path / "world", task, RULES, scheme=PROVEN)
        world.lies[LIAR] = "another proof"
        world.forwarding.on = True
        return world

    with known(slot_task(CLIENTS)) as task:
        parties = Parties(tmp_path, clients=CLIENTS)
        yield make


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let key holders add up whatever can be added."""

    def only_ciphertexts(adder: Any, _description: Any, _commitment: Any, update: ProtectedUpdate, *_: Any) -> None:
        adder.check(update.ciphertexts)

    monkeypatch.setattr(keyholder.adding, "check_update", only_ciphertexts)


def told(make: Make, then: Callable[[World], None] = lambda _: None) -> tuple[World, list[str]]:
    """Play the trial to its end, and return what is wrong."""

    async def story() -> tuple[World, list[str]]:
        world = make()
        await world.start()
        await world.play(lambda: bool(world.forwarding.named) or world.over)
        then(world)
        await world.play()
        return world, await world.end()

    return asyncio.run(story())


@pytest.mark.parametrize("lie", sorted(LIES))
def test_holders_refuse_what_is_passed_on_and_show_who_lied(make: Make, lie: str) -> None:
    def lied() -> World:
        world = make()
        world.lies[LIAR] = lie
        return world

    world, found = told(lied)
    assert found == []
    assert isinstance(world.phase, states.Failed)
    assert world.opened == {}
    assert {client for _, client in world.forwarding.named} == {LIAR}
    assert len({holder for holder, _ in world.forwarding.named}) >= RULES.holders - RULES.threshold + 1


def test_the_run_completes_once_the_aggregator_checks_again(make: Make) -> None:
    def check_again(world: World) -> None:
        world.forwarding.on = False

    world, found = told(make, check_again)
    assert found == []
    assert isinstance(world.phase, states.Finished)
    assert [each.contributors for each in world.run.results] == [CLIENTS - 1] * RULES.rounds


@pytest.mark.usefixtures("unchecked")
def test_a_holder_that_does_not_check_is_found_by_the_judge(make: Make) -> None:
    _, found = told(make)
    released = [
        sentence for sentence in found if "released a sum of (1, 1) with a false update of client-2" in sentence
    ]
    assert len(released) == RULES.threshold
    assert "a sum of (1, 1) was opened with a false update of client-2" in found


async def test_no_other_accusation_is_taken_for_the_right_one(make: Make) -> None:
    world = make()
    await world.start()
    await world.play_until(states.Releasing)
    holder = next(each for each in world.holders.values() if not each.idle)
    while not (isinstance(holder.message, pb.HolderTask) and holder.message.HasField("open_sum")):
        await world.move(holder)

    def explained(reason: str, *clients: str, task: pb.HolderTask = holder.message) -> bool:
        decline = pb.Decline(reason=reason, sentence="at random", clients=clients)
        return world.forwarding.explains(decline, task, holder.identity)

    assert not explained("wrong_proof", "client-1"), "it has sent a right update"
    assert not explained("wrong_proof", "client-9"), "there is no such client"
    assert not explained("bad_ciphertext", LIAR), "its ciphertexts are right"
    assert not explained("wrong_proof"), "nobody is named"
    assert not explained("wrong_proof", LIAR, task=pb.HolderTask()), "no sum was to be opened"
    assert world.forwarding.named == []
    assert explained("wrong_proof", LIAR)
    assert world.forwarding.named == [(holder.name, LIAR)]
    await world.close()


def random_sequence() -> None:
    """Play the shortest sequence that hypothesis finds when holders do not check: one fault, and then the end."""
    with machine() as kind:
        sequence = kind()
        sequence.begin(0, PROVEN, DifferenceRule.REPORT)
        sequence.aggregator_passes_a_false_update_on(1, "rubbish")
        sequence.teardown()
        assert len(kind.named) >= RULES.holders - RULES.threshold + 1


def test_the_random_sequences_pass_false_updates_on() -> None:
    random_sequence()


@pytest.mark.usefixtures("unchecked")
def test_the_random_sequences_find_a_holder_that_does_not_check() -> None:
    with pytest.raises(AssertionError, match="released a sum of .* with a false update of client-2"):
        random_sequence()
