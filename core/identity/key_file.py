"""Private keys on disk: AES-256-GCM under a key that scrypt makes from a passphrase (RFC 7914).

A passphrase that this module drew has 160 random bits, and no dictionary helps to guess it. It needs no stretching, and
opens its file at once: the key is then HKDF-SHA256 of it (RFC 5869), and the header says log2 n = 0.

    file := header | ciphertext | tag (16)
    header := b"grokfed-keys" | version | log2 n | r | p | salt (16) | nonce (12)

The header is authenticated too, so nothing of a file can be changed unnoticed. A passphrase is read from a file, from a
mounted secret or from the terminal, never from the environment, which other programs and crash reports can see.
"""

from __future__ import annotations

import base64
import getpass
import json
import secrets
import stat
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from core.errors import DataError, SettingsError
from core.identity import strict_json
from core.identity.files import SECRET, read_file, write_file

MAGIC = b"grokfed-keys"
VERSION = 1
COST = 15
"""log2 of scrypt's n: 2^15 with r = 8 takes 32 MiB and about a tenth of a second."""
SMALLEST_COST = 15
LARGEST_COST = 20
"""2^20 takes 1 GiB; a file that asks for more is not ours."""
BLOCK_SIZE, PARALLEL = 8, 1
"""scrypt's r and p."""
UNSTRETCHED = 0
"""Stands in the header in place of log2 n where the passphrase was drawn at random."""
RANDOM_BYTES = 20
LARGEST_FILE = 1 << 24
LARGEST_PASSPHRASE = 1024
MOUNTED_SECRET = Path("/run/secrets/grokfed_passphrase")
"""Where containers mount secrets: one passphrase, or a folder of them by the party's name."""

_LAYOUT = struct.Struct(">12sBBBB16s12s")


@dataclass(frozen=True)
class _Header:
    """Everything but the passphrase that the key depends on."""

    cost: int
    salt: bytes
    nonce: bytes

    def to_bytes(self) -> bytes:
        return _LAYOUT.pack(MAGIC, VERSION, self.cost, BLOCK_SIZE, PARALLEL, self.salt, self.nonce)

    def cipher(self, passphrase: bytes) -> AESGCM:
        if self.cost == UNSTRETCHED:
            return AESGCM(HKDF(SHA256(), 32, self.salt, MAGIC).derive(passphrase))
        return AESGCM(Scrypt(self.salt, 32, 1 << self.cost, BLOCK_SIZE, PARALLEL).derive(passphrase))


class RandomPassphrase(bytes):
    """A passphrase of 160 bits from the operating system, in groups of letters that can be read out."""

    def __new__(cls) -> RandomPassphrase:
        """Draw a new one."""
        letters = base64.b32encode(secrets.token_bytes(RANDOM_BYTES)).decode().lower()
        return super().__new__(cls, "-".join(letters[i : i + 4] for i in range(0, len(letters), 4)).encode())


def write_key_file(path: Path, content: bytes, passphrase: bytes, cost: int | None = None) -> None:
    """Encrypt `content` into the file `path`, atomically, readable by its owner only (0600) from the first moment.

    `cost` is log2 of scrypt's n; if not given, COST, or nothing for a RandomPassphrase. Raises SettingsError for an
    empty passphrase or a cost outside SMALLEST_COST to LARGEST_COST, StorageError if the file cannot be written.
    """
    if not passphrase:
        raise SettingsError(f"the passphrase for {path} is empty")
    if cost is None:
        cost = UNSTRETCHED if isinstance(passphrase, RandomPassphrase) else COST
    elif not SMALLEST_COST <= cost <= LARGEST_COST:
        raise SettingsError(f"the cost of the passphrase is 2^{cost}; expected 2^{SMALLEST_COST} to 2^{LARGEST_COST}")
    header = _Header(cost, secrets.token_bytes(16), secrets.token_bytes(12))
    raw = header.to_bytes()
    write_file(path, raw + header.cipher(passphrase).encrypt(header.nonce, content, raw), SECRET)


