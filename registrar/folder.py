"""The registrar's own folder: the authority's key and the key that signs rosters, under a passphrase.

registrar.json   federation, the registrar's public key, the server's address
authority.pem    the authority's certificate
founding.json    how many key holders a federation waits for that is to be made of invited parties
roster.json      the newest roster; missing until the server and all key holders have come
keys.enc         both private keys
serials          how many round keys were dealt
invitations/     what became of each invitation (invitations.py)
lock             held by the command that is changing something

Only the registrar's own commands read it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import DataError, SettingsError, StorageError
from core.identity import certificates, strict_json
from core.identity.certificates import Authority
from core.identity.files import PUBLIC, SECRET, read_file, write_file
from core.identity.key_file import read_keys, read_passphrase, write_keys
from core.identity.members import Roster, check_threshold
from core.identity.party import AUTHORITY, KEYS, LARGEST_SMALL_FILE, ROSTER
from core.identity.roster import RosterFile, sign_roster
from core.identity.sealing import SealingKey
from core.identity.signing import SigningKey
from core.protocol import LARGEST_SERIAL

NAME = "registrar"
CARD = "registrar.json"
SERIALS = "serials"
FOUNDING, LOCK, INVITATIONS = "founding.json", "lock", "invitations"
_CARD_FIELDS = {"federation": str, "registrar": str, "address": str}


@dataclass(frozen=True)
class Founding:
    """The key holders that a federation is to have, and how many of them must agree."""

    threshold: int
    holders: int


@dataclass(frozen=True, repr=False)
class Registrar:
    """The registrar with its keys. The repr shows none.

    Attributes:
        newest: the newest roster it signed; None while the server or a key holder has not come yet.
        founding: what the federation waits for then.
    """

    folder: Path
    federation: str
    address: str
    authority: Authority
    signing: SigningKey
    newest: Roster | None
    founding: Founding | None = None

    @property
    def roster(self) -> Roster:
        """The newest roster. Raises DataError as long as there is none."""
        if self.newest is None:
            raise DataError(
                f"federation {self.federation} is not complete: its server and all key holders have to enrol first"
            )
        return self.newest

    @property
    def proof_key(self) -> SealingKey:
        """The X25519 key for which newcomers prove their sealing keys; it follows from the signing key."""
        derived = HKDF(SHA256(), 32, salt=None, info=b"grokfed registrar proof v1").derive(self.signing.private_bytes())
        return SealingKey.from_private_bytes(derived)

    def now(self) -> Registrar:
        """Return the registrar with the roster that is in its folder at this moment. Raises DataError."""
        return replace(self, newest=_newest(self.folder))

    @contextmanager
    def alone(self) -> Iterator[Registrar]:
        """Keep other commands from changing anything meanwhile, and give the registrar as it is then."""
        with changing(self.folder):
            yield self.now()

    def __repr__(self) -> str:
        version = f"roster version {self.newest.version}" if self.newest else "without a roster yet"
        return f"Registrar(federation {self.federation}, {version})"


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold the lock of the registrar's folder: commands that change the roster come one after another."""
    try:
        with (folder / LOCK).open("w") as file:
            (folder / LOCK).chmod(SECRET)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StorageError(f"{folder / LOCK} cannot be locked: {error.strerror}") from error


def registrar_folder(folder: Path) -> Path:
    """Return the registrar's folder, given that itself or the federation's folder around it. Raises DataError."""
    for candidate in (folder / NAME, folder):
        if (candidate / CARD).is_file():
            return candidate
    raise DataError(f"{folder} is neither a federation's folder nor a registrar's: there is no {CARD}")


def write_registrar(registrar: Registrar, passphrase: bytes) -> None:
    """Fill the registrar's empty folder."""
    folder, public = registrar.folder, registrar.signing.public
    card = {"federation": registrar.federation, "registrar": public.hex(), "address": registrar.address}
    write_file(folder / CARD, json.dumps(card, indent=2, allow_nan=False).encode() + b"\n", PUBLIC)
    write_file(folder / AUTHORITY, certificates.to_pem(registrar.authority.certificate), PUBLIC)
    if registrar.newest is not None:
        write_file(folder / ROSTER, sign_roster(registrar.newest, registrar.signing), PUBLIC)
    if registrar.founding is not None:
        write_file(folder / FOUNDING, json.dumps(asdict(registrar.founding), allow_nan=False).encode() + b"\n", PUBLIC)
    keys = {"authority": certificates.key_to_pem(registrar.authority.key), "signing": registrar.signing.private_bytes()}
    write_keys(folder / KEYS, keys, passphrase)


def load_registrar(folder: Path, passphrase_file: Path | None = None) -> Registrar:
    """Return the registrar, from its folder or the federation's folder around it.

    The passphrase comes from the file, or from where key_file.read_passphrase looks. Raises DataError for what is
    missing, damaged or does not fit together, SettingsError if there is no passphrase.
    """
    own = registrar_folder(folder)
    card, roster = _read_card(own), _newest(own)
    passphrase = read_passphrase(passphrase_file, own, name=NAME)
    key_pem, signing = _read_keys(own / KEYS, passphrase)
    certificate_pem = read_file(own / AUTHORITY, LARGEST_SMALL_FILE)
    if not certificates.key_fits(key_pem, certificate_pem) or signing.public.hex() != card["registrar"]:
        raise DataError(f"the keys in {own / KEYS} are not those of {AUTHORITY} and {CARD}")
    authority = Authority(certificates.key_from_pem(key_pem), certificates.from_pem(certificate_pem, AUTHORITY))
    return Registrar(own, card["federation"], card["address"], authority, signing, roster, _founding(own))


def read_own_roster(folder: Path) -> Roster:
    """Return the newest roster in the registrar's folder, its signature checked. Needs no passphrase.

    Raises DataError, also while there is none.
    """
    card = _read_card(folder)
    if _founding(folder) is not None and not (folder / ROSTER).exists():
        raise DataError(
            f"federation {card['federation']} is not complete: its server and all key holders have to enrol first"
        )
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


def _newest(folder: Path) -> Roster | None:
    return None if _founding(folder) is not None and not (folder / ROSTER).exists() else read_own_roster(folder)


def _founding(folder: Path) -> Founding | None:
    path = folder / FOUNDING
    if not path.exists():
        return None
    types = {"threshold": int, "holders": int}
    content = strict_json.fields(strict_json.parse(read_file(path, LARGEST_SMALL_FILE), str(path)), str(path), types)
    try:
        check_threshold(content["threshold"], content["holders"])
    except SettingsError as error:
        raise DataError(f"{path} cannot be right: {error}") from None
    return Founding(**content)


def _read_keys(path: Path, passphrase: bytes) -> tuple[bytes, SigningKey]:
    raw = read_keys(path, ("authority", "signing"), passphrase)
    try:
        return raw["authority"], SigningKey.from_private_bytes(raw["signing"])
    except ValueError:
        raise DataError(f"{path} opens, but does not hold the keys of a registrar") from None
