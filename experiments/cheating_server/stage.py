"""Federations to attack: made by the real registrar, with keys dealt by the real dealer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from core.clock import today
from core.data.generated import generate_mailbox
from core.federated import client_rng, client_update, encoding_for, initial_model
from core.identity.members import Roster
from core.identity.party import SHARES, PartyIdentity, load_identity
from core.secagg.scheme import PAILLIER
from core.tasks.spam import SPAM
from core.tasks.task import LocalTraining
from core.training import Dataset
from experiments.arrays import FloatArray, IntArray
from registrar.dealer import Dealer
from registrar.federation import make_federation, revoke
from registrar.folder import Registrar, load_registrar, reserve_serials

KEY_BITS = 256
MIN_COHORT = 3
MAILS = 16
"""One batch, so one step of Adam: each weight a client moves, it moves by the learning rate."""
TASK = replace(SPAM, local=LocalTraining(0.05))
"""The spam task with plain Adam, whose first step moves every word equally far."""
MAX_COHORT = 8
VICTIM, OTHERS = "client-1", ("client-2", "client-3")
HONEST = (VICTIM, *OTHERS)
REVOKED = "client-5"
CONSPIRATORS = ("client-4", "client-6", "client-7", "client-8")
"""Most attacks use the first of them only."""


@dataclass(frozen=True)
class Profile:
    """How a federation shares its keys: `threshold` of `holders` sign a list and open a sum."""

    name: str
    holders: int
    threshold: int


SINGLE = Profile("single", 1, 1)
THRESHOLD = Profile("threshold", 3, 2)
THREE_OF_FOUR = Profile("3 of 4", 4, 3)


@dataclass
class Stage:
    """One federation with the identities of all parties; moves.py says which of them the attacker may use.

    Attributes:
        seed: of the mailboxes and of the training.
        identities: by name. client-5 was a member once, and is revoked.
        earlier_roster, newest_roster: the registrar's, as files: before client-5 was revoked, and since.
    """

    profile: Profile
    folder: Path
    seed: int
    registrar: Registrar
    roster: Roster
    identities: dict[str, PartyIdentity]
    earlier_roster: bytes
    newest_roster: bytes

    @property
    def holders(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.roster.holders)

    def dealer(self, day: int | None = None) -> Dealer:
        """Return the registrar's dealer, as of day `day`."""
        return Dealer(self.roster, self.registrar.signing, self.folder.joinpath, today() if day is None else day)

    def next_serial(self, count: int = 1) -> int:
        """Reserve serial numbers; return the first."""
        return reserve_serials(self.registrar, count)

    def deal(self, count: int = 1, bits: int = KEY_BITS, day: int | None = None) -> list[int]:
        """Deal fresh keys to all holders; return their serial numbers."""
        return list(self.dealer(day).deal(self.next_serial(count), count, PAILLIER, bits))

    def forget_keys(self) -> None:
        """Remove all shares that are left: holders with new ledgers cannot know which keys others have used."""
        for holder in self.holders:
            for path in (self.folder / holder / SHARES).iterdir():
                path.unlink()

    def mailbox(self, client: str) -> Dataset:
        return mailbox(self.seed, self.identities[client].number)

    def truth(self, client: str, round_number: int = 1, model: FloatArray | None = None) -> IntArray:
        """Return a client's real update of a round, as the integers that are encrypted, shape (values,)."""
        start = self.start if model is None else model
        rng = client_rng(self.seed, round_number, self.identities[client].number)
        update = client_update(TASK, start, self.mailbox(client), rng)
        return encoding_for(TASK, len(start), 224, MAX_COHORT).quantise(update.delta)

    @property
    def start(self) -> FloatArray:
        """The model before round 1, shape (values,)."""
        return initial_model(TASK, self.seed)


@cache
def mailbox(seed: int, number: int) -> Dataset:
    """Return the few mails of one client."""
    return TASK.prepare(generate_mailbox(seed, number, MAILS))


def build(folder: Path, profile: Profile, seed: int) -> Stage:
    """Make a federation of eight clients and read the identities of all parties. Raises StorageError."""
    federation = make_federation(
        folder, clients=8, holders=profile.holders, threshold=profile.threshold, now=datetime.now(UTC)
    )
    identities = {member.name: load_identity(federation.party(member.name)) for member in federation.roster.members}
    server = identities["server"].roster
    earlier, roster = server.raw, revoke(folder, REVOKED).roster
    return Stage(profile, folder, seed, load_registrar(folder), roster, identities, earlier, server.raw)
