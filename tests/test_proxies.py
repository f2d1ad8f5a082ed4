"""Proxies that the environment names: loopback goes through none, and a connection that fails names the variable."""

from __future__ import annotations

import pytest
from parties import Parties

from core.wire.proxies import advice, is_loopback, proxy_variable
from simulation.program import ENVIRONMENT

pytestmark = pytest.mark.slow

UNUSED = "http://127.0.0.1:9"
"""A proxy that does not answer."""
OUTSIDE = "aggregator.example:50551"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "here.localhost", "::1", "0.0.0.0"])  # noqa: S104
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "example.org", "localhost.example.org", "128.0.0.1"])
def test_other_machines_are_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("name", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_proxy_is_for_other_machines(name: str) -> None:
    assert proxy_variable(OUTSIDE, {name: UNUSED}) == name
    assert proxy_variable("127.0.0.1:50551", {name: UNUSED}) is None
    assert proxy_variable("[::1]:50551", {name: UNUSED}) is None


@pytest.mark.parametrize(
    ("address", "exceptions"),
    [
        (OUTSIDE, "*"),
        (OUTSIDE, "aggregator.example"),
        (OUTSIDE, ".example"),
        (OUTSIDE, "elsewhere, example"),
        ("10.1.2.3:1", "10.0.0.0/8"),
        ("10.1.2.3:1", "10.1.2.3"),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
def test_exceptions_hold_however_they_are_spelled(name: str, address: str, exceptions: str) -> None:
    assert proxy_variable(address, {"http_proxy": UNUSED, name: exceptions}) is None


@pytest.mark.parametrize("exceptions", ["", ",", "other.example", "gregator.example", "10.0.0.0/8"])
def test_what_is_not_excepted_goes_through_the_proxy(exceptions: str) -> None:
    assert proxy_variable(OUTSIDE, {"http_proxy": UNUSED, "no_proxy": exceptions}) == "http_proxy"


def test_the_advice_names_the_variable_and_never_the_proxy() -> None:
    """A proxy's address may hold a password."""
    environment = {"https_proxy": "http://name:secret@127.0.0.1:9"}
    said = advice(OUTSIDE, environment)
    assert "https_proxy" in said
    assert "no_proxy=aggregator.example" in said
    assert "secret" not in said


def test_a_variable_in_capitals_is_named_too() -> None:
    assert "HTTPS_PROXY" in advice(OUTSIDE, {"HTTPS_PROXY": UNUSED})
    assert advice("127.0.0.1:1", {"HTTPS_PROXY": UNUSED}) == ""
    assert advice(OUTSIDE, {}) == ""


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "grpc_proxy"])
def test_a_client_reaches_an_aggregator_on_this_machine_whatever_proxy_is_set(
    parties: Parties, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _, address = parties.server("--clients", "3")
    without_exceptions(monkeypatch, name)
    parties.client(address, 1).hear("joined")


def test_an_outside_address_that_fails_names_the_variable(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    without_exceptions(monkeypatch, "https_proxy")
    client = parties.client("192.0.2.1:50551", 1)
    assert client.ends_within(25), "it does not wait for all of its patience when no proxy lets it through"
    code, said = client.end()
    assert code == 1
    assert "the connection goes through the proxy that https_proxy names, and no_proxy=192.0.2.1" in said


def without_exceptions(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for key in [key for key in ENVIRONMENT if "proxy" in key.lower()]:
        monkeypatch.delitem(ENVIRONMENT, key)
    monkeypatch.setitem(ENVIRONMENT, name, UNUSED)
