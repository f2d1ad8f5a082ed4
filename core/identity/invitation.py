"""An invitation: what the registrar gives a newcomer, so that each can tell the other from anyone else.

Its token is the seed of an Ed25519 key. The newcomer signs its request with that key, so the token itself stays where
it is; the registrar keeps only the public key, which identifies the invitation and does not let it be used. In the
other direction, the invitation pins the registrar's public key and the federation's authority, so that a newcomer
believes no other.

Anyone with the file can enrol in the newcomer's place, once. It has to be handed over as a passphrase would be.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import DataError, SettingsError
from core.identity import sealing, signing, strict_json
from core.identity.files import SECRET, read_file, write_file
from core.identity.members import Role, check_federation, check_name
from core.identity.party import check_address
from core.identity.signing import SigningKey

TOKEN_BYTES = 32
LARGEST_INVITATION = 1 << 13
ENDING = ".invitation"
_FIELDS = {
    "federation": str, "role": str, "name": str, "token": str, "registrar": str, "proof_key": str, "authority": str,
    "address": str, "expires": int,
}  # fmt: skip
_BYTES = ("token", "registrar", "proof_key")


@dataclass(frozen=True)
class Invitation:
    """An invitation as its newcomer has it.

    Attributes:
        name: of the party; empty if the registrar is to choose it.
        token: 32 secret bytes.
        registrar: the registrar's public key (Ed25519), which signs its answer.
        proof_key: another one of its (X25519), for which a key holder proves that it has its sealing key.
        authority: the certificate (PEM) of the federation's authority.
        address: of the registrar's service, HOST:PORT; empty if requests come as files.
        expires: seconds since 1970-01-01.
    """

    federation: str
    role: Role
    name: str
    token: bytes = field(repr=False)
    registrar: bytes
    proof_key: bytes
    authority: str
    address: str
    expires: int

    def __post_init__(self) -> None:
        check_federation(self.federation)
        if self.name:
            check_name(self.name)
        if self.address:
            check_address(self.address, "the registrar's address")
        lengths = (TOKEN_BYTES, signing.PUBLIC_BYTES, sealing.PUBLIC_BYTES)
        for name, length in zip(_BYTES, lengths, strict=True):
            if len(getattr(self, name)) != length:
                raise SettingsError(
                    f"the invitation's {name.replace('_', ' ')} has {len(getattr(self, name))} bytes; expected {length}"
                )

    @property
    def key(self) -> SigningKey:
        """The key that the token is the seed of."""
        return SigningKey.from_private_bytes(self.token)

    @property
    def id(self) -> bytes:
        """What the registrar knows the invitation by: the public key, 32 bytes."""
        return self.key.public

    def check_in_date(self, now: datetime) -> None:
        """Raise DataError if it has expired."""
        expires = datetime.fromtimestamp(self.expires, UTC)
        if now > expires:
            raise DataError(f"the invitation expired on {expires:%Y-%m-%d at %H:%M} UTC; ask the registrar for another")


def new_token() -> bytes:
    """Draw a token from the operating system's randomness."""
    return secrets.token_bytes(TOKEN_BYTES)


def write_invitation(path: Path, invitation: Invitation) -> None:
    """Write the file that is handed to the newcomer, readable by its owner only. Raises StorageError."""
    content: dict[str, Any] = asdict(invitation)
    content |= {name: content[name].hex() for name in _BYTES}
    write_file(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n", SECRET)


def read_invitation(path: Path) -> Invitation:
    """Return the invitation in a file. Raises DataError for anything else."""
    what = f"the invitation {path}"
    content = strict_json.fields(strict_json.parse(read_file(path, LARGEST_INVITATION), what), what, _FIELDS)
    if content["role"] not in set(Role):
        raise DataError(f"the role in {what} is {content['role'][:80]!r}; known are {', '.join(Role)}")
    values = {name: strict_json.from_hex(content[name], f"{name} in {what}") for name in _BYTES}
    try:
        invitation = Invitation(**(content | values | {"role": Role(content["role"])}))
        datetime.fromtimestamp(invitation.expires, UTC)
    except (SettingsError, ValueError, OverflowError, OSError) as error:
        raise DataError(f"{what} cannot be right: {error}") from None
    return invitation
