"""A party's folder: everything it needs to prove who it is and to know the others.

    party.json        federation, role, name, number, the registrar's public key, the server's address
    roster.json       the members, signed by the registrar; replaced when it changes
    authority.pem     the certificate that issued all the others
    certificate.pem   the party's own
    keys.enc          its private keys, under its passphrase
    shares/           a key holder's shares of round keys
    READ-ME.txt       the same for people

core.identity.enrolment fills one; `load_identity` reads it, and refuses what is missing or does not fit together.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.commands import command_of
from core.errors import DataError, GrokfedError, SettingsError
from core.identity import certificates, signing, strict_json
from core.identity.certificates import PeerName
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.key_file import read_passphrase
from core.identity.key_pairs import PrivateKeys, read_private_keys
from core.identity.members import Member, Role
from core.identity.roster import RosterFile
from core.identity.sealing import SealingKey
from core.identity.signing import SigningKey

CARD, ROSTER, AUTHORITY, CERTIFICATE, KEYS, SHARES, ENROLMENT = (
    "party.json", "roster.json", "authority.pem", "certificate.pem", "keys.enc", "shares", "enrolment.json",
)  # fmt: skip
LARGEST_SMALL_FILE = 1 << 16
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?")
LONGEST_HOST = 253


@dataclass(frozen=True)
class Card:
    """What party.json says: who the folder is for, whom to believe, and where the server is.

    Raises SettingsError when made with what cannot be.
    """

    federation: str
    role: Role
    name: str
    number: int
    registrar: bytes
    address: str

    def __post_init__(self) -> None:
        PeerName(self.federation, self.role, self.name)  # checks the three
        if self.number < 1:
            raise SettingsError(f"{self.name}'s number is {self.number}; numbers count from 1")
        if len(self.registrar) != signing.PUBLIC_BYTES:
            raise SettingsError(f"the registrar's key has {len(self.registrar)} bytes; expected {signing.PUBLIC_BYTES}")
        check_address(self.address, "the server's address")


@dataclass(frozen=True, repr=False)
class PartyIdentity:
    """One party as itself: its name, its keys, and what it needs to know the others. The repr shows no key.

    Attributes:
        registrar: the registrar's public key (Ed25519, 32 bytes), which every roster must be signed with.
        address: the server's HOST:PORT; who answers there must show the name certificates.server_name(federation).
    """

    federation: str
    role: Role
    name: str
    number: int
    signing: SigningKey
    sealing: SealingKey | None
    tls_key_pem: bytes
    certificate_pem: bytes
    authority_pem: bytes
    registrar: bytes
    roster: RosterFile
    address: str
    folder: Path

    def __repr__(self) -> str:
        return f"PartyIdentity({self.role} {self.name}, number {self.number}, federation {self.federation})"


def check_address(address: str, what: str) -> None:
    """Raise SettingsError, which names `what`, unless the address has the form HOST:PORT.

    A host is a name of letters, digits, dots, - and _, an IPv4 address, or an IPv6 address in brackets: it goes into
    scripts and commands that people are to type.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not _is_host(host):
        raise SettingsError(f"{what} is {address[:80]!r}; expected HOST:PORT")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise SettingsError(f"{what} is {address[:80]!r}; expected HOST:PORT with a port from 1 to 65535")


def _is_host(host: str) -> bool:
    if not (host.startswith("[") and host.endswith("]")):
        return len(host) <= LONGEST_HOST and _HOST.fullmatch(host) is not None
    try:
        return not ipaddress.IPv6Address(host[1:-1]).scope_id
    except ValueError:
        return False


