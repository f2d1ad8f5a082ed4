"""Parties started one by one, as people do it by hand: restarts, losses, refusals, and one client's own mail."""

from __future__ import annotations

import csv
import signal
import socket
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from parties import Parties

from client.connection import fetch_model
from client.participant import Enrolment, Participant, Submission
from core.errors import Reason, Refused
from core.federated import client_rng, client_update, encoding_for, evaluate_model, initial_model, next_model
from core.protocol import RoundDescription, digest
from core.secagg.encoding import CohortSum
from core.secagg.scheme import Policy
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import Line
from core.wire.messages import description_from_bytes, description_to_bytes, submission_header_to_wire
from core.wire.status import refusal_of
from core.wire.streams import pieces

SPAM = get_task("spam")
VALUES = len(initial_model(SPAM, 0))


def history(parties: Parties) -> list[dict[str, str]]:
    with (parties.folder / "out" / "history.csv").open() as file:
        return list(csv.DictReader(file))


def model(parties: Parties) -> np.ndarray:
    with np.load(parties.folder / "out" / "model.npz") as arrays:
        return np.concatenate([arrays[name].reshape(-1) for name in arrays.files])


def plain_recomputation(clients: list[int], rounds: int, seed: int = 0, count_cap: int = 0) -> np.ndarray:
    """What the federation must arrive at, computed in this process without any server or ciphertext."""
    vector = initial_model(SPAM, seed)
    encoding = encoding_for(SPAM, VALUES, plaintext_bits=224, max_cohort=64)
    for number in range(1, rounds + 1):
        total, count = np.zeros(VALUES), 0.0
        for client in clients:
            data = SPAM.prepare(SPAM.generate(seed, client))
            update = client_update(SPAM, vector, data, client_rng(seed, number, client))
            share = min(len(data), count_cap) / count_cap if count_cap else 1.0
            total += np.ldexp(encoding.quantise(update.delta * share).astype(float), -encoding.fraction_bits)
            count += share
        vector = next_model(vector, CohortSum(len(clients), total, 0, 0.0, 0, count))
    return vector


class HandClient:
    """A client that does one thing at a time, when the test says so."""

    def __init__(self, address: str, number: int) -> None:
        self.line = Line(address, patience=20)
        self.stub = rpc.FederationStub(self.line.channel)
        self.participant = Participant(
            f"client-{number}",
            SPAM,
            Policy(insecure_demo_keys=True),
            lambda e: SPAM.prepare(SPAM.generate(e.seed, e.number)),
        )
        self.request = pb.JoinRequest(
            client=self.participant.name,
            task="spam",
            task_digest=self.participant.task_digest,
            number=number,
            instance=b"x" * 16,
        )
        self.notices = iter(())  # type: ignore[var-annotated]

    def join(self) -> pb.Welcome:
        self.notices = self.stub.Join(self.request, timeout=60)
        welcome = next(self.notices).welcome
        self.participant.enrolled(Enrolment(welcome.run, welcome.number, welcome.seed, welcome.rounds))
        return welcome

    def next_round(self) -> tuple[RoundDescription, Submission]:
        opened = next(self.notices).round_opened
        assert opened.description, "expected a round to be opened"
        description = description_from_bytes(opened.description)
        _, vector = fetch_model(self.line, VALUES, description.id.round - 1)
        return description, self.participant.answer(description, opened.description, vector)

    def submit(self, submission: Submission) -> pb.Receipt:
        def requests():  # type: ignore[no-untyped-def]
            yield pb.SubmitRequest(header=submission_header_to_wire(submission.header))
            for piece in pieces(submission.payload):
                yield pb.SubmitRequest(data=piece)

        return self.line.call(lambda: self.stub.Submit(requests(), timeout=30))

    def close(self) -> None:
        self.line.channel.close()


@pytest.fixture
def hands():  # type: ignore[no-untyped-def]
    """Make hand-driven clients that are closed after the test."""
    made: list[HandClient] = []

    def make(address: str, number: int) -> HandClient:
        made.append(HandClient(address, number))
        return made[-1]

    yield make
    for client in made:
        client.close()


