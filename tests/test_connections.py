"""Connections without a call: silent ones stay in the kernel, of slow ones only the youngest stay open."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from in_process import Start

from server import connections
from server.connections import (
    ESTABLISHED,
    MANY_FILES,
    Connections,
    connection_options,
    defer_accept,
    peer_of,
    raise_file_limit,
)
from server.service import listen

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("ipv4:192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("ipv6:[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("ipv6:%5B::1%5D:50551", ("::1", 50551)),
        ("ipv6:[::ffff:192.0.2.1]:4711", ("192.0.2.1", 4711)),
        ("ipv6:[fe80::1%25eth0]:7", ("fe80::1", 7)),
        ("unix:/run/socket", None),
        ("in process", None),
        ("", None),
    ],
)
def test_grpcs_names_of_peers_are_read(named: str, expected: tuple[str, int] | None) -> None:
    assert peer_of(named) == expected


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernels_table_names_the_other_end_of_each_connection(family: socket.AddressFamily) -> None:
    host = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]
    with socket.create_server((host, 0), family=family) as server, ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(server.getsockname()[:2]))
        stack.enter_context(server.accept()[0])
        peers = [found.peer for found in connections.connections(port_of(server), ESTABLISHED)]
        assert peers == [(host, client.getsockname()[1])]


@linux
def test_of_connections_without_a_call_the_oldest_are_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_PENDING", 3)
    now = [0.0]
    pending = Connections(lambda: now[0])
    pending.port = port_of(listening)
    with ExitStack() as stack:
        clients = []
        for number in range(5):
            clients.append(stack.enter_context(socket.create_connection(listening.getsockname(), timeout=5)))
            stack.enter_context(listening.accept()[0])
            now[0] = float(number)
            closed = pending.sweep()
            assert closed == (1 if number >= 3 else 0)
        assert [client.recv(1) for client in clients[:2]] == [b"", b""]
        for client in clients[2:]:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


@linux
def test_connections_of_members_that_have_called_do_not_count(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_PENDING", 0)
    pending = Connections(lambda: 0.0)
    pending.port = port_of(listening)
    with socket.create_connection(listening.getsockname()) as client, listening.accept()[0]:
        pending.has_called(f"ipv4:127.0.0.1:{client.getsockname()[1]}")
        assert pending.sweep() == 0
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


@linux
def test_a_silent_connection_is_not_accepted_before_its_first_byte(listening: socket.socket) -> None:
    assert defer_accept(port_of(listening))
    with socket.create_connection(listening.getsockname()) as client:
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
        client.sendall(b"x")
        listening.settimeout(5)
        listening.accept()[0].close()


@linux
async def test_the_aggregators_port_holds_back_silent_connections(start: Start) -> None:
    federation = await start(gather=False)
    server, port = await listen(federation.run, "127.0.0.1:0")
    try:
        with socket.create_connection(("127.0.0.1", port)):
            await asyncio.sleep(0)
            assert list(connections.connections(port, ESTABLISHED)) == []
    finally:
        await server.stop(None)


def test_the_limit_of_open_files_is_raised_and_bounds_connections() -> None:
    import resource

    raised = raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
    few, many = dict(connection_options(600, members=1000)), dict(connection_options(100_000, members=1000))
    assert few["grpc.max_allowed_incoming_connections"] == 344
    assert many["grpc.max_allowed_incoming_connections"] == 3024
    assert many["grpc.server_handshake_timeout_ms"] == 5000


@pytest.mark.parametrize(("files", "swept"), [(MANY_FILES, 2), (MANY_FILES + 1, 20)])
async def test_where_few_files_are_open_only_each_tenth_sweep_is_made(
    monkeypatch: pytest.MonkeyPatch, files: int, swept: int
) -> None:
    monkeypatch.setattr(connections, "_open_files", lambda: files)
    pending, sweeps = Connections(lambda: 0.0), []
    monkeypatch.setattr(pending, "sweep", lambda: sweeps.append(None))
    pauses = iter([True] * 20)

    async def over(_seconds: float) -> bool:
        return next(pauses, False)

    await pending._sweep_until_stopped(SimpleNamespace(wait_for_termination=over))  # type: ignore[arg-type]
    assert len(sweeps) == swept


@linux
def test_open_files_are_counted() -> None:
    before = connections._open_files()
    with Path("/dev/null").open() as _:
        assert connections._open_files() == before + 1
