"""Settings of the dashboard."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.errors import SettingsError
from core.settings.common import InsecurePlaintext, PassphraseFile
from core.settings.setting import Bounds, Setting, Settings
from results.page import DEFAULT_LISTEN

SHORTEST_TOKEN = 16
OBSERVER = Path("runs/federation/observer")


@dataclass(frozen=True, kw_only=True)
class DashboardSettings(Settings):
    """What to show, and where."""

    runs: Annotated[Path, Setting("The folder of runs to show, which is where simulations put them.", "folder")] = Path(
        "runs"
    )
    server: Annotated[str | None, Setting("An aggregator to watch, as an observer.", "HOST:PORT")] = None
    listen: Annotated[str, Setting("Where the page is.", "HOST:PORT")] = DEFAULT_LISTEN
    identity: Annotated[
        Path,
        Setting("With --server: the folder of an observer, made by `python -m registrar add-observer`.", "folder"),
    ] = OBSERVER
    passphrase_file: PassphraseFile = None
    until_over: Annotated[
        float | None,
        Setting(
            "With --server: end this long after the run is over, or the aggregator gone for good, unless a page is "
            "open.",
            "seconds",
            Bounds(at_least=0, at_most=1_000_000),
        ),
    ] = None
    token: Annotated[
        str | None,
        Setting(
            "What a person must type to start or stop runs; without it that is allowed on this machine only.",
            variable="GROKFED_DASHBOARD_TOKEN",
        ),
    ] = None
    insecure_plaintext: InsecurePlaintext = False

    def __post_init__(self) -> None:
        super().__post_init__()
        host_and_port(self.listen)
        if self.server is None:
            self._refuse_what_watching_needs()
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise SettingsError(f"--token has {len(self.token)} characters; expected at least {SHORTEST_TOKEN}")

    def _refuse_what_watching_needs(self) -> None:
        if self.until_over is not None:
            raise SettingsError(
                f"--until-over is {self.until_over:g}, which only a watched aggregator has; add --server"
            )
        if self.identity != OBSERVER:
            raise SettingsError(
                f"--identity is {self.identity}, which is for watching an aggregator; add --server HOST:PORT"
            )
        if self.passphrase_file is not None:
            raise SettingsError(
                f"--passphrase-file is {self.passphrase_file}, which is for watching an aggregator; add --server "
                "HOST:PORT"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        return is_loopback(host_and_port(self.listen)[0])


def host_and_port(listen: str) -> tuple[str, int]:
    """Return the two parts of HOST:PORT. Raises SettingsError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--listen is {listen[:80]!r}; expected HOST:PORT, such as {DEFAULT_LISTEN}")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
