"""Parties are killed, stopped and started again, each in every phase of a round: what was acknowledged is never lost,
and the model is always, to the bit, the one of exactly those whose updates are in it."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import pytest
from manual_parties import ManualClient, ManualParties, play
from parties import Parties
from recomputation import check_every_model
from refusals import refused_with

from core.errors import Reason
from keyholder.difference import DifferenceRule
from keyholder.ledger import Ledger
from simulation.program import Program

pytestmark = pytest.mark.slow

THREE = ("--clients", "3", "--rounds", "2")
HELD = {"closing": ("close_list", (1, 2, 3)), "releasing": ("open_sum", (2, 3)), "endorsing": ("endorse", (2, 3))}
"""What holders are asked for in the phases that wait for them, and which of them are asked first in round 1."""


def finish(server: Program, clients: Sequence[ManualClient]) -> None:
    """Play the last round to the run's end."""
    for client in clients:
        assert client.until("round_closed").completed
    play(clients)
    assert all(client.end().completed for client in clients)
    code, said = server.end()
    assert code == 0, said


# ------------------------------------------------------------------------------------------ the aggregator


@pytest.mark.parametrize("phase", ["waiting", "committing", "closing", "uploading", "releasing", "endorsing"])
def test_killed_in_any_phase_the_aggregator_goes_on_and_loses_nothing(
    parties: Parties, manual: ManualParties, phase: str
) -> None:
    server, address = parties.server(*THREE)
    task, asked = HELD.get(phase, ("", ()))
    holders = manual.holders(address, task)
    clients = manual.clients(address, 1, 2)

    def come_to(now: str) -> None:
        nonlocal server
        if now == phase:
            for number in asked:
                holders[number - 1].gate.wait_for(task)
            server = parties.restart(server, address, *THREE)
            for client in clients:
                client.join()
            for holder in holders:
                holder.gate.let_go()

    come_to("waiting")
    clients += manual.clients(address, 3)
    first = clients[0].commit()
    come_to("committing")
    for client in clients[1:]:
        client.commit()
    assert clients[0].send_commitment(first).repeated if phase == "committing" else True
    come_to("closing")
    receipt = clients[0].upload()
    come_to("uploading")
    assert clients[0].send(first) == receipt.__class__(sha256=receipt.sha256, repeated=True)
    for client in clients[1:]:
        client.upload()
    come_to("releasing")
    come_to("endorsing")
    finish(server, clients)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def test_killed_after_the_last_round_it_ends_the_run_for_those_who_come_back(
    parties: Parties, manual: ManualParties
) -> None:
    settings = ("--clients", "2", "--rounds", "1")
    server, address = parties.server(*settings)
    holder, *_ = manual.holders(address)
    clients = manual.clients(address, 1, 2)
    play(clients)
    for client in clients:  # who does not hang up keeps the aggregator from writing its results
        assert client.next("round_closed").completed
        assert client.next("run_ended").completed
    assert not (parties.folder / "out" / "model.npz").exists()
    assert holder.end() == "all rounds are completed"
    server = parties.restart(server, address, *settings)
    for client in clients:
        assert client.join().next("run_ended").completed
        client.close()
    code, said = server.end()
    assert code == 0, said
    assert (parties.folder / "out" / "model.npz").exists()
    assert check_every_model(parties.database) == [[1, 2]]


def test_real_clients_and_holders_outlive_a_killed_aggregator(parties: Parties) -> None:
    settings = ("--clients", "3", "--rounds", "3")
    server, address = parties.server(*settings)
    parties.keyholders(address)  # of whom one may come back when all is over: two are enough
    clients = parties.clients(address)
    server.hear(r"update .*round=2")
    server = parties.restart(server, address, *settings)
    code, said = server.end()
    assert code == 0, said
    assert "going on with the unfinished run" in said
    assert [client.end()[0] for client in clients] == [0] * 3
    assert check_every_model(parties.database) == [[1, 2, 3]] * 3


