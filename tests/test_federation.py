"""Real processes on this machine: they arrive at the model of a recomputation, and refuse by name what does not fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from manual_parties import ManualClient, ManualParties, play
from parties import Parties, run_here
from recomputation import SPAM, check_every_model, plain_models
from refusals import refused_with
from templates import deal

from client.participant import Submission
from core.clock import today
from core.errors import Reason
from core.federated import load_model
from core.identity import signing
from core.protocol import Commitment, Signed, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.messages import commitment_from_bytes, commitment_to_bytes, submission_header_to_wire
from core.wire.status import refusal_of
from registrar.federation import add_client, make_federation, revoke


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


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik", "plain"])
@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (2, 3), (3, 3)])
def test_no_scheme_and_no_number_of_holders_changes_a_bit_of_the_model(
    parties: Parties, manual: ManualParties, scheme: str, threshold: int, holders: int
) -> None:
    parties.found(holders=holders, threshold=threshold, scheme=scheme)
    server, address = parties.server("--clients", "2", "--rounds", "2")
    manual.holders(address)
    clients = manual.clients(address, 1, 2)
    play(clients)
    for client in clients:
        client.next("round_closed")
    play(clients)
    assert all(client.end().completed for client in clients)
    assert server.end()[0] == 0
    assert check_every_model(parties.database) == [[1, 2]] * 2


def test_clients_that_count_by_their_examples_arrive_at_the_model_of_a_plain_recomputation(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "2", "--count-cap", "400")
    parties.keyholders(address)
    for number in (1, 2):
        parties.client(address, number)
    code, said = server.end()
    assert code == 0, said
    assert np.array_equal(model(parties), plain_models([[1, 2]] * 2, count_cap=400)[-1])


def test_without_a_target_a_run_begins_when_nobody_else_comes(parties: Parties, manual: ManualParties) -> None:
    parties.found(clients=4)
    _, address = parties.server("--rounds", "1", "--gather-seconds", "1")
    manual.holders(address)
    clients = manual.clients(address, 1, 2, 3, 4)
    play(clients)
    assert all(client.end().completed for client in clients)
    assert check_every_model(parties.database) == [[1, 2, 3, 4]]


def test_a_client_that_comes_late_is_taken_into_the_open_round(parties: Parties, manual: ManualParties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1")
    manual.holders(address)
    early = manual.clients(address, 1, 2)
    early[0].commit()
    late = manual.clients(address, 3)
    for client in (early[1], *late):
        client.commit()
    for client in (*early, *late):
        client.upload()
    assert all(client.end().completed for client in (*early, *late))
    assert server.end()[0] == 0
    assert check_every_model(parties.database) == [[1, 2, 3]]


# ------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def open_round(parties: Parties, manual: ManualParties) -> tuple[list[ManualClient], list[Submission]]:
    """Three clients of an open round, the first two of whom have committed; and their answers."""
    _, address = parties.server("--clients", "3", "--rounds", "1")
    manual.holders(address)
    clients = manual.clients(address, 1, 2, 3)
    return clients, [clients[0].commit(), clients[1].commit(), clients[2].train()]


def signed(client: ManualClient, commitment: Commitment) -> Signed:
    body = commitment_to_bytes(commitment)
    return Signed(body, client.identity.signing.sign(signing.COMMITMENT, body))


def test_commitments_that_do_not_fit_the_round_are_refused_by_name(
    open_round: tuple[list[ManualClient], list[Submission]],
) -> None:
    clients, submissions = open_round
    client, honest = clients[2], submissions[2]
    true = commitment_from_bytes(honest.commitment.body)
    refusals = [
        (Reason.ROUND_NOT_OPEN, signed(client, replace(true, id=replace(true.id, attempt=2)))),
        (Reason.WRONG_DESCRIPTION, signed(client, replace(true, description_digest=digest(b"another")))),
        (Reason.COMMITMENT_SIGNATURE, Signed(honest.commitment.body, bytes(64))),
        (Reason.COMMITMENT_SIGNATURE, signed(clients[0], true)),
        (Reason.COMMITMENT_SIGNATURE, submissions[1].commitment),
        (Reason.NOT_IN_ROSTER, signed(client, replace(true, client="client-9"))),
        (Reason.MALFORMED, Signed(b"no commitment", honest.commitment.signature)),
    ]
    for reason, commitment in refusals:
        with refused_with(reason):
            client.send_commitment(replace(honest, commitment=commitment))
    assert not client.send_commitment(honest).repeated
    assert client.send_commitment(honest).repeated


def test_updates_that_do_not_fit_what_was_committed_to_are_refused_by_name(
    open_round: tuple[list[ManualClient], list[Submission]],
) -> None:
    clients, submissions = open_round
    with refused_with(Reason.ROUND_NOT_OPEN):  # nobody uploads before the list is signed
        clients[0].send(submissions[0])
    with refused_with(Reason.NOT_COMMITTED):
        clients[2].send(submissions[2])
    # The third commits to a ciphertext that is none: 1 is an encryption of 0 without randomness.
    honest = submissions[2]
    one = (1).to_bytes(honest.description.key.bits // 4, "big")
    bare = one + honest.payload[len(one) :]
    true = commitment_from_bytes(honest.commitment.body)
    committed = replace(
        honest,
        commitment=signed(clients[2], replace(true, digest=digest(bare))),
        header=replace(honest.header, digest=digest(bare)),
        payload=bare,
    )
    clients[2].send_commitment(committed)
    client, mine = clients[0], submissions[0]
    client.next("list_closed")
    refusals = {
        Reason.NOT_COMMITTED: replace(mine, header=replace(mine.header, id=replace(mine.header.id, attempt=2))),
        Reason.WRONG_DIGEST: replace(mine, header=submissions[1].header, payload=submissions[1].payload),
        Reason.WRONG_LENGTH: replace(mine, payload=mine.payload + b"\0"),
    }
    for reason, submission in refusals.items():
        with refused_with(reason):
            client.send(submission)
    with refused_with(Reason.BAD_CIPHERTEXT):
        clients[2].send(committed)
    assert not client.send(mine).repeated
    assert client.send(mine).repeated
    assert clients[1].next("list_closed")
    assert not clients[1].send(submissions[1]).repeated


def test_an_endless_upload_is_cut_off(open_round: tuple[list[ManualClient], list[Submission]]) -> None:
    clients, submissions = open_round
    clients[2].send_commitment(submissions[2])
    clients[0].next("list_closed")

    def requests():  # type: ignore[no-untyped-def]
        yield pb.SubmitRequest(header=submission_header_to_wire(submissions[0].header))
        while True:
            yield pb.SubmitRequest(data=bytes(1 << 16))

    with pytest.raises(grpc.RpcError) as caught:
        rpc.FederationStub(clients[0].connection.channel).Submit(requests(), timeout=20)
    refusal = refusal_of(caught.value)
    assert refusal is not None
    assert refusal.reason is Reason.WRONG_LENGTH


@pytest.mark.parametrize("change", [{"task": "chess"}, {"task_digest": b"another version"}])
def test_clients_that_train_something_else_are_refused_by_name(
    parties: Parties, manual: ManualParties, change: dict[str, object]
) -> None:
    _, address = parties.server()
    client = manual.client(address, 1)
    for name, value in change.items():
        setattr(client.subscription.message, name, value)
    with refused_with(Reason.WRONG_TASK):
        client.join()


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
    assert (code, "error: 'client-1' is here already, as another process" in said) == (1, True), said
    parties.keyholder(address, 1)
    server.hear("key holder connected .*keyholder-1")
    code, said = parties.keyholder(address, 1, "--state", str(parties.folder / "elsewhere")).end()
    assert (code, "error: 'keyholder-1' is here already, as another process" in said) == (1, True), said


def test_one_ledger_serves_one_process(parties: Parties) -> None:
    server, address = parties.server()
    parties.keyholder(address, 1)
    server.hear("key holder connected")
    code, said = parties.keyholder(address, 1).end()
    assert code == 1
    assert "in use by another key holder" in said


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


def test_a_certificate_that_has_expired_starts_nobody(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
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
    add_client(parties.federation, "client-4", now=datetime.now(UTC))
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
