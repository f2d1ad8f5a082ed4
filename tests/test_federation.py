"""Parties started one by one, as people do it by hand: the whole way, refusals, and one client's own mail.

What happens when parties are killed is in test_faults.py.
"""

from __future__ import annotations

import signal
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from manual_parties import ManualClient, ManualParties, play
from parties import Parties, run_here
from recomputation import SPAM, check_every_model, plain_models
from refusals import refused_with
from templates import deal

from client.participant import Submission
from core.clock import today
from core.errors import Reason
from core.federated import evaluate_model, load_model
from core.identity import signing
from core.identity.party import load_identity
from core.protocol import Commitment, Signed, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import AggregatorConnection
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
    parties: Parties, hands: ManualParties, scheme: str, threshold: int, holders: int
) -> None:
    parties.found(holders=holders, threshold=threshold, scheme=scheme)
    server, address = parties.server("--clients", "2", "--rounds", "2")
    hands.holders(address)
    clients = hands.clients(address, 1, 2)
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


def test_without_a_target_a_run_begins_when_nobody_else_comes(parties: Parties, hands: ManualParties) -> None:
    parties.found(clients=4)
    _, address = parties.server("--rounds", "1", "--gather-seconds", "1")
    hands.holders(address)
    clients = hands.clients(address, 1, 2, 3, 4)
    play(clients)
    assert all(client.end().completed for client in clients)
    assert check_every_model(parties.database) == [[1, 2, 3, 4]]


def test_a_client_that_comes_late_is_taken_into_the_open_round(parties: Parties, hands: ManualParties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1")
    hands.holders(address)
    early = hands.clients(address, 1, 2)
    early[0].commit()
    late = hands.clients(address, 3)
    for client in (early[1], *late):
        client.commit()
    for client in (*early, *late):
        client.upload()
    assert all(client.end().completed for client in (*early, *late))
    assert server.end()[0] == 0
    assert check_every_model(parties.database) == [[1, 2, 3]]


# ------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def open_round(parties: Parties, hands: ManualParties) -> tuple[list[ManualClient], list[Submission]]:
    """Three clients of an open round, the first two of whom have committed; and their answers."""
    _, address = parties.server("--clients", "3", "--rounds", "1")
    hands.holders(address)
    clients = hands.clients(address, 1, 2, 3)
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
    parties: Parties, hands: ManualParties, change: dict[str, object]
) -> None:
    _, address = parties.server()
    client = hands.client(address, 1)
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
    parties: Parties, hands: ManualParties
) -> None:
    _, address = parties.server("--clients", "2", "--rounds", "1")
    hands.holders(address)
    victim, other = hands.client(address, 1), hands.client(address, 2)
    victim.join()
    revoke(parties.federation, "client-1")
    add_client(parties.federation, "client-4", now=datetime.now(UTC))
    other.join()
    with refused_with(Reason.REVOKED):
        victim.train()
    with refused_with(Reason.NO_MODEL):  # it is let in, and only the model is not there
        hands.client(address, 4).join().model(7)
    code, said = parties.client(address, 1).end()
    assert code == 1
    assert "error: client-1 was revoked by the registrar (roster version 3)" in said
    assert "Traceback" not in said


def test_expired_round_keys_are_passed_over_and_fresh_ones_taken_as_they_are_dealt(
    parties: Parties, hands: ManualParties
) -> None:
    federation = parties.found(keys=0)
    deal(federation, replace(parties.shape, keys=2), day=today() - 91)
    _, address = parties.server("--clients", "2", "--rounds", "1")
    for holder in hands.holders(address):
        holder.gate.wait_for("need_key")
    clients = hands.clients(address, 1, 2)
    deal(federation, replace(parties.shape, keys=1))
    description = clients[0].round()
    assert description.certificate.serial == 3


