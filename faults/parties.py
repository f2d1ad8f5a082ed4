"""Federations to break: folders, keys and identities, made once and used for many trials."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from core.console import today
from core.identity.home import load_registrar
from core.identity.party import SHARES, PartyIdentity, load_identity
from core.identity.roster import Roster
from keyholder.dealer import Dealer
from registrar.federation import make_federation

BITS = 256
"""Of round keys: small, because nothing is secret here."""
MEMORY = Path("/dev/shm")  # noqa: S108  a place, not a file


@contextmanager
def cheap_passphrases() -> Iterator[None]:
    """Key files that open in no time, in this process only."""
    with patch("core.identity.key_file.SMALLEST_COST", 1), patch("core.identity.key_file.COST", 1):
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where the system has such a place.

    A process that dies takes nothing with it that it has written, on whatever kind of disk. What a *machine* loses when
    its power fails is not tried here.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Parties:
    """Everybody's identity in a federation in `folder`, and round keys dealt ahead, to be copied for each trial."""

    def __init__(self, folder: Path, *, clients: int, holders: int = 3, threshold: int = 2, quorum: int = 2) -> None:
        self.folder = folder
        with cheap_passphrases():
            made = make_federation(
                folder / "federation", clients=clients, holders=holders, threshold=threshold, quorum=quorum,
                now=datetime.now(UTC),
            )  # fmt: skip
            self.registrar = load_registrar(made.folder)
            names = [member.name for member in made.roster.members]
            self.identities = {name: load_identity(made.party(name)) for name in names}

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
        """The number of each client, by its name."""
        return {member.name: member.number for member in self.roster.clients}

    def dealt(self, count: int, scheme: str, bits: int = BITS) -> Path:
        """A folder with a folder for each holder, each with its shares of the keys 1 to `count`."""
        folder = self.folder / f"dealt-{scheme}-{bits}-{count}"
        if not folder.exists():
            for name in self.holders:
                (folder / name / SHARES).mkdir(parents=True)
            dealer = Dealer(self.roster, self.registrar.signing, lambda name: folder / name, today())
            for _ in dealer.deal(1, count, scheme, bits):
                pass
        return folder

    def holder_in(self, folder: Path, name: str) -> PartyIdentity:
        """A holder whose shares are those in `folder`."""
        return replace(self[name], folder=folder)
