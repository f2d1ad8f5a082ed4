"""Parties by the very commands of the Kubernetes manifests; only folders, numbers and the size of keys are others."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from cluster import Cluster
from parties import Parties
from test_deploy import pod_of

from simulation.program import Program


def ended(program: Program) -> str:
    """Wait for a program that is to end well, and return what it said."""
    code, said = program.end()
    assert code == 0, said
    return said


class Deployed:
    """The parties of a federation as their pods start them: on loopback, or each in a pod of a cluster.

    Args:
        roles: the overlay of each party, by the party's name.

    Attributes:
        address: where the aggregator is, if not where the manifests say.
    """

    def __init__(self, parties: Parties, roles: Mapping[str, str], cluster: Cluster | None = None) -> None:
        self.roles = roles
        self.address = ""
        self._parties, self._cluster = parties, cluster

    def volume(self, name: str) -> Path:
        """The folder that stands for the volume of a party's pod."""
        return self._parties.folder / name

    def here(self, name: str, words: list[str]) -> list[str]:
        """Return a command of a manifest as it runs here: what is mounted is in folders; loopback has its own ports."""
        data = self.volume(name)
        places = {
            "/run/secrets/grokfed_passphrase": f"{data}.passphrase",
            "/run/invitation/party": str(data),
            "/data": str(data),
        }
        mounted = re.compile("|".join(map(re.escape, places)))
        moved = [mounted.sub(lambda found: places[found[0]], word) for word in words]
        return moved if self._cluster else [re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", word) for word in moved]

    def run(self, name: str, words: list[str], *more: str) -> Program:
        """Start a command of a manifest in the party's pod."""
        within = self._cluster.air.command(name) if self._cluster else ()
        return self._parties.start(*self.here(name, words), *more, within=within)

    def make_federation(self, *more: str) -> Path:
        """Make a federation whose parties are invited, and hand out invitations and passphrases as secrets would be."""
        federation = self.volume("registrar") / "federation"
        ended(self._parties.start("registrar", "init", federation, "--invite", *more))
        for name in self.roles:
            self.volume(name).mkdir()
            (self._parties.folder / f"{name}.passphrase").write_text(secrets.token_urlsafe(24))
            (federation / "invitations" / f"{name}.invitation").rename(self._parties.folder / f"{name}.invitation")
        return federation

    def enrol_everyone(self, federation: Path) -> None:
        """Let all enrol at the registrar's service, and give key holders their round keys."""
        service = pod_of("registrar")["containers"][0]["args"]
        assert service[:2] == ["registrar", "serve"]
        registrar = self.run("registrar", service)
        address = registrar.hear(r"listening on (\S+)").group(1)
        at = () if self._cluster else (f"--registrar={address}",)
        newcomers = [
            self.run(name, pod_of(role)["initContainers"][0]["args"], *at) for name, role in self.roles.items()
        ]
        for newcomer in newcomers:
            ended(newcomer)
        registrar.close()
        small = ("--key-bits=256", "--insecure-demo-keys")
        ended(self._parties.start("registrar", "deal", federation, "--keys=2", *small))
        for name, role in self.roles.items():
            if role == "keyholder":
                for share in (federation / "for-holders" / name / "shares").iterdir():
                    share.rename(self.volume(name) / "identity" / "shares" / share.name)

    def start(self, name: str, *more: str) -> Program:
        """Start a party as its pod does. Containers find the passphrase where it is mounted; here it is named."""
        words = pod_of(self.roles[name])["containers"][0]["args"]
        passphrase = f"--passphrase-file={self.volume(name)}.passphrase"
        return self.run(name, words, passphrase, "--insecure-demo-keys", *self._at(name), *more)

    def _at(self, name: str) -> tuple[str, ...]:
        return (f"--server={self.address}",) if self.address and self.roles[name] != "aggregator" else ()

    def ask(self, name: str) -> None:
        """Ask as the readiness probe does."""
        words = pod_of(self.roles[name])["containers"][0]["readinessProbe"]["exec"]["command"][2:]
        at = (f"--server={self.address}",) if self.address else ()
        ended(self.run(name, words, f"--passphrase-file={self.volume(name)}.passphrase", *at))