# ------------------------------------------------------------------------------------------ the whole way


def test_separate_processes_arrive_at_exactly_the_model_of_a_plain_recomputation(parties: Parties) -> None:
    server, address = parties.server("--clients", "3", "--rounds", "2")
    parties.keyholder(address)
    for number in (1, 2, 3):
        parties.client(address, number)
    code, said = server.end()
    assert code == 0, said
    assert np.array_equal(model(parties), plain_recomputation([1, 2, 3], rounds=2))


def test_clients_that_count_by_their_examples_arrive_at_the_model_of_a_plain_recomputation(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "2", "--count-cap", "400")
    parties.keyholder(address)
    for number in (1, 2):
        parties.client(address, number)
    code, said = server.end()
    assert code == 0, said
    assert np.array_equal(model(parties), plain_recomputation([1, 2], rounds=2, count_cap=400))


def test_without_a_target_a_run_begins_when_nobody_else_comes(parties: Parties) -> None:
    server, address = parties.server("--rounds", "1", "--gather-seconds", "3")
    parties.keyholder(address)
    for number in (1, 2, 3, 4):
        parties.client(address, number)
    assert server.end()[0] == 0
    assert history(parties)[0]["contributors"] == "4"


# ------------------------------------------------------------------------------------------ restarts and losses


def test_killed_in_the_middle_of_a_round_the_aggregator_goes_on_and_loses_nothing(parties: Parties, hands) -> None:  # type: ignore[no-untyped-def]
    server, address = parties.server("--clients", "3", "--rounds", "1")
    parties.keyholder(address)
    clients = [hands(address, number) for number in (1, 2, 3)]
    for client in clients:
        client.join()
    submissions = [client.next_round()[1] for client in clients]
    receipts = [client.submit(submission) for client, submission in zip(clients[:2], submissions[:2], strict=True)]
    assert [receipt.repeated for receipt in receipts] == [False, False]

    server.kill()
    server, again = parties.server("--clients", "3", "--rounds", "1", port=int(address.rpartition(":")[2]))
    assert again == address
    receipt = clients[0].submit(submissions[0])
    assert receipt.repeated, "the first acknowledged update is still there"
    assert receipt.sha256 == submissions[0].header.digest
    clients[2].submit(submissions[2])

    code, said = server.end()
    assert code == 0, said
    assert history(parties)[0]["contributors"] == "3"
    assert np.array_equal(model(parties), plain_recomputation([1, 2, 3], rounds=1))


def test_real_clients_and_holder_outlive_a_killed_aggregator(parties: Parties) -> None:
    server, address = parties.server("--clients", "3", "--rounds", "6")
    parties.keyholder(address)
    for number in (1, 2, 3):
        parties.client(address, number)
    server.hear(r"update .*round=3")
    server.kill()
    server, _ = parties.server("--clients", "3", "--rounds", "6", port=int(address.rpartition(":")[2]))
    code, said = server.end()
    assert code == 0, said
    assert "going on with the unfinished run" in "".join(server.said)
    assert [row["contributors"] for row in history(parties)] == ["3"] * 6
    assert np.array_equal(model(parties), plain_recomputation([1, 2, 3], rounds=6))


def test_a_client_killed_in_the_middle_of_a_round_is_not_waited_for_after_the_deadline(parties: Parties, hands) -> None:  # type: ignore[no-untyped-def]
    server, address = parties.server("--clients", "3", "--rounds", "1", "--round-seconds", "2")
    parties.keyholder(address)
    clients = [hands(address, number) for number in (1, 2, 3)]
    for client in clients:
        client.join()
    submissions = [client.next_round()[1] for client in clients]
    clients[2].close()
    for client, submission in zip(clients[:2], submissions[:2], strict=True):
        client.submit(submission)
    assert server.end()[0] == 0
    assert history(parties)[0]["contributors"] == "2"
    assert np.array_equal(model(parties), plain_recomputation([1, 2], rounds=1))


