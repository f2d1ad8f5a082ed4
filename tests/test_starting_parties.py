"""Parties as their operators meet them: how they start, what they say, and how they end."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from manual_parties import ManualParties
from parties import SMALL_COHORTS, Parties, run_here
from recomputation import SPAM, check_every_model

from core.federated import evaluate_model, load_model
from core.identity.party import load_identity
from core.wire.dialing import AggregatorConnection
from server.store import Store


def model(parties: Parties) -> np.ndarray:
    return load_model(parties.folder / "out" / "model.npz", SPAM)


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
        (("--key-bits", "128", "--insecure-demo-keys", "--max-cohort", "900000000"), "expected 1 to 1000000 clients"),
        (
            ("--key-bits", "128", "--insecure-demo-keys", "--max-cohort", "1000000000000"),
            "expected 1 to 1000000 clients",
        ),
        (("--max-cohort", "1", "--min-cohort", "2"), "the minimum cohort is 2"),
        (("--min-cohort", "1"), "at least 2 are needed"),
        (("--scheme", "rot13"), "'rot13'"),
        (("--groups", "3"), "3 clients in 3 groups are 1 in the smallest, and the minimum cohort is 5"),
        ((), "has 3 clients, and the minimum cohort is 5; pass --min-cohort 3 here and to every client"),
        ((*SMALL_COHORTS, "--test", "no/such/mail"), "no/such/mail"),
        ((*SMALL_COHORTS, "--listen", "nowhere"), "nowhere"),
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


def test_a_party_cannot_play_another_role(parties: Parties, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run_here(capsys, "server", "--identity", parties.federation / "keyholder-1")
    assert code == 1
    assert "keyholder-1 is the folder of keyholder keyholder-1; expected a server's" in said


def test_a_run_survives_the_end_of_its_logs_reader(parties: Parties) -> None:
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
        identity = ("--identity", parties.federation / "server", *SMALL_COHORTS)
        code, said = parties.start("server", *identity, "--listen", address, "--state", parties.folder / "s").end()
    assert code == 1
    assert f"cannot listen on {address}" in said
    assert "Traceback" not in said


def test_a_party_refuses_small_keys_without_its_own_insecure_flag(parties: Parties, manual: ManualParties) -> None:
    _, address = parties.server("--clients", "2")
    holder = parties.start(
        "keyholder", "--identity", parties.federation / "keyholder-3", "--server", address,
        "--state", parties.folder / "k",
    )  # fmt: skip
    manual.holder(address, 1)
    other = manual.holder(address, 2, "need_key")  # two offers are enough: the third holder is not asked after them
    holder.hear("no key offered .*reason=bad_key .*256 bits can be broken")
    other.gate.let_go()
    manual.clients(address, 1)
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
    again.kill()


def test_an_aggregator_stopped_in_the_middle_of_a_round_shows_no_trace_back(
    parties: Parties, manual: ManualParties
) -> None:
    server, address = parties.server("--clients", "3")
    manual.holders(address)
    clients = manual.clients(address, 1, 2, 3)
    clients[0].commit()
    server.process.send_signal(signal.SIGINT)
    code, said = server.end()
    assert (code, said.splitlines()[-1]) == (130, "stopped")
    assert said.count("key holder disconnected") == 3
    assert "Traceback" not in said


def test_a_client_sends_nothing_in_clear_without_its_own_flag(parties: Parties, manual: ManualParties) -> None:
    parties.found(scheme="plain")
    _, address = parties.server("--clients", "2")
    manual.holders(address)
    manual.clients(address, 1)
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
        *SMALL_COHORTS,
    ).end()  # fmt: skip
    assert code == 1
    assert "unfinished run with" in said


def test_a_run_that_waits_for_too_many_clients_can_be_started_again_for_fewer(parties: Parties) -> None:
    server, address = parties.server("--clients", "7")
    again = parties.restart(server, address, "--clients", "6")
    assert "going on with the unfinished run" in "".join(again.said)
    again.kill()
    with closing(Store(parties.folder / "server")) as store:
        unfinished = store.unfinished_run()
    assert unfinished is not None
    assert unfinished.settings["rules"]["target"] == 6
    (record,) = parties.folder.glob("out*/run.json")
    assert json.loads(record.read_text())["clients"] == 6


# ------------------------------------------------------------------------------------------ without TLS

PLAINTEXT = "INSECURE: connections are not encrypted, and parties do not prove who they are"


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


def test_a_party_with_tls_and_one_without_never_talk(parties: Parties, manual: ManualParties) -> None:
    _, address = parties.server()
    code, said = parties.client(address, 1, "--insecure-plaintext", "--patience", "1").end()
    assert code == 1
    assert f"no answer from {address} for 1 seconds" in said
    assert manual.client(address, 1).join(), "with TLS it works"


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


def test_classify_asks_a_running_server_for_its_model(parties: Parties, manual: ManualParties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1", "--keep-serving", "--test", "generated")
    manual.holders(address)
    clients = [parties.client(address, number) for number in (1, 2)]
    server.hear("the model stays available")
    assert [client.end()[0] for client in clients] == [0, 0]
    message = parties.folder / "message.txt"
    message.write_text("Subject: hello\n\nsee you at the meeting")
    identity = ("--identity", parties.federation / "client-3")
    code, said = parties.start("client", "classify", *identity, "--server", address, message).end()
    assert code == 0, said
    assert "probability of spam" in said
    vector = manual.client(address, 1).model().vector
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


def test_health_and_reflection_are_served_to_members(parties: Parties, manual: ManualParties) -> None:
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
    attending, *_ = manual.holders(address)
    attending.gate.wait_for("need_key")
    assert parties.start(*holder).end() == (0, "healthy\n")


def test_health_of_a_server_that_is_not_there_is_one_sentence(parties: Parties) -> None:
    identity = ("--identity", parties.federation / "server")
    code, said = parties.start("server", "healthy", *identity, "--server", "127.0.0.1:9").end()
    assert code == 1
    assert said == "error: no aggregator of this federation answers at 127.0.0.1:9\n"
