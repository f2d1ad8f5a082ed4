"""Federations to break: folders, keys and identities, made once for many trials."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from core.clock import today
from core.identity.key_file import read_passphrase
from core.identity.key_pairs import read_private_keys
from core.identity.members import Member
from core.identity.party import CERTIFICATE, KEYS, SHARES, PartyIdentity, load_identity
from core.identity.roster import Role, Roster
from core.policy import Policy
from registrar.dealer import Dealer
from registrar.federation import make_federation
from registrar.folder import load_registrar

POLICY = Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True, insecure_unbounded=True, allow_plain=True)
BITS = 256
"""Of round keys: small, because nothing is secret here."""
MEMORY = Path("/dev/shm")  # noqa: S108  a place, not a file


@contextmanager
def scratch(*, on_disk: bool = False) -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where the system has such a place, unless time on a disk matters.

    A process that dies takes nothing with it that it has written, on whatever kind of disk. What a *machine* loses when
    its power fails is not tried here.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY if MEMORY.is_dir() and not on_disk else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _client(folder: Path, member: Member, server: PartyIdentity) -> PartyIdentity:
    """Return a client's identity that shares the server's copy of the roster: a thousand copies are too much for a crowd."""
    keys = read_private_keys(folder / KEYS, read_passphrase(None, folder, name=folder.name))
    return replace(
        server, role=Role.CLIENT, name=member.name, number=member.number, signing=keys.signing,
        tls_key_pem=keys.tls_pem, certificate_pem=(folder / CERTIFICATE).read_bytes(), folder=folder,
    )  # fmt: skip


class Parties:
    """The identities of all parties of a federation in `folder`, and round keys dealt ahead, to be copied for each trial."""

    def __init__(self, folder: Path, *, clients: int, holders: int = 3, threshold: int = 2) -> None:
        self.folder = folder
        made = make_federation(
            folder / "federation", clients=clients, holders=holders, threshold=threshold, now=datetime.now(UTC)
        )
        self.registrar = load_registrar(made.folder)
        self.identities = {
            member.name: load_identity(made.party(member.name)) for member in (made.roster.server, *made.roster.holders)
        }
        server = self["server"]
        for member in made.roster.clients:
            self.identities[member.name] = _client(made.party(member.name), member, server)

    def __getitem__(self, name: str) -> PartyIdentity:
        return self.identities[name]

    @property
    def roster(self) -> Roster:
        return self["server"].roster.current()

    @property
    def clients(self) -> list[str]:
        return [member.name for member in self.roster.clients]

    @property
    def holders(self) -> list[str]:
        return [member.name for member in self.roster.holders]

    def numbers(self) -> dict[str, int]:
        """Return the number of each client, by its name."""
        return {member.name: member.number for member in self.roster.clients}

    def dealt(self, count: int, scheme: str, bits: int = BITS) -> Path:
        """Return a folder with a folder for each holder, each with its shares of the keys 1 to `count`."""
        folder = self.folder / f"dealt-{scheme}-{bits}-{count}"
        if not folder.exists():
            for name in self.holders:
                (folder / name / SHARES).mkdir(parents=True)
            dealer = Dealer(self.roster, self.registrar.signing, lambda name: folder / name, today())
            for _ in dealer.deal(1, count, scheme, bits):
                pass
        return folder

    def holder_in(self, folder: Path, name: str) -> PartyIdentity:
        """Return a holder whose shares are those in `folder`."""
        return replace(self[name], folder=folder)
