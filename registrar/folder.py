"""The registrar's own folder: the authority's key and the key that signs rosters, under a passphrase.

registrar.json   federation, the registrar's public key, the server's address
authority.pem    the authority's certificate
roster.json      the newest roster
keys.enc         both private keys
serials          how many round keys were dealt

Only the registrar's own commands read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import DataError, SettingsError, StorageError
from core.identity import certificates, strict_json
from core.identity.certificates import Authority
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.key_file import read_keys, read_passphrase, write_keys
from core.identity.members import Roster
from core.identity.party import AUTHORITY, KEYS, LARGEST_SMALL_FILE, ROSTER
from core.identity.roster import RosterFile, sign_roster
from core.identity.signing import SigningKey
from core.protocol import LARGEST_SERIAL

NAME = "registrar"
CARD = "registrar.json"
SERIALS = "serials"
_CARD_FIELDS = {"federation": str, "registrar": str, "address": str}


@dataclass(frozen=True, repr=False)
class Registrar:
    """The registrar with its keys. `roster` is the newest it signed. The repr shows no key."""

    folder: Path
    address: str
    authority: Authority
    signing: SigningKey
    roster: Roster

    def __repr__(self) -> str:
        return f"Registrar(federation {self.roster.federation}, roster version {self.roster.version})"


def registrar_folder(folder: Path) -> Path:
    """Return the registrar's folder, given that itself or the federation's folder around it. Raises DataError."""
    for candidate in (folder / NAME, folder):
        if (candidate / CARD).is_file():
            return candidate
    raise DataError(f"{folder} is neither a federation's folder nor a registrar's: there is no {CARD}")


def write_registrar(registrar: Registrar, passphrase: bytes) -> None:
    """Fill the registrar's empty folder."""
    folder, public = registrar.folder, registrar.signing.public
    card = {"federation": registrar.roster.federation, "registrar": public.hex(), "address": registrar.address}
    write_file(folder / CARD, json.dumps(card, indent=2).encode() + b"\n", PUBLIC)
    write_file(folder / AUTHORITY, certificates.to_pem(registrar.authority.certificate), PUBLIC)
    write_file(folder / ROSTER, sign_roster(registrar.roster, registrar.signing), PUBLIC)
    keys = {"authority": certificates.key_to_pem(registrar.authority.key), "signing": registrar.signing.private_bytes()}
    write_keys(folder / KEYS, keys, passphrase)


def load_registrar(folder: Path, passphrase_file: Path | None = None) -> Registrar:
    """Return the registrar, from its folder or the federation's folder around it.

    The passphrase comes from the file, or from where key_file.read_passphrase looks. Raises DataError for what is
    missing, damaged or does not fit together, SettingsError if there is no passphrase.
    """
    own = registrar_folder(folder)
    card, roster = _read_card(own), read_own_roster(own)
    passphrase = read_passphrase(passphrase_file, own, name=NAME)
    key_pem, signing = _read_keys(own / KEYS, passphrase)
    certificate_pem = read_file(own / AUTHORITY, LARGEST_SMALL_FILE)
    if not certificates.key_fits(key_pem, certificate_pem) or signing.public.hex() != card["registrar"]:
        raise DataError(f"the keys in {own / KEYS} are not those of {AUTHORITY} and {CARD}")
    authority = Authority(certificates.key_from_pem(key_pem), certificates.from_pem(certificate_pem, AUTHORITY))
    return Registrar(own, card["address"], authority, signing, roster)


def read_own_roster(folder: Path) -> Roster:
    """Return the newest roster in the registrar's folder, its signature checked. Needs no passphrase.

    Raises DataError.
    """
    card = _read_card(folder)
    public = strict_json.from_hex(card["registrar"], f"the registrar's key in {folder / CARD}")
    roster = RosterFile(folder / ROSTER, public).current()
    if roster.federation != card["federation"]:
        raise DataError(f"{folder / ROSTER} is of federation {roster.federation}; {CARD} of {card['federation'][:80]}")
    return roster


def read_address(folder: Path) -> str:
    """Where the server of the registrar's federation is, HOST:PORT. Needs no passphrase. Raises DataError."""
    return _read_card(folder)["address"]


def reserve_serials(registrar: Registrar, count: int) -> int:
    """Take the next `count` serial numbers of round keys, durably, and give the first. No number is given twice.

    Raises SettingsError if there are not as many left, DataError or StorageError.
    """
    path = registrar.folder / SERIALS
    dealt = 0
    if path.exists():
        text = read_file(path, LARGEST_SMALL_FILE).decode("ascii", "replace").strip()
        if not text.isdecimal():
            raise DataError(f"{path} holds {text[:40]!r}; expected the number of round keys dealt so far")
        dealt = int(text)
    if dealt + count > LARGEST_SERIAL:
        raise SettingsError(f"{dealt} round keys were dealt; {count} more would pass the largest serial number")
    write_file(path, f"{dealt + count}\n".encode(), PUBLIC)
    return dealt + 1


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into. Raises StorageError."""
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _read_card(folder: Path) -> dict[str, str]:
    path = folder / CARD
    return strict_json.fields(
        strict_json.parse(read_file(path, LARGEST_SMALL_FILE), str(path)), str(path), _CARD_FIELDS
    )


def _read_keys(path: Path, passphrase: bytes) -> tuple[bytes, SigningKey]:
    raw = read_keys(path, ("authority", "signing"), passphrase)
    try:
        return raw["authority"], SigningKey.from_private_bytes(raw["signing"])
    except ValueError:
        raise DataError(f"{path} opens, but does not hold the keys of a registrar") from None
