"""A newcomer's side of its enrolment: make the keys in its own folder, write the request, install the answer.

keys.enc          the private keys, from the beginning; they stay here
enrolment.json    the request, and what the invitation pinned, until the answer is installed
party.json        written last: with it the folder is a party's (core/identity/party.py)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from core.errors import DataError, GrokfedError, SettingsError, StorageError
from core.identity import certificates, strict_json
from core.identity.answer import Answer, read_answer
from core.identity.certificates import PeerName
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.invitation import Invitation
from core.identity.key_pairs import PrivateKeys, draw_keys, write_private_keys
from core.identity.members import Role, Roster
from core.identity.party import AUTHORITY, CARD, CERTIFICATE, ENROLMENT, KEYS, ROSTER, SHARES, Card, write_card
from core.identity.read_me import README, read_me
from core.identity.request import LARGEST_REQUEST, digest_of, make_request, public_keys_of

LARGEST_PENDING = 4 * LARGEST_REQUEST
_FIELDS = {
    "federation": str, "role": str, "name": str, "invitation": str, "registrar": str, "authority": str, "address": str,
    "request": str,
}  # fmt: skip


@dataclass(frozen=True)
class Pending:
    """An enrolment that waits for the registrar's answer. Nothing in it is secret.

    Attributes:
        name: empty if the registrar is to choose it.
        invitation: its public key, 32 bytes.
        registrar: the public key that the answer must be signed with.
        authority: the certificate (PEM) that must have issued the party's own.
        address: of the registrar's service; empty if there was none.
        request: as it is sent.
    """

    federation: str
    role: Role
    name: str
    invitation: bytes
    registrar: bytes
    authority: str = field(repr=False)
    address: str
    request: bytes = field(repr=False)


def request_with(invitation: Invitation, keys: PrivateKeys) -> Pending:
    """Return the enrolment of the party that has these keys."""
    return Pending(
        invitation.federation,
        invitation.role,
        invitation.name,
        invitation.id,
        invitation.registrar,
        invitation.authority,
        invitation.address,
        make_request(invitation, keys),
    )


def begin(folder: Path, invitation: Invitation, passphrase: bytes) -> Pending:
    """Make a party's keys in a new or empty folder, and the request to be sent.

    Raises SettingsError for a folder that holds something, StorageError.
    """
    make_empty_folder(folder)
    keys = draw_keys(invitation.role)
    write_private_keys(folder / KEYS, keys, passphrase)
    pending = request_with(invitation, keys)
    _write_pending(folder / ENROLMENT, pending)
    return pending


def pending_in(folder: Path) -> Pending | None:
    """Return the enrolment that is going on in a folder, if there is one. Raises DataError."""
    path = folder / ENROLMENT
    if not path.is_file() or (folder / CARD).is_file():
        return None
    content = strict_json.fields(strict_json.parse(read_file(path, LARGEST_PENDING), str(path)), str(path), _FIELDS)
    values = {name: strict_json.from_hex(content[name], f"{name} in {path}") for name in ("invitation", "registrar")}
    if content["role"] not in set(Role):
        raise DataError(f"the role in {path} is {content['role'][:80]!r}; known are {', '.join(Role)}")
    return Pending(**(content | values | {"role": Role(content["role"]), "request": content["request"].encode()}))


def install(folder: Path, pending: Pending, raw: bytes, now: datetime) -> Card:
    """Check the registrar's answer and fill the folder with it; the folder is a party's when all of it is written.

    Raises DataError if the answer is not the registrar's answer to this request, or does not fit the keys made here.
    """
    answer, roster = read_answer(raw, pending.registrar)
    card = check_answer(pending, answer, roster, now)
    try:
        if card.role is Role.KEYHOLDER:
            (folder / SHARES).mkdir(mode=0o700, exist_ok=True)
        write_file(folder / CERTIFICATE, answer.certificate.encode(), PUBLIC)
        write_file(folder / AUTHORITY, pending.authority.encode(), PUBLIC)
        write_file(folder / ROSTER, answer.roster_file, PUBLIC)
        write_file(folder / README, read_me(card).encode(), PUBLIC)
        write_card(folder, card)
        (folder / ENROLMENT).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be filled: {error.strerror}") from error
    return card


def check_answer(pending: Pending, answer: Answer, roster: Roster, now: datetime) -> Card:
    """Return the party's card, if a signed answer is the one to this request and fits the keys made here.

    Raises DataError.
    """
    if answer.request != digest_of(pending.request):
        raise DataError("the answer is to another request than the one made in this folder")
    expected = (pending.federation, pending.role, pending.name or answer.name)
    if (answer.federation, answer.role, answer.name) != expected or roster.federation != pending.federation:
        raise DataError(
            f"the answer is for {answer.role} {answer.name[:80]} of federation {answer.federation[:80]}; "
            f"expected {pending.role} {pending.name} of {pending.federation}"
        )
    try:
        card = Card(*expected, answer.number, pending.registrar, answer.address)
        named = certificates.check_issued(answer.certificate.encode(), pending.authority.encode(), now)
        member = roster.active(card.role, card.name)
    except GrokfedError as error:
        raise DataError(f"the answer cannot be used: {error}") from None
    tls_key, signing_key, sealing_key = public_keys_of(pending.request)
    if named != PeerName(*expected) or certificates.certified_key(answer.certificate.encode()) != tls_key:
        raise DataError(f"the certificate in the answer is not for {card.name} with the key made in this folder")
    if (member.number, member.signing_key, member.sealing_key) != (card.number, signing_key, sealing_key):
        raise DataError(f"the roster in the answer has another number or other keys for {card.name}")
    return card


def make_empty_folder(folder: Path) -> None:
    """Make a folder that only its owner can look into, or take an empty one. Raises SettingsError or StorageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}") from error
    if taken:
        raise SettingsError(f"{folder} is there already; expected a new or an empty folder")


def _write_pending(path: Path, pending: Pending) -> None:
    content = {
        "federation": pending.federation, "role": pending.role, "name": pending.name,
        "invitation": pending.invitation.hex(), "registrar": pending.registrar.hex(), "authority": pending.authority,
        "address": pending.address, "request": pending.request.decode(),
    }  # fmt: skip
    write_file(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n", PUBLIC)
