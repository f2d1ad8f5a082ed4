"""A federation that waits for its parties, and newcomers that make their own keys, for tests of enrolment.

made = Invited.make(tmp_path, clients=2)         # a registrar's folder with invitations
made.found()                                     # the server and the key holders have come
newcomer = made.begin("client-1")                # has made its keys, and its request
outcome = made.admit(newcomer.pending.request)
install(newcomer.folder, newcomer.pending, outcome.answer, NOW)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.identity import signing, strict_json
from core.identity.enrolment import Pending, begin, install
from core.identity.invitation import Invitation, read_invitation
from core.identity.key_file import RandomPassphrase
from core.identity.key_pairs import PrivateKeys, read_private_keys
from core.identity.party import load_identity
from core.identity.request import read_request
from registrar import enrolment
from registrar.enrolment import Outcome
from registrar.federation import Terms, load_registrar, make_invitations
from registrar.folder import Founding, Registrar
from registrar.invitations import expiry

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Newcomer:
    """A party that has made its keys and waits for the registrar's answer."""

    folder: Path
    invitation: Invitation
    passphrase: bytes
    pending: Pending

    @property
    def keys(self) -> PrivateKeys:
        return read_private_keys(self.folder / "keys.enc", self.passphrase)

    def request_with(self, change: Callable[[dict[str, Any]], None]) -> bytes:
        """The request with something else in it, and signed again with the keys that it had."""
        content = json.loads(self.pending.request)["request"]
        change(content)
        body, keys = strict_json.canonical(content), self.keys
        proofs = {
            "invitation": self.invitation.key.sign(signing.ENROLMENT, body).hex(),
            "signing": keys.signing.sign(signing.ENROLMENT, body).hex(),
            "sealing": keys.sealing.prove(self.invitation.proof_key, body).hex() if keys.sealing else "",
        }
        return json.dumps({"request": content, "proofs": proofs}).encode()


@dataclass(frozen=True)
class Invited:
    """The registrar's folder, and a place for the machines of its parties."""

    folder: Path
    machines: Path

    @classmethod
    def make(cls, place: Path, clients: int = 2, days: int = 7, registration: str = "") -> Invited:
        terms = Terms(registration, expiry(days, NOW))
        make_invitations(place / "registry", clients=clients, founding=Founding(2, 3), terms=terms, now=NOW)
        return cls(place / "registry", place / "machines")

    @property
    def registrar(self) -> Registrar:
        return load_registrar(self.folder)

    def invitation(self, name: str) -> Invitation:
        return read_invitation(self.folder / "invitations" / f"{name}.invitation")

    def begin(self, name: str, invitation: Invitation | None = None) -> Newcomer:
        """Let a party make its keys on a machine of its own."""
        invitation, passphrase = invitation or self.invitation(name), RandomPassphrase()
        folder = self.machines / name
        return Newcomer(folder, invitation, passphrase, begin(folder, invitation, passphrase))

    def admit(self, raw: bytes, now: datetime = NOW) -> Outcome:
        registrar = self.registrar
        return enrolment.admit(registrar, read_request(raw, registrar.proof_key), now)

    def found(self) -> Invited:
        """Let the server and all key holders come."""
        for name in ("server", "keyholder-1", "keyholder-2", "keyholder-3"):
            self.admit(self.begin(name).pending.request)
        return self


def installed(made: Invited, newcomer: Newcomer) -> Any:
    """The party as it is after its enrolment."""
    answer = made.admit(newcomer.pending.request).answer
    assert answer is not None
    install(newcomer.folder, newcomer.pending, answer, NOW)
    (newcomer.folder.parent / "passphrase").write_bytes(newcomer.passphrase)
    return load_identity(newcomer.folder, newcomer.folder.parent / "passphrase")
