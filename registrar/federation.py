"""Make a federation and change who belongs to it.

FOLDER/registrar/        the registrar's own, to be kept offline        (folder.py)
FOLDER/NAME/             one for each party, to be handed over          (core/identity/party.py)
FOLDER/passphrases/NAME  one for each folder, to be handed over apart
FOLDER/WHO-GETS-WHAT.txt
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from core.errors import SettingsError, StorageError
from core.identity import certificates
from core.identity.files import PUBLIC, SECRET, write_file
from core.identity.key_file import RandomPassphrase
from core.identity.members import Member, Role, Roster, check_threshold
from core.identity.party import CARD, ROSTER, Card, PrivateKeys, write_folder
from core.identity.roster import sign_roster
from core.identity.sealing import SealingKey
from core.identity.signing import SigningKey
from registrar.folder import NAME as REGISTRAR
from registrar.folder import Registrar, load_registrar, make_folder, write_registrar
from registrar.words import read_me, who_gets_what

__all__ = ["Federation", "Names", "Registrar", "add_client", "load_registrar", "make_federation", "revoke"]

DEFAULT_ADDRESS = "127.0.0.1:50551"
THIS_MACHINE = "this machine"
MOST_CLIENTS = 10_000
PASSPHRASES, README, WHO_GETS_WHAT = "passphrases", "READ-ME.txt", "WHO-GETS-WHAT.txt"
RESERVED = {name.lower() for name in (REGISTRAR, PASSPHRASES, WHO_GETS_WHAT)}


@dataclass(frozen=True)
class Federation:
    """A federation's folder, and the newest roster."""

    folder: Path
    roster: Roster

    def party(self, name: str) -> Path:
        """Return the folder of a party, as long as it is here."""
        return self.folder / name

    def passphrase_file(self, name: str) -> Path:
        """Return the file with a party's passphrase, as long as it is here."""
        return self.folder / PASSPHRASES / name

    @property
    def parties_here(self) -> tuple[str, ...]:
        """Names of the parties whose folders are still here."""
        names = (member.name for member in self.roster.members)
        return tuple(name for name in names if (self.party(name) / CARD).is_file())


@dataclass(frozen=True)
class Names:
    """How the parties of a new federation are named, and who runs them.

    Attributes:
        client, holder: clients are named client-1, client-2, ..., key holders likewise.
        operators: who runs whom, by the parties' names; the others are run by "this machine".
    """

    client: str = "client"
    holder: str = "keyholder"
    operators: Mapping[str, str] = field(default_factory=dict)


def make_federation(
    folder: Path,
    *,
    clients: int,
    holders: int = 3,
    threshold: int = 2,
    address: str = DEFAULT_ADDRESS,
    names: Names | None = None,
    now: datetime,
    years: int = certificates.YEARS,
) -> Federation:
    """Make keys, certificates, roster, folders and passphrases of a new federation, all or nothing.

    `address` is where the server will be, HOST:PORT. Certificates are good for `years` from `now`.

    Raises SettingsError for a folder that is not empty, or numbers and names that cannot work; StorageError.
    """
    folder = folder.absolute()
    _check_free(folder)
    if not 1 <= clients <= MOST_CLIENTS:
        raise SettingsError(f"the federation is to have {clients} clients; expected 1 to {MOST_CLIENTS}")
    check_threshold(threshold, holders)
    newcomers = _newcomers(clients, holders, names or Names())
    members = tuple(newcomer.member for newcomer in newcomers)
    roster = Roster(secrets.token_hex(8), version=1, threshold=threshold, members=members)
    authority = certificates.make_authority(roster.federation, years, now=now)
    with _whole_folder(folder) as scratch:
        registrar = Registrar(scratch / REGISTRAR, address, authority, SigningKey.generate(), roster)
        make_folder(scratch / PASSPHRASES)
        make_folder(registrar.folder)
        write_registrar(registrar, _new_passphrase(scratch / PASSPHRASES / REGISTRAR))
        for newcomer in newcomers:
            name = newcomer.member.name
            make_folder(scratch / name)
            _fill(scratch / name, registrar, newcomer, _new_passphrase(scratch / PASSPHRASES / name), now, years)
        _publish(registrar, Federation(scratch, roster))
    return Federation(folder, roster)


