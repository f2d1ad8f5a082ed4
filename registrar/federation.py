"""Make a federation and change who belongs to it.

A party's keys are made by the party's own code (core/identity/enrolment.py), also where it runs on this machine; the
registrar's code is given its request only.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from core.errors import SettingsError, StorageError
from core.identity import certificates
from core.identity.enrolment import Pending, install, request_with
from core.identity.files import PUBLIC, SECRET, write_file
from core.identity.invitation import ENDING, Invitation, write_invitation
from core.identity.key_file import RandomPassphrase
from core.identity.key_pairs import draw_keys, write_private_keys
from core.identity.members import Member, Role, Roster, check_threshold
from core.identity.party import KEYS, check_address
from core.identity.request import read_request
from core.identity.roster import sign_roster
from core.identity.signing import SigningKey
from core.who_reads import DEFAULT_HOLDERS, DEFAULT_MIN_COHORT, DEFAULT_THRESHOLD
from registrar.enrolment import Guest, answer_to, certified, check_invited, new_invitation, next_number
from registrar.folder import NAME as REGISTRAR
from registrar.folder import Founding, Registrar, load_registrar, make_folder, write_registrar
from registrar.invitations import Admission, InvitationRecord, Invitations, expiry
from registrar.minimum import read_min_cohort, write_min_cohort
from registrar.publishing import (
    INVITED,
    PASSPHRASES,
    WHO_GETS_WHAT,
    Federation,
    check_party_name,
    publish,
    write_paper,
)
from registrar.words import who_gets_what, who_is_invited

__all__ = [
    "PASSPHRASES", "WHO_GETS_WHAT", "Federation", "Names", "Registrar", "Terms", "add_member", "load_registrar",
    "make_federation", "make_invitations", "revoke",
]  # fmt: skip

DEFAULT_ADDRESS = "127.0.0.1:50551"
THIS_MACHINE = "this machine"
MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Names:
    """How the parties of a new federation are named, and who runs them.

    Attributes:
        client, holder: clients are named client-1, client-2, ..., key holders likewise.
        operators: who runs whom, by the parties' names; the others are run by "this machine".
        observer: the name of one that may watch; empty for none.
    """

    client: str = "client"
    holder: str = "keyholder"
    operators: Mapping[str, str] = field(default_factory=dict)
    observer: str = ""


@dataclass(frozen=True)
class Terms:
    """What all invitations to a new federation say.

    Attributes:
        address: where the registrar's service will be, HOST:PORT; empty if requests come as files.
        expires: seconds since 1970-01-01.
    """

    address: str
    expires: int


@dataclass(frozen=True)
class Seat:
    """A party that a new federation is to have."""

    role: Role
    name: str
    number: int
    operator: str


def make_federation(
    folder: Path,
    *,
    clients: int,
    holders: int = DEFAULT_HOLDERS,
    threshold: int = DEFAULT_THRESHOLD,
    address: str = DEFAULT_ADDRESS,
    names: Names | None = None,
    now: datetime,
    years: int = certificates.YEARS,
) -> Federation:
    """Make a new federation with all its parties on this machine, all or nothing: keys, certificates, roster, folders.

    `address` is where the server will be, HOST:PORT. Certificates are good for `years` from `now`.

    Raises SettingsError for a folder that is not empty, or numbers and names that cannot work; StorageError.
    """
    folder = folder.absolute()
    _check_free(folder)
    check_threshold(threshold, holders)
    seats = _seats(clients, holders, names or Names(), THIS_MACHINE)
    with _whole_folder(folder) as scratch:
        registrar = _new_registrar(scratch, address, now, years)
        newcomers = [_Newcomer.make(scratch, registrar, seat, now, years) for seat in seats]
        members = tuple(each.record.member(each.admission) for each in newcomers)
        roster = Roster(registrar.federation, 1, threshold, members)
        registrar = replace(registrar, newest=roster)
        write_registrar(registrar, _new_passphrase(scratch / PASSPHRASES / REGISTRAR))
        roster_file = sign_roster(roster, registrar.signing)
        for newcomer in newcomers:
            newcomer.take_answer(registrar, roster_file, now)
        paper = who_gets_what(roster, [seat.name for seat in seats], DEFAULT_MIN_COHORT)
        write_file(scratch / WHO_GETS_WHAT, paper.encode(), PUBLIC)
    return Federation(folder, roster)


def set_min_cohort(federation: Federation, min_cohort: int) -> None:
    """Write a new federation's minimum cohort into the policy of every party here, and what follows from it.

    Raises StorageError.
    """
    for member in federation.roster.members:
        if member.name in federation.parties_here:
            write_min_cohort(federation.party(member.name), member.role, min_cohort)
    write_min_cohort(federation.folder / REGISTRAR, Role.SERVER, min_cohort)
    write_paper(federation.folder / REGISTRAR, federation)


def make_invitations(
    folder: Path,
    *,
    clients: int,
    founding: Founding,
    address: str = DEFAULT_ADDRESS,
    terms: Terms,
    names: Names | None = None,
    now: datetime,
    years: int = certificates.YEARS,
) -> Registrar:
    """Make a new federation whose parties make their own keys: the registrar's folder, and an invitation for each.

    The first roster is signed when the server and all key holders have come. Raises as make_federation.
    """
    folder = folder.absolute()
    _check_free(folder)
    check_threshold(founding.threshold, founding.holders)
    seats = _seats(clients, founding.holders, names or Names(), "")
    with _whole_folder(folder) as scratch:
        registrar = replace(_new_registrar(scratch, address, now, years), founding=founding)
        write_registrar(registrar, _new_passphrase(scratch / PASSPHRASES / REGISTRAR))
        make_folder(scratch / INVITED)
        for seat in seats:
            guest = Guest(seat.name, seat.role, terms.expires, seat.operator, address=terms.address)
            invitation, record = new_invitation(registrar, guest, seat.number)
            Invitations(registrar.folder).write(record)
            write_invitation(scratch / INVITED / f"{seat.name}{ENDING}", invitation)
        paper = who_is_invited(registrar.federation, founding.threshold, [(seat.name, seat.operator) for seat in seats])
        write_file(scratch / WHO_GETS_WHAT, paper.encode(), PUBLIC)
    return replace(registrar, folder=folder / REGISTRAR)


def add_member(
    folder: Path,
    name: str,
    *,
    role: Role = Role.CLIENT,
    operator: str = THIS_MACHINE,
    now: datetime,
    years: int = certificates.YEARS,
    passphrase_file: Path | None = None,
) -> Federation:
    """Enrol one more client, or an observer, on this machine: its folder and passphrase, and the next roster.

    `folder` is the federation's; the registrar's must be in it. The certificate is good for `years`, but not longer
    than the authority's. Raises SettingsError for a name that is or was a member's, or whose folder is there.
    """
    with load_registrar(folder / REGISTRAR, passphrase_file).alone() as registrar:
        old = registrar.roster
        check_new(old, name)
        seat = Seat(role, name, next_number(registrar, role, Invitations(registrar.folder).all()), operator)
        follows = lambda member: replace(old, version=old.version + 1, members=(*old.members, member))  # noqa: E731
        return enrol_here(folder, registrar, seat, follows, now, years)


def check_new(roster: Roster, name: str) -> None:
    """Raise SettingsError for the name of a member, present or former."""
    if name in {member.name for member in roster.members}:
        raise SettingsError(f"{name} is or was a member already; a name is given once, even if it was revoked")


def enrol_here(
    folder: Path, registrar: Registrar, seat: Seat, follows: Callable[[Member], Roster], now: datetime, years: int
) -> Federation:
    """Let a party enrol in a folder of its own in the federation's, and publish the roster that follows from it.

    Args:
        follows: returns the next version of the roster, given the new member.

    Raises SettingsError for a name that cannot be one, or whose folder is there.
    """
    check_party_name(seat.name)
    _check_free(folder / seat.name)
    with _whole_folder(folder / seat.name) as scratch:
        _make_if_missing(folder / PASSPHRASES)
        newcomer = _Newcomer.come(
            scratch, registrar, seat, _new_passphrase(folder / PASSPHRASES / seat.name), now, years
        )
        roster = follows(newcomer.record.member(newcomer.admission))
        newcomer.take_answer(registrar, sign_roster(roster, registrar.signing), now)
        write_min_cohort(scratch, seat.role, read_min_cohort(registrar.folder))
    federation = Federation(folder, roster)
    publish(registrar, federation)
    return federation


def revoke(folder: Path, name: str, *, passphrase_file: Path | None = None) -> Federation:
    """Sign the next version of the roster, in which `name` is revoked, for ever.

    It is written into the folders that are still here; the others have to be given it. Raises Refused(NOT_IN_ROSTER)
    for a name that is not there, SettingsError for one that is revoked already.
    """
    with load_registrar(folder / REGISTRAR, passphrase_file).alone() as registrar:
        old = registrar.roster
        if old.member(name).revoked:
            raise SettingsError(f"{name} is revoked already, in roster version {old.version}")
        members = tuple(replace(member, revoked=member.revoked or member.name == name) for member in old.members)
        federation = Federation(folder, replace(old, version=old.version + 1, members=members))
        publish(registrar, federation)
    return federation


@dataclass(frozen=True)
class _Newcomer:
    """A party that enrols on this machine. Its keys are in its folder, and known to nothing here any more."""

    folder: Path
    pending: Pending
    record: InvitationRecord
    admission: Admission

    @classmethod
    def make(cls, federation: Path, registrar: Registrar, seat: Seat, now: datetime, years: int) -> _Newcomer:
        """Let a party of a new federation enrol in a folder and with a passphrase of its own."""
        make_folder(federation / seat.name)
        passphrase = _new_passphrase(federation / PASSPHRASES / seat.name)
        return cls.come(federation / seat.name, registrar, seat, passphrase, now, years)

    @classmethod
    def come(
        cls, folder: Path, registrar: Registrar, seat: Seat, passphrase: bytes, now: datetime, years: int
    ) -> _Newcomer:
        """Let a party make its keys in its empty folder, and admit it by its request."""
        guest = Guest(seat.name, seat.role, expiry(1, now), seat.operator)
        invitation, record = new_invitation(registrar, guest, seat.number)
        pending = _keys_made(folder, invitation, passphrase)
        request = read_request(pending.request, registrar.proof_key)
        check_invited(record, request, now)
        return cls(folder, pending, record, certified(registrar, record, request, now, years))

    def take_answer(self, registrar: Registrar, roster_file: bytes, now: datetime) -> None:
        """Let the party install the registrar's answer."""
        answer = answer_to(registrar, roster_file, self.record, self.admission).sign(registrar.signing)
        install(self.folder, self.pending, answer, now)