def test_a_run_whose_keys_are_all_used_up_says_how_to_deal_more(parties: Parties, hands: ManualParties) -> None:
    parties.found(keys=0)
    server, address = parties.server("--clients", "2", "--patience", "3")
    holders = hands.holders(address)
    code, said = server.end()
    assert code == 1
    assert (
        "error: the run failed: the key holders had no unused round key of the right kind in common within 3 " in said
    )
    assert "python -m registrar deal FEDERATION --scheme paillier --key-bits" in " ".join(said.split())
    assert "the run ended: " in str(holders[0].end())


# ------------------------------------------------------------------------------------------ started wrongly


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--mail PATH is needed"),
        (("--server", "127.0.0.1", "--mail", "generated"), "expected HOST:PORT"),
        (
            ("--server", "127.0.0.1:9", "--mail", "generated", "--patience", "1"),
            "no answer from 127.0.0.1:9 for 1 seconds",
        ),
        (("--server", "127.0.0.1:9", "--mail", "no/such/mail"), "no/such/mail"),
        (("--server", "127.0.0.1:9", "--mail", "generated", "--task", "chess"), "chess"),
        (("--mail", "generated", "--identity", "no/such/folder"), "there is no folder no/such/folder"),
        (("--mail", "generated", "--passphrase-file", "no/such/file"), "the passphrase cannot be read"),
    ],
)
def test_a_client_started_wrongly_says_what_is_wrong(
    parties: Parties, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = run_here(capsys, "client", "--identity", parties.federation / "client-1", *arguments)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--key-bits", "128", "--insecure-demo-keys", "--max-cohort", "900000000"), "at most 1000000"),
        (("--key-bits", "128", "--insecure-demo-keys", "--max-cohort", "1000000000000"), "at most 1000000"),
        (("--max-cohort", "1", "--min-cohort", "2"), "the minimum cohort is 2"),
        (("--min-cohort", "1"), "at least 2 are needed"),
        (("--scheme", "rot13"), "'rot13'"),
        (("--test", "no/such/mail"), "no/such/mail"),
        (("--listen", "nowhere"), "nowhere"),
        (("--identity", "no/such/folder"), "there is no folder no/such/folder"),
    ],
)
def test_an_aggregator_started_wrongly_says_what_is_wrong(
    parties: Parties, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    identity = ("--identity", parties.federation / "server")
    code, said = run_here(capsys, "server", *identity, "--state", parties.folder / "s", *arguments)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def test_nobody_plays_another_role(parties: Parties, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run_here(capsys, "server", "--identity", parties.federation / "keyholder-1")
    assert code == 1
    assert "keyholder-1 is the folder of keyholder keyholder-1; expected a server's" in said


def test_nobody_reading_the_log_any_more_ends_no_run(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1")
    assert server.process.stdout is not None
    server.process.stdout.close()
    parties.keyholders(address)
    clients = [parties.client(address, number) for number in (1, 2)]
    ends = [client.end() for client in clients]
    assert [code for code, _ in ends] == [0, 0], ends


def test_a_taken_port_is_one_sentence(parties: Parties) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        identity = ("--identity", parties.federation / "server")
        code, said = parties.start("server", *identity, "--listen", address, "--state", parties.folder / "s").end()
    assert code == 1
    assert f"cannot listen on {address}" in said
    assert "Traceback" not in said


def test_without_its_own_insecure_flag_nobody_works_with_small_keys(parties: Parties, hands: ManualParties) -> None:
    _, address = parties.server("--clients", "2")
    holder = parties.start(
        "keyholder", "--identity", parties.federation / "keyholder-3", "--server", address,
        "--state", parties.folder / "k",
    )  # fmt: skip
    holder.hear("no key offered .*reason=bad_key .*256 bits can be broken")
    hands.holder(address, 1)
    hands.holder(address, 2)
    hands.clients(address, 1)
    cautious = parties.start(
        "client", "--identity", parties.federation / "client-2", "--server", address, "--mail", "generated"
    )
    code, said = cautious.end()
    assert code == 1
    assert "256 bits can be broken" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_aggregator_says_so_and_goes_on_later(parties: Parties, number: signal.Signals) -> None:
    server, _ = parties.server("--rounds", "3")
    server.process.send_signal(number)
    code, said = server.end()
    assert code == 130
    assert said.endswith("stopped\n")
    assert "Traceback" not in said
    again, _ = parties.server("--rounds", "3")
    assert "going on with the unfinished run" in "".join(again.said)


def test_an_aggregator_stopped_in_the_middle_of_a_round_shows_no_trace_back(
    parties: Parties, hands: ManualParties
) -> None:
    server, address = parties.server("--clients", "3")
    hands.holders(address)
    clients = hands.clients(address, 1, 2, 3)
    clients[0].commit()
    server.process.send_signal(signal.SIGINT)
    code, said = server.end()
    assert (code, said.splitlines()[-1]) == (130, "stopped")
    assert said.count("key holder disconnected") == 3
    assert "Traceback" not in said


def test_a_client_sends_nothing_in_clear_without_its_own_flag(parties: Parties, hands: ManualParties) -> None:
    parties.found(scheme="plain")
    _, address = parties.server("--clients", "2")
    hands.holders(address)
    hands.clients(address, 1)
    code, said = parties.start(
        "client", "--identity", parties.federation / "client-2", "--server", address, "--mail", "generated"
    ).end()  # fmt: skip
    assert code == 1
    assert "encrypts nothing (scheme plain)" in said


@pytest.mark.parametrize("party", ["keyholder", "client"])
def test_no_party_starts_with_a_cohort_of_one_without_the_insecure_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], party: str
) -> None:
    own = ["--mail", "generated"] if party == "client" else ["--state", str(tmp_path)]
    code, said = run_here(capsys, party, "--server", "127.0.0.1:9", "--min-cohort", "1", *own)
    assert code == 1
    assert "at least 2 are needed" in said


def test_other_settings_do_not_go_on_with_an_unfinished_run(parties: Parties) -> None:
    server, _ = parties.server("--rounds", "3")
    server.kill()
    code, said = parties.start(
        "server", "--identity", parties.federation / "server", "--listen", "127.0.0.1:0",
        "--state", parties.folder / "server", "--rounds", "4", "--key-bits", "256", "--insecure-demo-keys",
    ).end()  # fmt: skip
    assert code == 1
    assert "unfinished run with" in said


# ------------------------------------------------------------------------------------------ without TLS

PLAINTEXT = "INSECURE: connections are not encrypted, and nobody on them proves who it is"


def test_without_tls_a_run_works_and_every_party_says_that_it_is_insecure(parties: Parties) -> None:
    parties.found(holders=1, threshold=1)
    parties.flags = ("--insecure-plaintext",)
    server, address = parties.server("--clients", "2", "--rounds", "1")
    others = [*parties.keyholders(address), *(parties.client(address, number) for number in (1, 2))]
    for party in (server, *others):
        code, said = party.end()
        assert code == 0, said
        assert PLAINTEXT in said.splitlines()
    assert check_every_model(parties.database) == [[1, 2]]


def test_a_party_with_tls_and_one_without_never_talk(parties: Parties, hands: ManualParties) -> None:
    _, address = parties.server()
    code, said = parties.client(address, 1, "--insecure-plaintext", "--patience", "1").end()
    assert code == 1
    assert f"no answer from {address} for 1 seconds" in said
    assert hands.client(address, 1).join(), "with TLS it works"


# ------------------------------------------------------------------------------------------ by hand


def write_class_folders(folder: Path) -> None:
    mails = SPAM.generate(5, 9)
    for place, mail in enumerate(mails[:200]):
        part = folder / ("spam" if mail.spam else "ham")
        part.mkdir(parents=True, exist_ok=True)
        (part / f"{place}.txt").write_text(mail.text)


def test_one_client_by_hand_on_its_own_mail_then_scores_a_message(parties: Parties) -> None:
    write_class_folders(parties.folder / "mail")
    server, address = parties.server("--clients", "3", "--rounds", "2")
    parties.keyholders(address)
    parties.client(address, 1)
    parties.client(address, 2)
    kept = parties.folder / "kept.npz"
    code, said = parties.client(address, 3, "--keep-model", str(kept), mail=parties.folder / "mail").end()
    assert code == 0, said
    assert "examples=200" in said
    assert server.end()[0] == 0
    assert np.array_equal(load_model(kept, SPAM), model(parties))
    spam = next(mail for mail in SPAM.generate(5, 9) if mail.spam)
    message = parties.folder / "message.txt"
    message.write_text(spam.text)
    code, said = parties.start("client", "classify", "--model", kept, message).end()
    assert code == 0, said
    assert "probability of spam" in said


def test_classify_asks_a_running_server_for_its_model(parties: Parties, hands: ManualParties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1", "--keep-serving", "--test", "generated")
    hands.holders(address)
    clients = [parties.client(address, number) for number in (1, 2)]
    server.hear("the model stays available")
    assert [client.end()[0] for client in clients] == [0, 0]
    message = parties.folder / "message.txt"
    message.write_text("Subject: hello\n\nsee you at the meeting")
    identity = ("--identity", parties.federation / "client-3")
    code, said = parties.start("client", "classify", *identity, "--server", address, message).end()
    assert code == 0, said
    assert "probability of spam" in said
    vector = hands.client(address, 1).model().vector
    assert np.array_equal(vector, model(parties))
    accuracy = float((parties.folder / "out" / "history.csv").read_text().splitlines()[1].split(",")[2])
    expected = evaluate_model(SPAM, vector, SPAM.prepare(SPAM.generate_test(0, 2))).accuracy
    assert accuracy == pytest.approx(expected, abs=1e-6)
    code, said = parties.client(address, 3).end()
    assert (code, "its data was not used" in said) == (0, True), said
    server.process.send_signal(signal.SIGINT)
    code, said = server.end()
    assert (code, "Traceback" in said) == (0, False), said


def test_a_model_that_has_learned_nothing_yet_scores_no_message(parties: Parties) -> None:
    _, address = parties.server()
    message = parties.folder / "message.txt"
    message.write_text("hello")
    identity = ("--identity", parties.federation / "client-1")
    code, said = parties.start("client", "classify", *identity, "--server", address, message).end()
    assert code == 1
    assert "has not completed a round yet" in said


# ------------------------------------------------------------------------------------------ for operators


def test_health_and_reflection_are_served_to_members(parties: Parties, hands: ManualParties) -> None:
    _, address = parties.server()
    identity = parties.federation / "client-1"
    with AggregatorConnection(address, 5, load_identity(identity)) as line:
        health = health_pb2_grpc.HealthStub(line.channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == serving
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = next(reflection_pb2_grpc.ServerReflectionStub(line.channel).ServerReflectionInfo(asked, timeout=5))
        names = {service.name for service in answer.list_services_response.service}
        assert {"grokfed.v1.Federation", "grokfed.v1.KeyHolding", "grokfed.v1.Observation"} <= names
    at = ("--server", address)
    assert parties.start("server", "healthy", "--identity", parties.federation / "server", *at).end()[0] == 0
    holder = ("keyholder", "healthy", "--identity", parties.federation / "keyholder-1", *at)
    code, said = parties.start(*holder).end()
    assert (code, said.startswith("error: ")) == (1, True)
    attending = hands.holder(address, 1)
    attending.gate.wait_for("need_key")
    assert parties.start(*holder).end() == (0, "healthy\n")


def test_health_of_a_server_that_is_not_there_is_one_sentence(parties: Parties) -> None:
    identity = ("--identity", parties.federation / "server")
    code, said = parties.start("server", "healthy", *identity, "--server", "127.0.0.1:9").end()
    assert code == 1
    assert said == "error: no aggregator of this federation answers at 127.0.0.1:9\n"