def add_client(
    folder: Path,
    name: str,
    *,
    operator: str = THIS_MACHINE,
    now: datetime,
    years: int = certificates.YEARS,
    passphrase_file: Path | None = None,
) -> Federation:
    """Enrol one more client: its folder and passphrase, and the next version of the roster for everybody.

    `folder` is the federation's; the registrar's must be in it. The certificate is good for `years`, but not longer
    than the authority's. Raises SettingsError for a name that is or was a member's, or whose folder is there.
    """
    registrar = load_registrar(folder / REGISTRAR, passphrase_file)
    old = registrar.roster
    if name in {member.name for member in old.members}:
        raise SettingsError(f"{name} is or was a member already; a name is given once, even if it was revoked")
    number = max((client.number for client in old.clients), default=0) + 1
    newcomer = _newcomer(Role.CLIENT, name, number, operator)
    federation = Federation(folder, replace(old, version=old.version + 1, members=(*old.members, newcomer.member)))
    _check_free(federation.party(name))
    with _whole_folder(federation.party(name)) as scratch:
        _make_if_missing(folder / PASSPHRASES)
        _fill(scratch, registrar, newcomer, _new_passphrase(federation.passphrase_file(name)), now, years)
    _publish(registrar, federation)
    return federation


def revoke(folder: Path, name: str, *, passphrase_file: Path | None = None) -> Federation:
    """Sign the next version of the roster, in which `name` is revoked, for ever.

    It is written into the folders that are still here; the others have to be given it. Raises Refused(NOT_IN_ROSTER)
    for a name that is not there, SettingsError for one that is revoked already.
    """
    registrar = load_registrar(folder / REGISTRAR, passphrase_file)
    old = registrar.roster
    if old.member(name).revoked:
        raise SettingsError(f"{name} is revoked already, in roster version {old.version}")
    members = tuple(replace(member, revoked=member.revoked or member.name == name) for member in old.members)
    federation = Federation(folder, replace(old, version=old.version + 1, members=members))
    _publish(registrar, federation)
    return federation


@dataclass(frozen=True)
class _Newcomer:
    """A member to be, with its private keys; the TLS key comes with the certificate."""

    member: Member
    signing: SigningKey
    sealing: SealingKey | None


def _newcomer(role: Role, name: str, number: int, operator: str) -> _Newcomer:
    if name.lower() in RESERVED:
        raise SettingsError(f"a party cannot be named {name}; that name is needed in the federation's folder")
    signing, sealing = SigningKey.generate(), SealingKey.generate() if role is Role.KEYHOLDER else None
    member = Member(name, role, number, signing.public, sealing.public if sealing else b"", operator)
    return _Newcomer(member, signing, sealing)


def _newcomers(clients: int, holders: int, names: Names) -> list[_Newcomer]:
    """Everyone of a new federation: the server, the key holders, the clients. Raises SettingsError."""
    seats = [
        (Role.SERVER, "server", 1),
        *((Role.KEYHOLDER, f"{names.holder}-{number}", number) for number in range(1, holders + 1)),
        *((Role.CLIENT, f"{names.client}-{number}", number) for number in range(1, clients + 1)),
    ]
    _check_named(names.operators, {name for _, name, _ in seats})
    return [_newcomer(role, name, number, names.operators.get(name, THIS_MACHINE)) for role, name, number in seats]


def _check_named(operators: Mapping[str, str], names: Collection[str]) -> None:
    for name in operators:
        if name not in names:
            raise SettingsError(f"an operator is given for {name[:80]!r}, who is no party of this federation")


def _fill(
    folder: Path, registrar: Registrar, newcomer: _Newcomer, passphrase: bytes, now: datetime, years: int
) -> None:
    """Everything in a party's folder but the roster."""
    member, authority = newcomer.member, registrar.authority
    federation, public = registrar.roster.federation, registrar.signing.public
    key, certificate = certificates.issue(authority, federation, member.role, member.name, now=now, years=years)
    card = Card(federation, member.role, member.name, member.number, public, registrar.address)
    keys = PrivateKeys(key, newcomer.signing, newcomer.sealing)
    write_folder(folder, card, keys, certificate, certificates.to_pem(authority.certificate), passphrase)
    write_file(folder / README, read_me(card).encode(), PUBLIC)


def _publish(registrar: Registrar, federation: Federation) -> None:
    """Sign the roster, keep it, and put it into every folder that is here. The registrar's copy comes first: it decides
    which version is the next."""
    raw = sign_roster(federation.roster, registrar.signing)
    for folder in (registrar.folder, *map(federation.party, federation.parties_here)):
        write_file(folder / ROSTER, raw, PUBLIC)
    write_file(federation.folder / WHO_GETS_WHAT, who_gets_what(federation.roster).encode(), PUBLIC)


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
