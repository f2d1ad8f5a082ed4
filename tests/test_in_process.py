"""The in-process federation: real rounds, whatever its network does, and the same again from the same seed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import OPTIONS, RULES, Start
from recomputation import SPAM, plain_models

from core.errors import Reason, RunFailedError
from core.wire import federation_pb2 as pb
from server import states
from server.executor import Executor
from server.rounds.cohort import RETURN_SECONDS
from simulation.in_process import InProcessFederation, play, run_anywhere
from simulation.network import Network, between
from simulation.party import Party
from simulation.traffic import described

ROOT = Path(__file__).resolve().parent.parent
ALL = {"client-1", "client-2", "client-3"}


def kinds(federation: InProcessFederation, party: str | None = None) -> list[str]:
    """The names of all messages in order, or of those of one party."""
    messages = [each for each in federation.messages if party in {None, each.sender, each.receiver}]
    return [described(each.content).partition(",")[0] for each in messages]


# ------------------------------------------------------------------------------------------------ a whole run


def test_a_played_run_gives_the_model_that_is_computed_in_clear() -> None:
    federation = play(SPAM, clients=2, rounds=2, key_bits=256)
    expected = plain_models([[1, 2], [1, 2]])
    assert federation.model is not None
    assert np.array_equal(federation.model, expected[-1])
    assert [result.contributors for result in federation.results] == [2, 2]


async def test_a_run_can_be_played_where_an_event_loop_is_running() -> None:
    asyncio.get_running_loop()
    assert play(SPAM, clients=2, scheme="plain").results[0].contributors == 2

    async def answer() -> int:
        return 42

    assert run_anywhere(answer()) == 42


def test_messages_can_be_printed_with_time_parties_and_size() -> None:
    first = play(SPAM, clients=2, scheme="plain").messages[0]
    assert re.fullmatch(r" +0\.00 s +(client|keyholder)-\d -> aggregator   (Join|Attend), \d+ bytes", str(first))


# ------------------------------------------------------------------------------------------------ the order


def drawn(column: int) -> list[str]:
    """The messages in one column of the drawing in proto/federation.proto, from the top."""
    text = (ROOT / "proto" / "federation.proto").read_text()
    rows = re.findall(r"^//     \|(.{26})\|(.{31})\|", text, re.MULTILINE)
    cells = [row[column] for row in rows if "--" in row[column]]
    return [re.findall(r"[A-Z][A-Za-z]+", cell)[0] for cell in cells]


@pytest.mark.parametrize(("party", "column"), [("client-1", 0), ("keyholder-2", 1)])
async def test_a_party_sends_and_gets_its_messages_in_the_order_of_the_drawing(
    start: Start, party: str, column: int
) -> None:
    federation = await start()
    await federation.finish()
    expected = drawn(column)
    assert len(expected) in {7, 15}
    first_times = dict.fromkeys(kind for kind in kinds(federation, party) if kind in expected)
    assert list(first_times) == expected


async def test_what_is_too_long_for_a_message_is_fetched(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("server.executor", "server.notices"):
        monkeypatch.setattr(f"{module}.small_enough", lambda _payload: False)
    federation = await start()
    await federation.finish()
    order = kinds(federation)
    assert order.count("FetchModel") == 3 + 2, "each client, and each holder that has not computed it before"
    assert order.count("FetchOpenedSum") == 2


async def test_who_is_revoked_while_its_stream_is_open_gets_no_model_and_no_sum(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = {"client-1", "keyholder-1", "keyholder-2"}
    members = Executor._members
    monkeypatch.setattr(Executor, "_members", lambda self: members(self) - revoked)
    federation = await start()
    await federation.finish()
    starts = {name: federation.pushed_to(name, "round_opened")[-1].start for name in federation.clients}
    assert {name for name, start in starts.items() if not start} == {"client-1"}
    asked = {name: federation.pushed_to(name, "endorse") for name in federation.holders}
    bare = {name: not tasks[-1].opened for name, tasks in asked.items() if tasks}
    assert len(bare) == 2
    assert bare == {name: name in revoked for name in bare}


async def test_no_phase_begins_before_all_that_the_one_before_it_needs_is_there(start: Start) -> None:
    federation = await start()
    await federation.finish()
    order = kinds(federation)
    assert order.count("Commit") == order.count("Submit") == 3
    for all_of, before in (("Commit", "CloseList"), ("Submit", "OpenSum"), ("Release", "Endorse")):
        assert max(i for i, kind in enumerate(order) if kind == all_of) < order.index(before), (all_of, before)
    for two_of, before in (("SignList", "ListClosed"), ("EndorseModel", "RoundClosed")):
        assert order[: order.index(before)].count(two_of) >= 2, (two_of, before)


# ------------------------------------------------------------------------------------------------ the network


NETWORKS = {
    "delay": Network(delay=between(1.0, 1.0)),
    "reordering": Network(delay=between(0.0, 5.0)),
    "loss": Network(loss=0.2),
    "duplicates": Network(duplicates=0.5, delay=between(0.0, 2.0)),
    "all of it": Network(delay=between(0.0, 3.0), loss=0.2, duplicates=0.3),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
async def test_the_models_are_the_same_whatever_the_network_does(start: Start, network: Network, seed: int) -> None:
    options, network = replace(OPTIONS, seed=seed), replace(network, seed=seed)
    federation = await start(replace(RULES, rounds=2), options=options, network=network, gather=False)
    await federation.finish()
    assert [result.contributors for result in federation.run.results] == [3, 3], "no client was late by minutes"


async def test_an_encrypted_round_survives_loss_and_duplicates(start: Start) -> None:
    network = Network(delay=between(0.0, 1.0), loss=0.2, duplicates=0.3)
    federation = await start(scheme="paillier", network=network, gather=False)
    await federation.finish()
    assert federation.run.results[0].contributors == 3


async def test_a_partition_that_heals_costs_time_and_nothing_else(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    apart = {"client-1", "keyholder-2", "keyholder-3"}
    federation.network.cut_off |= apart
    await federation.settle()
    assert federation.run.state.present == ALL - apart
    await federation.pass_time(RETURN_SECONDS - 5.0)
    await federation.settle()
    assert isinstance(federation.phase, states.Committing), "client-1 is waited for"
    federation.network.cut_off.clear()
    await federation.finish()
    assert federation.run.results[0].contributors == 3
    assert federation.now < RULES.round_seconds


async def test_a_client_that_stays_cut_off_is_not_in_the_sum(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Committing)
    federation.network.cut_off.add("client-1")
    await federation.finish()
    assert federation.run.results[0].contributors == 2
    assert RETURN_SECONDS <= federation.now < RULES.round_seconds, "it is not waited for until the deadline"


# ------------------------------------------------------------------------------------------------ seeds


async def traffic(start: Start, seed: int) -> list[tuple[float, str, str, str]]:
    network = Network(delay=between(0.0, 2.0), loss=0.1, duplicates=0.1, seed=seed)
    federation = await start(options=replace(OPTIONS, seed=seed), network=network, gather=False)
    await federation.finish()
    return [
        (each.seconds, each.sender, each.receiver, described(each.content).partition(",")[0])
        for each in federation.messages
    ]


async def test_the_same_seed_gives_the_same_messages_at_the_same_times(start: Start) -> None:
    once, again, other = [await traffic(start, seed) for seed in (1, 1, 2)]
    assert once == again
    assert once != other


# ------------------------------------------------------------------------------------------------ parties


async def test_a_holder_that_is_started_again_has_its_ledger_and_signs_the_same(start: Start) -> None:
    federation = await start()
    await federation.play_until(states.Uploading)
    holder = federation.holders["keyholder-2"]
    before = holder.session.holder.ledger.entries()
    await holder.restart()
    after = holder.session.holder.ledger.entries()
    assert after[:-1] == before
    assert after[-1][1] == "start"
    await federation.finish()


async def test_a_client_that_is_handed_another_list_than_was_signed_uploads_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aggregator leaves the second client out of the list that it shows to the second client."""
    federation = await start()
    honest = federation.pushed

    def shortened(party: Party[Any], message: Any) -> Any:
        if party.name == "client-2" and message.HasField("list_closed"):
            message = pb.Notice.FromString(message.SerializeToString())  # the others are shown the same object
            closed = message.list_closed
            closed.commitments = closed.commitments[:32] + closed.commitments[64:]
        return honest(party, message)

    monkeypatch.setattr(federation, "pushed", shortened)
    await federation.finish()
    assert federation.clients["client-2"].error.reason is Reason.LIST_SIGNATURES  # type: ignore[union-attr]
    assert "Submit" not in kinds(federation, "client-2")
    assert federation.run.results[0].contributors == 2


async def test_a_run_that_ends_before_the_phase_that_is_waited_for_says_so(start: Start) -> None:
    federation = await start()
    await federation.finish()
    with pytest.raises(RuntimeError, match="was never in Committing"):
        await federation.play_until(states.Committing)


async def test_everyone_learns_that_a_run_has_failed(start: Start) -> None:
    federation = await start(replace(RULES, max_attempts=1))
    await federation.play_until(states.Committing)
    for name in ("client-1", "client-2"):
        await federation.clients[name].stop()
    await federation.play()
    assert isinstance(federation.phase, states.Failed)
    for name in ("client-3", "keyholder-1"):
        assert isinstance(federation.party(name).error, RunFailedError)
