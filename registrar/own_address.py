"""This machine's own address in the local network, for what other machines are to be told."""

from __future__ import annotations

import ipaddress
import socket

from core.errors import SettingsError

ELSEWHERE = ("192.0.2.1", 9)
"""An address that no machine has (RFC 5737); asking for the way to it sends nothing."""
NO_NETWORK = "no address of this machine in a local network was found"


def own_host() -> str:
    """Return the address from which this machine reaches others.

    Raises SettingsError for a machine without a network.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(ELSEWHERE)
            host = str(asking.getsockname()[0])
    except OSError as error:
        raise SettingsError(f"{NO_NETWORK} ({error.strerror}); pass --address HOST:PORT") from error
    address = ipaddress.ip_address(host)
    if address.is_loopback or address.is_unspecified:
        raise SettingsError(f"{NO_NETWORK} (only {host}); pass --address HOST:PORT")
    return host