def test_a_full_disk_refuses_what_it_cannot_keep_and_loses_nothing_that_it_acknowledged(
    parties: Parties, manual: ManualParties
) -> None:
    server, address = parties.server(*THREE)
    manual.holders(address)
    clients = manual.clients(address, 1, 2, 3)
    clients[0].commit()
    answers = [client.train() for client in clients[1:]]
    clients[1].connection._patience = 0.1
    fill_disk(server)
    with refused_with(Reason.STORAGE) as caught:
        clients[1].send_commitment(answers[0])
    assert str(parties.folder) not in str(caught.value)
    make_room(server)
    for client, answer in zip(clients[1:], answers, strict=True):
        assert not client.send_commitment(answer).repeated
    for client in clients[:2]:
        client.upload()
    clients[2].next("list_closed")
    fill_disk(server)
    clients[2].connection._patience = 0.1
    with refused_with(Reason.STORAGE):
        clients[2].send(answers[1])
    make_room(server)
    assert not clients[2].send(answers[1]).repeated
    finish(server, clients)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def test_a_disk_that_is_full_between_two_messages_stops_the_process_and_not_the_run(
    parties: Parties, manual: ManualParties
) -> None:
    server, address = parties.server(*THREE)
    task, asked = HELD["endorsing"]
    holders = manual.holders(address, task)
    clients = manual.clients(address, 1, 2, 3)
    play(clients)
    for number in asked:
        holders[number - 1].gate.wait_for(task)
    fill_disk(server)
    for holder in holders:
        holder.gate.let_go()
    code, said = server.end()
    assert code == 1
    assert "start the aggregator again when this is fixed" in said
    assert "Traceback" not in said
    server, _ = parties.server(*THREE, port=int(address.rpartition(":")[2]))
    for client in clients:
        client.join()
    finish(server, clients)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def fill_disk(party: Program) -> None:
    """Let no file of the process grow beyond one byte, as on a disk without room."""
    _, hard = resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE, (1, hard))


def make_room(party: Program) -> None:
    _, hard = resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


# ------------------------------------------------------------------------------------------ clients


@pytest.mark.parametrize(
    ("phase", "deadline"), [("committing", ("--round-seconds", "8")), ("uploading", ("--upload-seconds", "1"))]
)
def test_a_killed_client_is_not_waited_for_after_the_deadline(
    parties: Parties, manual: ManualParties, phase: str, deadline: tuple[str, str]
) -> None:
    server, address = parties.server("--clients", "3", "--rounds", "1", *deadline)
    manual.holders(address)
    victim = parties.client(address, 3)
    victim.hear("joined")
    if phase == "committing":
        victim.stop()
    clients = manual.clients(address, 1, 2)
    if phase == "uploading":
        victim.hear("committed")
        victim.stop()
    for client in clients:
        client.commit()
    victim.kill()
    for client in clients:
        client.upload()
    assert all(client.end().completed for client in clients)
    assert server.end()[0] == 0
    assert check_every_model(parties.database) == [[1, 2]]


def test_a_client_started_again_lets_the_round_go_by_and_goes_on_in_the_next(
    parties: Parties, manual: ManualParties
) -> None:
    server, address = parties.server(*THREE, "--upload-seconds", "2")
    manual.rule = DifferenceRule.REPORT  # or they would not open two sums that differ by one client
    manual.holders(address)
    victim = parties.client(address, 3)
    clients = manual.clients(address, 1, 2)
    victim.hear("committed")
    victim.kill()
    again = parties.client(address, 3)
    again.hear("skipping this round")
    play(clients)
    finish(server, clients)
    assert again.end()[0] == 0
    assert check_every_model(parties.database) == [[1, 2], [1, 2, 3]]


