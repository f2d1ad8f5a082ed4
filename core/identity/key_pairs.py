"""A party's private keys: made where they are used, kept in its key file, and never sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import DataError
from core.identity import certificates
from core.identity.key_file import read_keys, write_keys
from core.identity.members import Role
from core.identity.sealing import SealingKey
from core.identity.signing import SigningKey


@dataclass(frozen=True, repr=False)
class PrivateKeys:
    """What keys.enc holds. Only a key holder has a sealing key. The repr shows none of it."""

    tls_pem: bytes
    signing: SigningKey
    sealing: SealingKey | None = None

    def __repr__(self) -> str:
        return f"PrivateKeys({2 + (self.sealing is not None)} keys)"


def draw_keys(role: Role) -> PrivateKeys:
    """Return new keys for a party, from the operating system's randomness."""
    sealing = SealingKey.generate() if role is Role.KEYHOLDER else None
    return PrivateKeys(certificates.key_to_pem(certificates.new_key()), SigningKey.generate(), sealing)


def write_private_keys(path: Path, keys: PrivateKeys, passphrase: bytes) -> None:
    """Encrypt a party's keys into its key file. Raises as key_file.write_key_file."""
    raw = {
        "tls": keys.tls_pem,
        "signing": keys.signing.private_bytes(),
        "sealing": keys.sealing.private_bytes() if keys.sealing else b"",
    }
    write_keys(path, raw, passphrase)


def read_private_keys(path: Path, passphrase: bytes) -> PrivateKeys:
    """Return the private keys in a party's key file. Raises DataError."""
    raw = read_keys(path, ("tls", "signing", "sealing"), passphrase)
    try:
        sealing = SealingKey.from_private_bytes(raw["sealing"]) if raw["sealing"] else None
        return PrivateKeys(raw["tls"], SigningKey.from_private_bytes(raw["signing"]), sealing)
    except ValueError:
        raise DataError(f"{path} opens, but does not hold the keys of a party") from None