def _keys_made(folder: Path, invitation: Invitation, passphrase: bytes) -> Pending:
    """Do what `enrol` does in a party's folder, but for the file of a pending enrolment: here it takes a moment."""
    keys = draw_keys(invitation.role)
    write_private_keys(folder / KEYS, keys, passphrase)
    return request_with(invitation, keys)


def _new_registrar(federation: Path, address: str, now: datetime, years: int) -> Registrar:
    """Make the registrar's keys and folder; nothing is written yet."""
    check_address(address, "the server's address")
    name = secrets.token_hex(8)
    authority = certificates.make_authority(name, years, now=now)
    make_folder(federation / PASSPHRASES)
    make_folder(federation / REGISTRAR)
    return Registrar(federation / REGISTRAR, name, address, authority, SigningKey.generate(), None)


def _seats(clients: int, holders: int, names: Names, operator: str) -> list[Seat]:
    """Everyone of a new federation: the server, the key holders, the clients. Raises SettingsError."""
    if not 0 <= clients <= MOST_CLIENTS:
        raise SettingsError(f"the federation is to have {clients} clients; expected 0 to {MOST_CLIENTS}")
    parties = [
        (Role.SERVER, "server", 1),
        *((Role.KEYHOLDER, f"{names.holder}-{number}", number) for number in range(1, holders + 1)),
        *((Role.CLIENT, f"{names.client}-{number}", number) for number in range(1, clients + 1)),
    ]
    if names.observer:
        parties.append((Role.OBSERVER, names.observer, 1))
    known = {name for _, name, _ in parties}
    _check_named(names.operators, known)
    if len({name.lower() for name in known}) < len(parties):
        raise SettingsError(f"the prefix {names.client[:80]!r} is for clients and for key holders; choose another")
    for _, name, _ in parties:
        check_party_name(name)
    return [Seat(role, name, number, names.operators.get(name, operator)) for role, name, number in parties]


def _check_named(operators: Mapping[str, str], names: Collection[str]) -> None:
    for name in operators:
        if name not in names:
            raise SettingsError(f"an operator is given for {name[:80]!r}, who is no party of this federation")


def _new_passphrase(path: Path) -> RandomPassphrase:
    """Draw a passphrase and write it down."""
    passphrase = RandomPassphrase()
    write_file(path, passphrase + b"\n", SECRET)
    return passphrase


def _check_free(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise SettingsError(f"{folder} is there already; expected a new or an empty folder")


def _make_if_missing(folder: Path) -> None:
    if not folder.is_dir():
        make_folder(folder)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes its place as `folder` when it is complete, and else is gone."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.filename}: {error.strerror}") from error
    try:
        yield scratch
        scratch.rename(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.filename}: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
