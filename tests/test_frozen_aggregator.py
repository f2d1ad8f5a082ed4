"""An aggregator that is stopped where it is: connections stay open, and nothing on them is answered any more."""

from __future__ import annotations

import pytest
from parties import Parties

pytestmark = pytest.mark.slow

PATIENCE = ("--patience", "8")
TWICE = 16.0


@pytest.mark.parametrize("flags", [(), ("--insecure-plaintext",)])
def test_a_client_gives_up_after_its_patience(parties: Parties, flags: tuple[str, ...]) -> None:
    parties.flags = flags
    server, address = parties.server("--clients", "3")
    client = parties.client(address, 1, *PATIENCE)
    client.hear("joined")
    server.stop()
    assert client.ends_within(TWICE)
    code, said = client.end()
    assert code == 1
    assert f"no answer from {address} for 8 seconds" in said


def test_so_does_one_that_comes_later(parties: Parties) -> None:
    server, address = parties.server("--clients", "3")
    server.stop()
    client = parties.client(address, 1, *PATIENCE)
    assert client.ends_within(TWICE)
    assert f"no answer from {address} for 8 seconds" in client.end()[1]