def read_key_file(path: Path, passphrase: bytes) -> bytes:
    """Return the content of a key file.

    Raises DataError if it is missing, open to others than its owner, not a key file, of another passphrase or changed.
    """
    raw = read_file(path, LARGEST_FILE)
    check_private(path)
    header = _header_of(raw, path)
    try:
        return header.cipher(passphrase).decrypt(header.nonce, raw[_LAYOUT.size :], raw[: _LAYOUT.size])
    except InvalidTag:
        raise DataError(
            f"{path} does not open: the passphrase is not the one it was made with, or it was changed"
        ) from None


def write_keys(path: Path, keys: Mapping[str, bytes], passphrase: bytes) -> None:
    """Encrypt several keys, each under its name, into one key file. Raises as write_key_file."""
    content = json.dumps({name: base64.b64encode(key).decode() for name, key in keys.items()}, allow_nan=False)
    write_key_file(path, content.encode(), passphrase)


def read_keys(path: Path, names: Collection[str], passphrase: bytes) -> dict[str, bytes]:
    """Return the keys of a file that holds exactly these names. Raises DataError."""
    content = strict_json.parse(read_key_file(path, passphrase), str(path))
    encoded = strict_json.fields(content, str(path), dict.fromkeys(names, str))
    try:
        return {name: base64.b64decode(encoded[name], validate=True) for name in names}
    except ValueError:
        raise DataError(f"{path} opens, but what it holds is not written in base 64") from None


def check_private(path: Path) -> None:
    """Raise DataError if others than the owner may read or write the file."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise DataError(f"{path} has mode {mode:04o}, so others than its owner can open it; run chmod 600 on it")


def read_passphrase(
    file: Path | None, folder: Path | None, *, name: str | None = None, mounted: Path = MOUNTED_SECRET
) -> bytes:
    """Return the passphrase of a party, without the line's end.

    From `file` if it is given. Else from the first of these that is there: `mounted`/NAME, `mounted` itself,
    FEDERATION/passphrases/NAME for a party's folder FEDERATION/NAME given as `folder`. Else the terminal is asked.

    `name` is the party's, by default that of its folder. Raises SettingsError if there is no passphrase.
    """
    if file is not None:
        return _from_file(file)
    name = name or (folder.resolve().name if folder else "")
    places = [mounted / name, mounted] if name else [mounted]
    if folder and name:
        places.append(passphrase_file_of(folder, name))
    for place in places:
        if place.is_file():
            return _from_file(place)
    if not sys.stdin.isatty():
        raise SettingsError(
            f"there is no passphrase{f' for {name}' * bool(name)}: none of {', '.join(map(str, places))} is a file, "
            "none was named, and there is no terminal to ask on"
        )
    try:
        return _checked(getpass.getpass(f"passphrase{f' of {name}' * bool(name)}: ").encode(), "the terminal")
    except EOFError:
        raise SettingsError("no passphrase was entered") from None


def passphrase_file_of(folder: Path, name: str) -> Path:
    """Return where the passphrase of a party is, if it is next to the party's folder: passphrases/NAME."""
    return folder.resolve().parent / "passphrases" / name


def _from_file(path: Path) -> bytes:
    try:
        return _checked(read_file(path, LARGEST_PASSPHRASE).rstrip(b"\r\n"), str(path))
    except DataError as error:
        raise SettingsError(f"the passphrase cannot be read: {error}") from None


def _checked(passphrase: bytes, where: str) -> bytes:
    if not passphrase:
        raise SettingsError(f"the passphrase from {where} is empty")
    return passphrase


def _header_of(raw: bytes, path: Path) -> _Header:
    if len(raw) < _LAYOUT.size + 16 or not raw.startswith(MAGIC):
        raise DataError(f"{path} is not a key file, or is cut short")
    _, version, cost, block_size, parallel, salt, nonce = _LAYOUT.unpack(raw[: _LAYOUT.size])
    if version != VERSION:
        raise DataError(f"{path} is a key file of version {version}; expected {VERSION}")
    known_cost = cost == UNSTRETCHED or SMALLEST_COST <= cost <= LARGEST_COST
    if not known_cost or (block_size, parallel) != (BLOCK_SIZE, PARALLEL):
        raise DataError(
            f"{path} was made with scrypt n = 2^{cost}, r = {block_size}, p = {parallel}; expected "
            f"n = 2^{SMALLEST_COST} to 2^{LARGEST_COST}, r = {BLOCK_SIZE}, p = {PARALLEL}"
        )
    return _Header(cost, salt, nonce)