def test_under_the_minimum_cohort_the_round_is_abandoned_and_tried_again_with_a_fresh_key(
    parties: Parties, hands
) -> None:  # type: ignore[no-untyped-def]
    server, address = parties.server("--clients", "2", "--rounds", "1", "--round-seconds", "1", "--patience", "3")
    parties.keyholder(address)
    clients = [hands(address, number) for number in (1, 2)]
    for client in clients:
        client.join()
    first, submission = clients[0].next_round()
    clients[0].submit(submission)
    closed = next(clients[0].notices).round_closed
    assert not closed.completed
    assert "1 updates came before the deadline, 2 are needed" in closed.sentence
    second, _ = clients[0].next_round()
    assert (second.id.round, second.id.attempt) == (1, 2)
    assert second.key != first.key
    for client in clients:
        client.close()
    code, said = server.end()
    assert code == 1
    assert "error: the run failed: " in said
    assert "Traceback" not in said


def test_a_key_holder_that_lost_its_key_costs_one_attempt_and_no_update_is_mixed_up(parties: Parties, hands) -> None:  # type: ignore[no-untyped-def]
    server, address = parties.server("--clients", "2", "--rounds", "1")
    holder = parties.keyholder(address)
    clients = [hands(address, number) for number in (1, 2)]
    for client in clients:
        client.join()
    clients[0].submit(clients[0].next_round()[1])
    clients[1].next_round()
    holder.kill()
    parties.keyholder(address)
    for client in clients:
        assert "without the round's key" in next(client.notices).round_closed.sentence
    for client in clients:
        description, submission = client.next_round()
        assert description.id.attempt == 2
        client.submit(submission)
    assert server.end()[0] == 0
    assert np.array_equal(model(parties), plain_recomputation([1, 2], rounds=1))


# ------------------------------------------------------------------------------------------ what is refused


@pytest.fixture
def open_round(parties: Parties, hands):  # type: ignore[no-untyped-def]
    """A server with a round open for three clients, and the first client's honest answer."""
    _, address = parties.server("--clients", "3", "--rounds", "1")
    parties.keyholder(address)
    clients = [hands(address, number) for number in (1, 2, 3)]
    for client in clients:
        client.join()
    description, submission = clients[0].next_round()
    return clients[0], description, submission


def altered(submission: Submission, payload: bytes | None = None, **changes: object) -> Submission:
    if payload is not None:
        changes |= {"length": len(payload), "digest": digest(payload)}
    return Submission(replace(submission.header, **changes), payload or submission.payload)


