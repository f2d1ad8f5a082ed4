"""A federation that is made for one run in this process: the identities of all parties, and round keys dealt ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from core.clock import today
from core.identity.party import PartyIdentity, load_identity
from registrar.dealer import Dealer
from registrar.federation import Federation, make_federation
from registrar.folder import load_registrar, read_own_roster, reserve_serials
from server.settings import RunSettings

SPARE_KEYS = 2
"""Keys dealt beyond one a round, for rounds that are repeated."""


def registered(folder: Path, settings: RunSettings, clients: int) -> dict[str, PartyIdentity]:
    """Make a federation in the new folder with keys for every round, and return all identities by name."""
    rules = settings.rules
    made = make_federation(
        folder, clients=clients, holders=rules.holders, threshold=rules.threshold, now=datetime.now(UTC)
    )
    deal_keys(folder, rules.rounds + SPARE_KEYS, settings.scheme, settings.key_bits)
    return _identities(made)


def registered_before(folder: Path, settings: RunSettings) -> dict[str, PartyIdentity]:
    """Return all identities of the federation in `folder`, with a key more for the round that was interrupted."""
    deal_keys(folder, 1, settings.scheme, settings.key_bits)
    return _identities(Federation(folder, read_own_roster(folder / "registrar")))


def _identities(federation: Federation) -> dict[str, PartyIdentity]:
    return {member.name: load_identity(federation.party(member.name)) for member in federation.roster.members}


def deal_keys(folder: Path, count: int, scheme: str, bits: int, day: int | None = None) -> None:
    """Deal `count` round keys to the holders of the federation in `folder`, as if `day` were today."""
    registrar = load_registrar(folder)
    dealer = Dealer(registrar.roster, registrar.signing, lambda name: folder / name, today() if day is None else day)
    for _ in dealer.deal(reserve_serials(registrar, count), count, scheme, bits):
        pass
