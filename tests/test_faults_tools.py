"""What breaks things does break them: the network, messages, calls, and the task whose result is known."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc
import numpy as np
import pytest

from core.federated import client_update, encoding_for, initial_model
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from faults.lossy import LossyNetwork, LostError
from faults.mutation import mutated, mutated_bytes
from faults.proxy import FaultyNetwork
from simulation.slot_task import OwnSlot, known, slot_task

# ------------------------------------------------------------------------------------------ the task


def test_a_client_adds_one_to_its_own_weight_whatever_the_model_is() -> None:
    task = slot_task(5)
    for model in (initial_model(task, 0), np.array([0.1, 0.2, 1 / 3, -7.0, 2.5])):
        update = client_update(task, model, OwnSlot(5, 3), np.random.default_rng(0))
        quantised = encoding_for(task, 5, 224, 8).quantise(update.delta)
        assert quantised.tolist() == [0, 0, 1 << 14, 0, 0]


def test_the_task_is_known_only_for_a_while() -> None:
    with known(slot_task(2)) as task:
        assert get_task("slots-2") is task
    with pytest.raises(Exception, match="no task 'slots-2'"):
        get_task("slots-2")


# ------------------------------------------------------------------------------------------ messages


def test_changed_messages_are_nearly_never_what_they_were() -> None:
    rng = random.Random(1)
    good = pb.SubmissionHeader(run="0123456789abcdef", round=1, attempt=1, length=5, sha256=bytes(range(32)))
    changed = [mutated(good, rng) for _ in range(500)]
    messages = [message for message in changed if message is not None]
    assert len(messages) > 300
    assert sum(message == good for message in messages) < 50
    assert {message.round for message in messages} >= {0, 2**32 - 1}


def test_changed_bytes_can_be_shorter_longer_and_of_the_same_length() -> None:
    rng = random.Random(1)
    lengths = {len(mutated_bytes(bytes(50), rng)) for _ in range(300)}
    assert min(lengths) < 50 < max(lengths)
    assert 50 in lengths


def test_a_message_without_fields_can_be_changed_too() -> None:
    rng = random.Random(3)
    assert pb.WatchRequest() in [mutated(pb.WatchRequest(), rng) for _ in range(20)]


# ------------------------------------------------------------------------------------------ calls


class Answered:
    """A call that was made."""

    def exception(self) -> None:
        return None


def test_lost_requests_are_never_made_and_lost_answers_always_are() -> None:
    network = LossyNetwork(0.5, "seed")
    made = heard = 0
    codes = set()

    def make(_details: object, _request: object) -> Answered:
        nonlocal made
        made += 1
        return Answered()

    for _ in range(200):
        try:
            network.intercept_unary_unary(make, None, None)
        except LostError as error:
            codes.add(error.code())
        else:
            heard += 1
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert made == 200 - network.requests
    assert heard == made - network.answers
    assert 60 < network.requests < 140
    assert 20 < network.answers < 80


# ------------------------------------------------------------------------------------------ the network


@contextmanager
def echo() -> Iterator[str]:
    """A server that says back what it hears, to one caller after the other."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while heard := connection.recv(1000):
                        connection.sendall(heard)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def network() -> Iterator[FaultyNetwork]:
    with echo() as target:
        network = FaultyNetwork(target)
        yield network
        network.close()


def connect(network: FaultyNetwork) -> socket.socket:
    host, _, port = network.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def test_a_healthy_network_brings_everything(network: FaultyNetwork) -> None:
    with connect(network) as line:
        line.sendall(b"hello")
        assert line.recv(100) == b"hello"


def test_a_network_that_falls_silent_holds_back_and_delivers_when_it_is_healed(network: FaultyNetwork) -> None:
    with connect(network) as line:
        line.sendall(b"before")
        assert line.recv(100) == b"before"
        network.stall()
        line.sendall(b"meanwhile")
        line.settimeout(0.1)
        with pytest.raises(TimeoutError):
            line.recv(100)
        network.heal()
        line.settimeout(5)
        assert line.recv(100) == b"meanwhile"


def test_a_network_that_is_cut_closes_what_is_open_and_lets_new_ones_in(network: FaultyNetwork) -> None:
    with connect(network) as line:
        line.sendall(b"x")
        assert line.recv(100) == b"x"
        network.cut()
        assert line.recv(100) == b""
    with connect(network) as line:
        line.sendall(b"again")
        assert line.recv(100) == b"again"


def test_a_slow_network_brings_a_limited_number_of_bytes_at_a_time(network: FaultyNetwork) -> None:
    network.slow(1000)
    with connect(network) as line:
        line.sendall(bytes(150))
        assert len(line.recv(1000)) <= 100
        network.slow(None)


def test_a_network_whose_target_is_gone_closes_the_connection() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    network = FaultyNetwork(f"127.0.0.1:{port}")
    with connect(network) as line:
        assert line.recv(100) == b""
    network.close()
