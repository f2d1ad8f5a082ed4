"""Proxies that the environment names: never for this machine, and said by name where a connection through one fails.

gRPC reads grpc_proxy, https_proxy and http_proxy, in this order and in lower case only, and sends even loopback through
them; of no_proxy it knows neither the capitals nor `*`. What it does not decide rightly is decided here.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


def proxy_variable(address: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the variable whose proxy a connection to `address` (host:port) goes through; None if it goes directly."""
    host = address.rpartition(":")[0].strip("[]").lower()
    if is_loopback(host) or _is_excepted(host, environment):
        return None
    return next((name for name in VARIABLES if environment.get(name)), None)


def channel_option(address: str) -> tuple[str, int]:
    """Return the option of a gRPC channel that says whether it may go through a proxy."""
    return ("grpc.enable_http_proxy", int(proxy_variable(address) is not None))


def advice(address: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return what to add to a sentence about a failed connection: a proxy variable that may be the cause."""
    host = address.rpartition(":")[0]
    if name := proxy_variable(address, environment):
        return f"; the connection goes through the proxy that {name} names, and no_proxy={host} would go around it"
    unread = next((name.upper() for name in VARIABLES if environment.get(name.upper())), None)
    if unread is not None and not is_loopback(host.strip("[]")) and not _is_excepted(host, environment):
        return f"; {unread} is set, of which only the form in lower case, {unread.lower()}, is read here"
    return ""


def is_loopback(host: str) -> bool:
    """Return whether a host's name or number means this very machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    return number.is_loopback or number.is_unspecified


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    given = ",".join(environment.get(name, "") for name in EXCEPTIONS)
    return any(_covers(entry.strip().lower(), host) for entry in given.replace(" ", ",").split(",") if entry.strip())


def _covers(entry: str, host: str) -> bool:
    """Return whether an entry of no_proxy covers the host: `*`.

    A name, a domain, a number or a network (10.0.0.0/8).
    """
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").removeprefix(".")
        return host == domain or host.endswith(f".{domain}")
