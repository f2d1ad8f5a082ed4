"""Real processes on this machine: they arrive at the model of a recomputation, and refuse by name what does not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from manual_parties import ManualParties
from parties import Parties, run_here
from recomputation import SPAM, check_every_model, plain_models
from refusals import refused_with
from templates import deal

from core.clock import today
from core.errors import Reason
from core.federated import load_model
from registrar.federation import add_member, make_federation, revoke


def model(parties: Parties) -> np.ndarray:
    return load_model(parties.folder / "out" / "model.npz", SPAM)


# ------------------------------------------------------------------------------------------ the whole way


def test_separate_processes_arrive_at_exactly_the_model_of_a_plain_recomputation(parties: Parties) -> None:
    server, address = parties.server("--clients", "3", "--rounds", "2")
    others = [*parties.keyholders(address), *parties.clients(address)]
    code, said = server.end()
    assert code == 0, said
    assert [party.end()[0] for party in others] == [0] * 6
    assert check_every_model(parties.database) == [[1, 2, 3]] * 2
    assert np.array_equal(model(parties), plain_models([[1, 2, 3]] * 2)[-1])


def test_clients_that_count_by_their_examples_arrive_at_the_model_of_a_plain_recomputation(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "2", "--count-cap", "400")
    parties.keyholders(address)
    for number in (1, 2):
        parties.client(address, number)
    code, said = server.end()
    assert code == 0, said
    assert np.array_equal(model(parties), plain_models([[1, 2]] * 2, count_cap=400)[-1])


# ------------------------------------------------------------------------------------------ what is refused


def test_a_client_of_another_task_is_refused_in_one_sentence(parties: Parties) -> None:
    _, address = parties.server()
    code, said = parties.client(address, 1, "--task", "babi").end()
    assert code == 1
    assert "error: this federation trains 'spam', not 'babi'" in said
    assert "Traceback" not in said


def test_two_processes_with_one_identity_are_refused(parties: Parties) -> None:
    server, address = parties.server()
    parties.client(address, 1)
    server.hear("joined .*client=client-1")
    code, said = parties.client(address, 1).end()
    assert (code, "client-1/memory is in use by another client; stop that one first" in said) == (1, True), said
    parties.keyholder(address, 1)
    server.hear("key holder connected .*keyholder-1")
    code, said = parties.keyholder(address, 1).end()
    assert (code, "error: another process runs as keyholder-1" in said) == (1, True), said


def test_a_key_holder_does_not_start_with_an_empty_ledger(parties: Parties) -> None:
    server, address = parties.server()
    holder = parties.keyholder(address, 1)
    server.hear("key holder connected")
    holder.kill()
    code, said = parties.keyholder(address, 1, "--state", str(parties.folder / "elsewhere")).end()
    assert code == 1
    assert "error: the ledger of keyholder-1 is not in" in said
    assert "start once with --new-ledger" in said


def test_another_federations_certificate_is_refused_in_one_sentence(parties: Parties, tmp_path: Path) -> None:
    """And the other way round: who has the right folder but finds another server does not talk to it."""
    _, address = parties.server()
    other = make_federation(tmp_path / "other", clients=1, holders=1, threshold=1, now=datetime.now(UTC))
    for party, own in (("client", ["--mail", "generated"]), ("keyholder", ["--state", str(tmp_path / "k")])):
        name = f"{party}-1"
        code, said = parties.start(
            party, "--identity", other.party(name), "--server", address, "--patience", "1", *own
        ).end()  # fmt: skip
        assert code == 1, said
        (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert f"no answer from {address} for 1 seconds" in sentence
        assert "Traceback" not in said


def test_a_party_whose_certificate_has_expired_does_not_start(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=3 * 365)
    old = make_federation(tmp_path / "old", clients=1, holders=1, threshold=1, now=long_ago)
    for party, own in (("server", []), ("client", ["--mail", "generated"]), ("keyholder", [])):
        name = party if party == "server" else f"{party}-1"
        code, said = run_here(capsys, party, "--identity", old.party(name), *own)
        assert code == 1
        assert f"certificate.pem cannot be used: the certificate is good from {long_ago.year}" in said


def test_a_revoked_client_is_refused_while_the_server_runs_and_a_new_one_is_let_in(
    parties: Parties, manual: ManualParties
) -> None:
    _, address = parties.server("--clients", "2", "--rounds", "1")
    manual.holders(address)
    victim, other = manual.client(address, 1), manual.client(address, 2)
    victim.join()
    revoke(parties.federation, "client-1")
    add_member(parties.federation, "client-4", now=datetime.now(UTC))
    other.join()
    with refused_with(Reason.REVOKED):
        victim.train()
    with refused_with(Reason.NO_MODEL):  # it is let in, and only the model is not there
        manual.client(address, 4).join().model(7)
    code, said = parties.client(address, 1).end()
    assert code == 1
    assert "error: client-1 was revoked by the registrar (roster version 3)" in said
    assert "Traceback" not in said


def test_expired_round_keys_are_passed_over_and_fresh_ones_taken_as_they_are_dealt(
    parties: Parties, manual: ManualParties
) -> None:
    federation = parties.found(keys=0)
    deal(federation, replace(parties.shape, keys=2), day=today() - 91)
    _, address = parties.server("--clients", "2", "--rounds", "1")
    for holder in manual.holders(address):
        holder.gate.wait_for("need_key")
    clients = manual.clients(address, 1, 2)
    deal(federation, replace(parties.shape, keys=1))
    description = clients[0].round()
    assert description.certificate.serial == 3


def test_a_run_whose_keys_are_all_used_up_says_how_to_deal_more(parties: Parties, manual: ManualParties) -> None:
    parties.found(keys=0)
    server, address = parties.server("--clients", "2", "--patience", "3")
    holders = manual.holders(address)
    code, said = server.end()
    assert code == 1
    assert (
        "error: the run failed: the key holders had no unused round key of the right kind in common within 3 " in said
    )
    assert "python -m registrar deal FEDERATION --scheme paillier --key-bits" in " ".join(said.split())
    assert "the run ended: " in str(holders[0].end())