def load_identity(
    folder: Path, passphrase_file: Path | None = None, role: Role | None = None, *, now: datetime | None = None
) -> PartyIdentity:
    """Return the party whose folder this is.

    `role` is what the caller can be; `now` is when certificates must be good, the present if it is not given. The
    passphrase comes from the file, or from where key_file.read_passphrase looks.

    Raises DataError for what is missing, damaged, expired, or does not fit together, SettingsError for another role's
    folder or no passphrase, Refused(REVOKED or NOT_IN_ROSTER) if the party's own roster does not have it.
    """
    card = read_card(folder)
    if role is not None and card.role is not role:
        raise SettingsError(f"{folder} is the folder of {card.role} {card.name}; expected a {role}'s")
    roster = RosterFile(folder / ROSTER, card.registrar)
    member = _own_member(card, roster, folder)
    authority_pem = read_file(folder / AUTHORITY, LARGEST_SMALL_FILE)
    certificate_pem = read_file(folder / CERTIFICATE, LARGEST_SMALL_FILE)
    _check_certificate(card, certificate_pem, authority_pem, folder, now or datetime.now(UTC))
    keys = read_private_keys(folder / KEYS, read_passphrase(passphrase_file, folder, name=card.name))
    _check_keys(keys, member, certificate_pem, folder)
    return PartyIdentity(
        federation=card.federation,
        role=card.role,
        name=card.name,
        number=card.number,
        signing=keys.signing,
        sealing=keys.sealing,
        tls_key_pem=keys.tls_pem,
        certificate_pem=certificate_pem,
        authority_pem=authority_pem,
        registrar=card.registrar,
        roster=roster,
        address=card.address,
        folder=folder,
    )


def write_card(folder: Path, card: Card) -> None:
    """Write party.json, with which a folder that is otherwise complete becomes a party's. Raises StorageError."""
    content = {
        "federation": card.federation, "role": card.role, "name": card.name, "number": card.number,
        "registrar": card.registrar.hex(), "address": card.address,
    }  # fmt: skip
    write_file(folder / CARD, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n", PUBLIC)


def read_card(folder: Path) -> Card:
    """Return what party.json in the folder says. Raises DataError if this is not a party's folder."""
    path = folder / CARD
    if not folder.is_dir():
        init = f"{command_of('registrar')} init"
        raise DataError(f"there is no folder {folder}; `{init}` or a party's `enroll` makes a party's folder")
    if (folder / ENROLMENT).is_file() and not path.is_file():
        raise DataError(f"the enrolment in {folder} is not complete; run enroll again, or with --answer FILE")
    if not path.is_file():
        raise DataError(f"{folder} is not a party's folder: it has no {CARD}")
    types = {"federation": str, "role": str, "name": str, "number": int, "registrar": str, "address": str}
    content = strict_json.fields(strict_json.parse(read_file(path, LARGEST_SMALL_FILE), str(path)), str(path), types)
    registrar = strict_json.from_hex(content["registrar"], f"the registrar's key in {path}")
    if content["role"] not in set(Role):
        raise DataError(f"the role in {path} is {content['role'][:80]!r}; known are {', '.join(Role)}")
    try:
        return Card(**(content | {"registrar": registrar, "role": Role(content["role"])}))
    except SettingsError as error:
        raise DataError(f"{path} cannot be right: {error}") from None


def _own_member(card: Card, roster: RosterFile, folder: Path) -> Member:
    found = roster.current()
    if found.federation != card.federation:
        raise DataError(f"{folder / ROSTER} is of federation {found.federation}; {CARD} is of {card.federation}")
    member = found.active(card.role, card.name)
    if member.number != card.number:
        raise DataError(f"{folder / CARD} gives {card.name} the number {card.number}; the roster {member.number}")
    return member


def _check_certificate(card: Card, pem: bytes, authority_pem: bytes, folder: Path, now: datetime) -> None:
    expected = PeerName(card.federation, card.role, card.name)
    try:
        named = certificates.check_issued(pem, authority_pem, now)
    except GrokfedError as error:
        raise DataError(f"{folder / CERTIFICATE} cannot be used: {error}") from None
    if named != expected:
        raise DataError(f"{folder / CERTIFICATE} is for {named.uri}; expected {expected.uri}")


def _check_keys(keys: PrivateKeys, member: Member, certificate_pem: bytes, folder: Path) -> None:
    path = folder / KEYS
    if not certificates.key_fits(keys.tls_pem, certificate_pem):
        raise DataError(f"the TLS key in {path} is not that of {CERTIFICATE}")
    if keys.signing.public != member.signing_key:
        raise DataError(f"the signing key in {path} is not the one the roster has for {member.name}")
    if (keys.sealing.public if keys.sealing else b"") != member.sealing_key:
        raise DataError(f"the sealing key in {path} is not the one the roster has for {member.name}")
