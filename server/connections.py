"""Bounds on connections that have not yet made a call: a stranger's silent or slow sockets must not shut members out.

gRPC ends a handshake after HANDSHAKE_SECONDS. On Linux two more things hold, both on the sockets that gRPC has opened:
the kernel keeps a connection to itself until its first byte has come (TCP_DEFER_ACCEPT), so that a silent one costs no
memory here; and of the connections from one address that have made no call, only the youngest MOST_PENDING stay open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import resource
import socket
import sys
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import grpc
import structlog

HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 60.0
"""A connection without any open call is closed after this long; members keep a stream open."""
MOST_PENDING = 512
"""Connections from one address that have made no call yet. A whole class may sit behind one address."""
ROOM = 2 * MOST_PENDING
"""Connections that are allowed besides two for each member."""
MOST_STREAMS = 16
"""Calls at a time on one connection; those of the product have two or three."""
DEFER_SECONDS = 60
SWEEP_SECONDS = 0.5
IDLE_SWEEPS = 9
"""Sweeps that are left out after each one while at most MANY_FILES are open: connections cannot be too many then."""
MANY_FILES = MOST_PENDING // 2
OTHER_FILES = 256
"""Files kept free for the database, spooled updates and the log."""
LISTENING, ESTABLISHED = "0A", "01"
TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
Peer = tuple[str, int]

log = structlog.get_logger()


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS says "unlimited" and refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft > 0 else 1 << 16


def connection_options(open_files: int, members: int) -> tuple[tuple[str, int], ...]:
    """Return gRPC's options that bound connections, for a process that may hold `open_files` files."""
    most = min(2 * members + ROOM, max(64, open_files - OTHER_FILES))
    return (
        ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_SECONDS * 1000)),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.max_allowed_incoming_connections", most),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
    )


class Connection(NamedTuple):
    """One line of the kernel's table: the other end, and the socket's number there."""

    peer: Peer
    socket: str


class Connections:
    """Closes the oldest connections of an address that makes no calls.

    Does nothing where there is no /proc.

    Args:
        clock: seconds, from any beginning.

    Attributes:
        port: the local port whose connections are looked at.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.port = 0
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None
        self._calling: set[Peer] = set()
        self._since: dict[Connection, float] = {}

    def has_called(self, grpc_peer: str) -> None:
        """Note that a connection, as gRPC names it ("ipv4:192.0.2.1:4711"), has made a call as a member."""
        if (peer := peer_of(grpc_peer)) is not None:
            self._calling.add(peer)

    def sweep(self) -> int:
        """Close what is too much, and return how many connections that were."""
        now, found = self._clock(), set(connections(self.port, ESTABLISHED))
        self._calling &= {connection.peer for connection in found}
        self._since = {
            connection: self._since.get(connection, now) for connection in found if connection.peer not in self._calling
        }
        surplus = self._surplus()
        if surplus:
            shut_down(frozenset(connection.socket for connection in surplus))
            log.warning("too many connections without a call", closed=len(surplus), addresses=_addresses(surplus))
        return len(surplus)

    def _surplus(self) -> list[Connection]:
        by_address: dict[str, list[Connection]] = defaultdict(list)
        for connection in self._since:
            by_address[connection.peer[0]].append(connection)
        return [
            connection
            for pending in by_address.values()
            if len(pending) > MOST_PENDING
            for connection in sorted(pending, key=self._since.__getitem__)[:-MOST_PENDING]
        ]

    def watch_over(self, server: grpc.aio.Server, port: int) -> None:
        """Sweep twice a second while a server at this port is up."""
        self.port = port
        self._sweeping = asyncio.ensure_future(self._sweep_until_stopped(server))

    async def _sweep_until_stopped(self, server: grpc.aio.Server) -> None:
        idle = 0
        while await server.wait_for_termination(SWEEP_SECONDS):  # true if that time is over
            idle = 0 if _open_files() > MANY_FILES or idle >= IDLE_SWEEPS else idle + 1
            if not idle:
                self.sweep()


def _open_files() -> int:
    """Return how many files and sockets this process has open; 0 where there is no /proc."""
    try:
        with os.scandir("/proc/self/fd") as entries:
            return sum(1 for _ in entries)
    except OSError:
        return 0


def _addresses(surplus: list[Connection]) -> list[str]:
    return sorted({connection.peer[0] for connection in surplus})[:3]


def defer_accept(port: int) -> bool:
    """Have the kernel hold back connections to a port until they have sent a byte; return whether it does so."""
    if not hasattr(socket, "TCP_DEFER_ACCEPT"):
        return False
    listening = frozenset(connection.socket for connection in connections(port, LISTENING))
    done = False
    for copy in _copies(listening):
        copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        done = True
    return done


def shut_down(sockets: frozenset[str]) -> None:
    """Shut connections of this process down; gRPC, which holds them, sees them end and cleans up."""
    for copy in _copies(sockets):
        with suppress(OSError):  # it may have ended by itself
            copy.shutdown(socket.SHUT_RDWR)


def _copies(sockets: frozenset[str]) -> Iterator[socket.socket]:
    """Yield a copy of each of this process's sockets with these numbers; what is done to it holds for the original."""
    with suppress(FileNotFoundError):
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if str(descriptor.readlink()).removeprefix("socket:[").rstrip("]") in sockets:
                    with socket.socket(fileno=os.dup(int(descriptor.name))) as copy:
                        yield copy


def connections(port: int, state: str) -> Iterator[Connection]:
    """Yield the connections at a local port that the kernel lists in this state."""
    for table in TABLES:
        with suppress(FileNotFoundError):
            for line in table.read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == state and int(words[1].rpartition(":")[2], 16) == port:
                    yield Connection(_peer(words[2]), words[9])


def _peer(written: str) -> Peer:
    """Return what the kernel writes as "0100007F:1F90": an address as words of the machine's byte order, and a port."""
    address, _, port = written.partition(":")
    words = (int(address[start : start + 8], 16) for start in range(0, len(address), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return _plain(ipaddress.ip_address(packed)), int(port, 16)


def peer_of(grpc_peer: str) -> Peer | None:
    """Return the address and port in gRPC's name of a peer, such as "ipv6:[::1]:4711"; None if it has none."""
    kind, _, rest = urllib.parse.unquote(grpc_peer).partition(":")
    host, _, port = rest.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return None
    return _plain(ipaddress.ip_address(host.strip("[]").partition("%")[0])), int(port)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return one spelling for an IPv4 address, also where it is written as an IPv6 one."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