def test_updates_that_do_not_fit_the_round_are_refused_by_name(open_round) -> None:  # type: ignore[no-untyped-def]
    client, description, honest = open_round
    raw_description = description_to_bytes(description)
    one = (1).to_bytes(description.key.bits // 4, "big")
    other_attempt = replace(description.id, attempt=2)
    refusals = {
        Reason.NOT_ENROLLED: altered(honest, client="stranger"),
        Reason.ROUND_NOT_OPEN: altered(honest, id=other_attempt),
        Reason.WRONG_DESCRIPTION: altered(honest, description_digest=digest(b"another")),
        Reason.WRONG_LENGTH: altered(honest, payload=honest.payload + b"\0"),
        Reason.WRONG_DIGEST: altered(honest, digest=digest(b"another")),
        Reason.BAD_CIPHERTEXT: altered(honest, payload=one + honest.payload[len(one) :]),
        Reason.MALFORMED: altered(honest, client="no such name!"),
    }
    for reason, submission in refusals.items():
        with pytest.raises(Refused) as caught:
            client.submit(submission)
        assert caught.value.reason is reason
    assert not client.submit(honest).repeated
    assert client.submit(honest).repeated
    client.participant._last = None  # as after a restart of the client: the same update, encrypted anew
    with pytest.raises(Refused) as caught:
        client.submit(client.participant.answer(description, raw_description, initial_model(SPAM, 0)))
    assert caught.value.reason is Reason.DUPLICATE


def test_an_endless_upload_is_cut_off(open_round) -> None:  # type: ignore[no-untyped-def]
    client, _, honest = open_round

    def requests():  # type: ignore[no-untyped-def]
        yield pb.SubmitRequest(header=submission_header_to_wire(honest.header))
        while True:
            yield pb.SubmitRequest(data=bytes(1 << 16))

    with pytest.raises(grpc.RpcError) as caught:
        client.stub.Submit(requests(), timeout=20)
    refusal = refusal_of(caught.value)
    assert refusal is not None
    assert refusal.reason is Reason.WRONG_LENGTH


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "chess"}, Reason.WRONG_TASK),
        ({"task_digest": b"another version"}, Reason.WRONG_TASK),
        ({"client": "a b"}, Reason.MALFORMED),
        ({"client": "another"}, Reason.NUMBER_TAKEN),
        ({"instance": b"y" * 16}, Reason.NAME_TAKEN),
        ({"client": "another", "number": 65}, Reason.FEDERATION_FULL),
    ],
)
def test_clients_that_do_not_fit_are_refused_by_name(
    parties: Parties, hands, change: dict[str, object], reason: Reason
) -> None:  # type: ignore[no-untyped-def]
    _, address = parties.server()
    hands(address, 1).join()
    second = hands(address, 1)
    for name, value in change.items():
        setattr(second.request, name, value)
    with pytest.raises(grpc.RpcError) as caught:
        second.join()
    refusal = refusal_of(caught.value)
    assert refusal is not None
    assert refusal.reason is reason


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--mail", "generated"), "--server HOST:PORT and --mail PATH are needed"),
        (("--server", "127.0.0.1", "--mail", "generated"), "expected HOST:PORT"),
        (
            ("--server", "127.0.0.1:9", "--mail", "generated", "--patience", "1"),
            "no answer from 127.0.0.1:9 for 1 seconds",
        ),
        (("--server", "127.0.0.1:9", "--mail", "no/such/mail"), "no/such/mail"),
        (("--server", "127.0.0.1:9", "--mail", "generated", "--task", "chess"), "chess"),
    ],
)
def test_a_client_started_wrongly_says_what_is_wrong(
    parties: Parties, arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = parties.start("client", *arguments).end()
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
    ],
)
def test_an_aggregator_started_wrongly_says_what_is_wrong(
    parties: Parties, arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = parties.start("server", "--state", parties.folder / "s", *arguments).end()
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def test_nobody_reading_the_log_any_more_ends_no_run(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1")
    server.hear("INSECURE")
    assert server.process.stdout is not None
    server.process.stdout.close()
    parties.keyholder(address)
    clients = [parties.client(address, number) for number in (1, 2)]
    ends = [client.end() for client in clients]
    assert [code for code, _ in ends] == [0, 0], ends


def test_a_taken_port_is_one_sentence(parties: Parties) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = parties.start("server", "--listen", address, "--state", parties.folder / "s").end()
    assert code == 1
    assert f"cannot listen on {address}" in said
    assert "Traceback" not in said


def test_without_its_own_insecure_flag_nobody_works_with_small_keys(parties: Parties) -> None:
    _, address = parties.server("--clients", "2")
    code, said = parties.start("keyholder", "--server", address, "--state", parties.folder / "k").end()
    assert code == 1
    assert "256 bits can be broken" in said
    parties.keyholder(address)
    parties.client(address, 1)
    cautious = parties.start(
        "client", "--server", address, "--mail", "generated", "--name", "cautious", "--number", "2"
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


def test_a_client_sends_nothing_in_clear_without_its_own_flag(parties: Parties) -> None:
    _, address = parties.server("--clients", "2", "--scheme", "plain")
    parties.keyholder(address, "--allow-plain")
    parties.client(address, 1, "--allow-plain")
    code, said = parties.client(address, 2).end()
    assert code == 1
    assert "encrypts nothing (scheme plain)" in said


@pytest.mark.parametrize("party", ["keyholder", "client"])
def test_no_party_starts_with_a_cohort_of_one_without_the_insecure_flag(parties: Parties, party: str) -> None:
    own = ["--mail", "generated"] if party == "client" else ["--state", str(parties.folder)]
    code, said = parties.start(party, "--server", "127.0.0.1:9", "--min-cohort", "1", *own).end()
    assert code == 1
    assert "at least 2 are needed" in said


def test_other_settings_do_not_go_on_with_an_unfinished_run(parties: Parties) -> None:
    server, _ = parties.server("--rounds", "3")
    server.kill()
    code, said = parties.start(
        "server", "--listen", "127.0.0.1:0", "--state", parties.folder / "server", "--rounds", "4",
        "--key-bits", "256", "--insecure-demo-keys",
    ).end()  # fmt: skip
    assert code == 1
    assert "unfinished run with" in said


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
    parties.keyholder(address)
    parties.client(address, 1)
    parties.client(address, 2)
    kept = parties.folder / "kept.npz"
    code, said = parties.client(address, 3, "--keep-model", str(kept), mail=parties.folder / "mail").end()
    assert code == 0, said
    assert "examples=200" in said
    assert server.end()[0] == 0
    with np.load(kept) as arrays:
        flat = np.concatenate([arrays[name].reshape(-1) for name in arrays.files])
    assert np.array_equal(flat, model(parties))
    spam = next(mail for mail in SPAM.generate(5, 9) if mail.spam)
    message = parties.folder / "message.txt"
    message.write_text(spam.text)
    code, said = parties.start("client", "classify", "--model", kept, message).end()
    assert code == 0, said
    assert "probability of spam" in said


def test_classify_asks_a_running_server_for_its_model(parties: Parties) -> None:
    server, address = parties.server("--clients", "2", "--rounds", "1", "--keep-serving", "--test", "generated")
    parties.keyholder(address)
    for number in (1, 2):
        parties.client(address, number)
    server.hear("the model stays available")
    message = parties.folder / "message.txt"
    message.write_text("Subject: hello\n\nsee you at the meeting")
    code, said = parties.start("client", "classify", "--server", address, message).end()
    assert code == 0, said
    assert "probability of spam" in said
    with Line(address, patience=5) as line:
        _, vector = fetch_model(line, VALUES)
    assert np.array_equal(vector, model(parties))
    assert evaluate_model(SPAM, vector, SPAM.prepare(SPAM.generate_test(0, 2))).accuracy == pytest.approx(
        float(history(parties)[0]["accuracy"]), abs=1e-6
    )
    code, said = parties.client(address, 3).end()
    assert (code, "its mail was not used" in said) == (0, True)
    server.process.send_signal(signal.SIGINT)
    code, said = server.end()
    assert (code, "Traceback" in said) == (0, False), said


def test_a_model_that_has_learned_nothing_yet_scores_no_message(parties: Parties) -> None:
    _, address = parties.server()
    message = parties.folder / "message.txt"
    message.write_text("hello")
    code, said = parties.start("client", "classify", "--server", address, message).end()
    assert code == 1
    assert "has not completed a round yet" in said


# ------------------------------------------------------------------------------------------ for operators


def test_health_and_reflection_are_served(parties: Parties) -> None:
    _, address = parties.server()
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving, absent = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == serving
        holder = health_pb2.HealthCheckRequest(service="grokfed.v1.KeyHolding")
        assert health.Check(holder, timeout=5).status == absent
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answer = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=5))
        names = {service.name for service in answer.list_services_response.service}
        assert {"grokfed.v1.Federation", "grokfed.v1.KeyHolding", "grokfed.v1.Observation"} <= names
    assert parties.start("server", "healthy", "--server", address).end()[0] == 0
    code, said = parties.start("server", "healthy", "--server", address, "--key-holder").end()
    assert (code, "not ready" in said) == (1, True)


def test_health_of_a_server_that_is_not_there_is_one_sentence(parties: Parties) -> None:
    code, said = parties.start("server", "healthy", "--server", "127.0.0.1:9").end()
    assert code == 1
    assert said == "error: no aggregator answers at 127.0.0.1:9\n"
