"""Key holders that are killed, restored from a copy, or begin again: no round is opened twice, and honest ones go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from in_process import OPTIONS, RULES, SpamFederation, Start, calls_of

from core.errors import Reason, Refused
from core.wire import federation_pb2 as pb
from keyholder.session import HolderSession
from server import states

FOUR = replace(RULES, holders=4, threshold=3)
MOMENTS = {
    "no holder has signed the list": (states.Closing, "SignList", 0),
    "one has signed the list": (states.Closing, "SignList", 1),
    "clients upload": (states.Uploading, "Submit", 1),
    "no holder has agreed to open the sum": (states.Releasing, "SignRequest", 0),
    "one has agreed to open the sum": (states.Releasing, "SignRequest", 1),
    "one share was lent": (states.Releasing, "Release", 1),
    "one has endorsed the model": (states.Endorsing, "EndorseModel", 1),
}


async def until(federation: SpamFederation, moment: str) -> None:
    """Play until the run is in a phase and a number of calls of a kind have been made."""
    phase, call, count = MOMENTS[moment]
    await federation.play_until(phase)
    await federation.play(lambda: calls_of(federation).count(call) >= count)


@pytest.mark.parametrize("rules", [RULES, FOUR], ids=["2 of 3", "3 of 4"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_all_holders_killed_at_once_come_back_by_themselves_and_cost_no_attempt(
    start: Start, rules: object, moment: str
) -> None:
    federation = await start(replace(rules, rounds=2))
    await until(federation, moment)
    for holder in federation.holders.values():
        await holder.restart()
    await federation.finish()
    attempts = federation.store._database.all("SELECT round, attempt FROM attempts")
    assert sorted(attempts) == [(1, 1), (2, 1)]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_one_holder_that_is_killed_comes_back_and_costs_no_attempt(start: Start, moment: str) -> None:
    federation = await start(replace(FOUR, rounds=2))
    await until(federation, moment)
    await federation.holders["keyholder-2"].restart()
    await federation.finish()
    assert len(federation.store._database.all("SELECT round, attempt FROM attempts")) == 2


async def test_a_holder_does_not_serve_before_all_others_at_3_of_4_have_vouched(start: Start) -> None:
    federation = await start(FOUR, gather=False)
    await federation.gather("keyholder-1", "keyholder-2", "keyholder-3", "client-1", "client-2", "client-3")
    await federation.settle("keyholder-1", "keyholder-2", "keyholder-3", "client-1", "client-2", "client-3")
    assert federation.run.state.holders == frozenset()
    said = "keyholder-1, keyholder-2 and keyholder-3 wait for others to vouch for their ledgers"
    assert federation.run.waiting_for == f"waiting for key holders: 0 here, 3 needed; {said}"
    await federation.gather("keyholder-4")
    await federation.settle(until=lambda: len(federation.run.state.holders) == 4)
    await federation.finish()


async def test_a_task_before_it_serves_is_declined(start: Start) -> None:
    federation = await start(FOUR)
    await federation.play_until(states.Closing)
    await federation.settle(until=lambda: bool(federation.pushed_to("keyholder-1", "close_list")))
    (close,) = federation.pushed_to("keyholder-1", "close_list")
    lonely = HolderSession(federation.holders["keyholder-2"].session.holder)
    (declined,) = list(lonely.answer(pb.HolderTask(close_list=close)))
    assert declined.message.reason == Reason.NOT_SERVING


async def test_a_policy_that_trusts_the_others_starts_with_one_of_four_gone(start: Start) -> None:
    federation = await start(FOUR, options=replace(OPTIONS, dishonest_holders=0), gather=False)
    await federation.holders["keyholder-4"].stop()
    await federation.finish()


# ------------------------------------------------------------------------------------------------ restored


def copied(federation: SpamFederation, name: str) -> Path:
    """A copy of a holder's state as it lies there now."""
    ledger = federation.holders[name].session.holder.ledger
    ledger._database.first("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = federation.folder / f"copy of {name}"
    shutil.copytree(federation.folder / name, copy)
    return copy


async def restored(federation: SpamFederation, name: str, copy: Path) -> None:
    """Kill a holder, put a copy in place of its state, and start it again."""
    holder = federation.holders[name]
    await holder.stop()
    shutil.rmtree(federation.folder / name)
    shutil.copytree(copy, federation.folder / name)
    holder.stopped = False
    holder._begin()


@pytest.mark.parametrize("moment", ["clients upload", "one share was lent", "one has endorsed the model"])
async def test_a_holder_restored_from_an_old_copy_does_not_serve_and_the_others_finish(
    start: Start, moment: str
) -> None:
    federation = await start(replace(FOUR, rounds=3))
    await federation.play_until(states.Committing)
    copy = copied(federation, "keyholder-3")
    await federation.play(lambda: len(federation.run.results) == 1)
    await until_again(federation, moment)
    await restored(federation, "keyholder-3", copy)
    await federation.finish()
    error = federation.holders["keyholder-3"].error
    assert isinstance(error, Refused)
    assert error.reason is Reason.STALE_LEDGER
    assert "has seen entry" in str(error)


async def until_again(federation: SpamFederation, moment: str) -> None:
    phase, _, _ = MOMENTS[moment]
    await federation.play(lambda: isinstance(federation.phase, phase) and federation.phase.round == 2)


# ------------------------------------------------------------------------------------------------ forgotten bytes


def on_disk(folder: Path, content: bytes) -> bool:
    """Whether a part of the content lies in a database or its log; SQLite spreads what is long over several pages."""
    files = [path.read_bytes() for path in folder.rglob("*sqlite*")]
    return any(content[at : at + 48] in raw for raw in files for at in range(0, len(content) - 48, 500))


async def test_ciphertexts_and_answers_of_earlier_rounds_are_nowhere_on_the_disk(start: Start) -> None:
    """As kill -9 in a later round would leave the files; of the first round everything is needed until it is over."""
    federation = await start(replace(RULES, rounds=4), scheme="paillier")
    await federation.play_until(states.Releasing)
    update = federation.submission("client-1").payload
    assert on_disk(federation.folder / "server", update)
    await federation.play_until(states.Endorsing)
    ledgers = {name: holder.session.holder.ledger for name, holder in federation.holders.items()}
    answers = {
        name: ledger.prepared(federation.id())[1].partial
        for name, ledger in ledgers.items()
        if ledger.released_request(federation.run.context.id, 1)
    }
    assert len(answers) == 2
    await federation.play(lambda: len(federation.run.results) == 3 and isinstance(federation.phase, states.Committing))
    assert not on_disk(federation.folder / "server", update)
    await federation.finish()
    for name, answer in answers.items():
        assert not on_disk(federation.folder / name, answer), name


def vouches(federation: SpamFederation) -> int:
    return sum(len(federation.pushed_to(name, "vouch")) for name in federation.holders)


async def test_a_lost_connection_begins_no_new_life_that_others_would_vouch_for(start: Start) -> None:
    federation = await start(replace(FOUR, rounds=2))
    await federation.play_until(states.Closing)
    assert vouches(federation) == 12  # each of the four for each other
    await federation.lose_streams()
    await federation.finish()
    assert vouches(federation) == 12


async def test_a_holder_that_was_away_while_another_began_a_new_life_vouches_for_that(start: Start) -> None:
    federation = await start(replace(FOUR, rounds=2))
    await federation.play_until(states.Closing)
    away, new = federation.holders["keyholder-1"], federation.holders["keyholder-2"]
    stream = await away.lose_aggregator(read_all=True)
    assert stream is not None
    await federation.drop(stream)
    await new.restart()
    await federation.finish()
    assert away.session.holder.ledger.peers.seen("keyholder-2").life == new.session.holder.life
    assert vouches(federation) == 18  # three more for the new life, and three by it
