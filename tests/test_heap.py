"""Freed memory goes back to the system before a party waits."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from parties import Parties

from core.heap import return_freed_memory
from core.identity.party import load_identity
from core.wire import dialing
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask
from core.wire.dialing import AggregatorConnection

PIECES, SIZE = 40_000, 1_000


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep less, and cannot be asked")
def test_what_was_freed_is_returned_even_below_what_is_still_used() -> None:
    pieces = [bytes(SIZE) for _ in range(PIECES)]
    used = pieces[::1000]
    del pieces
    before = resident()
    return_freed_memory()
    assert before - resident() > PIECES * SIZE / 2
    assert all(piece == bytes(SIZE) for piece in used)


def test_nothing_is_asked_of_a_library_that_cannot_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.heap._trim", None)
    return_freed_memory()


def test_a_party_returns_it_before_each_call(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(dialing, "return_freed_memory", lambda: done.append("returned"))

    def sent(*_: object) -> object:
        done.append("sent")
        return object()

    with AggregatorConnection("127.0.0.1:9", 1, load_identity(parties.federation / "client-1")) as connection:
        monkeypatch.setattr(connection, "_sent", sent)
        connection.carry(Ask("Commit", pb.CommitRequest()))
    assert done == ["returned", "sent"]