def test_under_the_minimum_cohort_a_round_is_abandoned_and_tried_again_with_a_fresh_key(
    parties: Parties, manual: ManualParties
) -> None:
    server, address = parties.server(
        "--clients", "2", "--rounds", "1", "--round-seconds", "1", "--upload-seconds", "1", "--patience", "3",
        "--insecure-unbounded",
    )  # fmt: skip
    manual.holders(address)
    clients = manual.clients(address, 1, 2)
    first = clients[0].commit()
    closed = clients[0].next("round_closed")
    assert not closed.completed
    assert "1 update was ready before the deadline, 2 are needed" in closed.sentence
    clients[1].until("round_closed")
    second, _ = [client.commit() for client in clients]
    assert (second.description.id.round, second.description.id.attempt) == (1, 2)
    assert second.description.key != first.description.key
    clients[0].upload()
    closed = clients[0].next("round_closed")
    assert not closed.completed
    assert "1 update came before the deadline, 2 are needed" in closed.sentence
    for client in clients:
        client.close()
    code, said = server.end()
    assert code == 1
    assert "error: the run failed: " in said
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------------ key holders


def kinds(ledger: Path) -> list[str]:
    """What a holder that is gone had written down."""
    opened = Ledger(ledger)
    found = [kind for _, kind, _ in opened.entries()]
    opened.close()
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_holder_killed_before_or_after_it_agreed_to_open_the_sum_delays_no_round(
    parties: Parties, manual: ManualParties, moment: str
) -> None:
    server, address = parties.server(*THREE)
    manual.holder(address, 1)
    second = manual.holder(address, 2, "open_sum")
    victim = parties.keyholder(address, 3)
    server.hear("key holder connected .*keyholder-3")
    clients = manual.clients(address, 1, 2, 3)
    for client in clients:
        client.commit()
    clients[0].upload()
    clients[1].upload()
    victim.hear("list signed")
    if moment == "before":
        victim.stop()
    clients[2].upload()
    server.hear(r"opening .*holders=\['keyholder-2', 'keyholder-3'\]")
    if moment == "after":
        victim.hear("request signed")
    victim.kill()
    second.gate.let_go()
    assert kinds(parties.folder / "keyholder-3") == (
        ["start", "list", "release"] if moment == "after" else ["start", "list"]
    )
    shares = parties.federation / "keyholder-3" / "shares"
    assert (shares / "00000001.share").exists() is (moment == "before"), "it is destroyed once the answer is prepared"
    parties.keyholder(address, 3)
    finish(server, clients)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def test_all_holders_killed_and_started_again_cost_no_attempt(parties: Parties, manual: ManualParties) -> None:
    server, address = parties.server(*THREE)
    holders = parties.keyholders(address)
    for _ in holders:
        server.hear("key holder connected")
    clients = manual.clients(address, 1, 2, 3)
    for client in clients:
        client.commit()
    for client in clients[:2]:
        client.upload()
    for holder in holders:
        holder.kill()
    for _ in holders:
        server.hear("key holder disconnected")
    clients[2].upload()
    parties.keyholders(address)
    finish(server, clients)
    assert "abandoned" not in "".join(server.said)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def test_a_holder_that_lost_its_shares_is_done_without(parties: Parties, manual: ManualParties) -> None:
    shares = parties.federation / "keyholder-2" / "shares"
    for share in shares.iterdir():
        share.unlink()
    server, address = parties.server(*THREE)
    manual.holders(address)
    clients = manual.clients(address, 1, 2, 3)
    play(clients)
    finish(server, clients)
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2


def test_with_too_few_holders_left_the_run_fails_with_a_sentence(parties: Parties, manual: ManualParties) -> None:
    server, address = parties.server(*THREE, "--patience", "3")
    manual.holder(address, 1)
    for client in manual.clients(address, 1, 2, 3):
        assert "0 key holders serve" in client.next("run_ended").sentence
        client.close()
    code, said = server.end()
    assert code == 1
    expected = "0 key holders serve after 3 seconds, 2 are needed; keyholder-1 waits for others to vouch for its ledger"
    assert f"error: the run failed: {expected}" in said
