"""The command `enroll` of every party: make its keys, have them certified, install what the registrar answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from core.commands import command_of
from core.errors import DataError, SettingsError
from core.identity.answer import LARGEST_ANSWER
from core.identity.enrolment import Pending, begin, install, pending_in
from core.identity.files import PUBLIC, SECRET, read_file, write_file
from core.identity.invitation import Invitation, read_invitation
from core.identity.key_file import MOUNTED_SECRET, RandomPassphrase, passphrase_file_of, read_passphrase
from core.identity.members import Role
from core.identity.party import CARD, read_card
from core.settings.setting import Bounds, Setting, Settings
from core.wire.registration import send_request


@dataclass(frozen=True, kw_only=True)
class EnrolSettings(Settings):
    """Where a newcomer makes its keys, and how its request reaches the registrar."""

    identity: Annotated[Path, Setting("The party's folder: a new or empty one, in which its keys are made.", "folder")]
    passphrase_file: Annotated[
        Path | None,
        Setting(
            "File with the passphrase of the party's keys; if it is missing, a passphrase is drawn and written there. "
            "Without it, /run/secrets, then passphrases/NAME next to the folder.",
            "file",
        ),
    ] = None
    invitation: Annotated[Path | None, Setting("The invitation from the registrar.", "file")] = None
    request: Annotated[Path | None, Setting("Write the request to this file, instead of sending it.", "file")] = None
    answer: Annotated[Path | None, Setting("Install the registrar's answer from this file.", "file")] = None
    registrar: Annotated[
        str | None, Setting("Where the registrar's service is; without it, what the invitation says.", "HOST:PORT")
    ] = None
    if_missing: Annotated[bool, Setting("Do nothing if the folder is a party's already.")] = False
    patience: Annotated[
        float,
        Setting(
            "How long to wait for the registrar, and for parties that it waits for.", "seconds", Bounds(at_least=1)
        ),
    ] = 60.0


def enroll(role: Role, settings: EnrolSettings) -> None:
    """Take a party as far into its federation as the settings say, and print what there is to do next.

    Raises SettingsError or DataError for what does not fit together, Refused if the registrar turns the party down.
    """
    folder = settings.identity
    if (folder / CARD).is_file():
        card = read_card(folder)
        if not settings.if_missing:
            raise SettingsError(f"{folder} is the folder of {card.role} {card.name} already")
        print(f"{folder} is the folder of {card.role} {card.name} already")
        return
    invitation = _invitation(role, settings)
    pending = _pending(role, settings, invitation)
    if settings.answer is not None:
        _install(folder, pending, read_file(settings.answer, LARGEST_ANSWER))
    elif settings.request is not None:
        write_file(settings.request, pending.request, PUBLIC)
        print(
            f"send {settings.request} to the registrar, and install its answer with\n"
            f"    {_program(role)} enroll --identity {folder} --answer FILE"
        )
    else:
        _install(folder, pending, send_request(_address(settings, pending), pending, settings.patience))


def _invitation(role: Role, settings: EnrolSettings) -> Invitation | None:
    if settings.invitation is None:
        return None
    invitation = read_invitation(settings.invitation)
    if invitation.role is not role:
        raise SettingsError(
            f"{settings.invitation} invites a {invitation.role}; use {_program(invitation.role)} enroll"
        )
    return invitation


def _program(role: Role) -> str:
    return command_of("dashboard" if role is Role.OBSERVER else role.value)


def _pending(role: Role, settings: EnrolSettings, invitation: Invitation | None) -> Pending:
    """Return the enrolment that is going on in the folder, or begin one."""
    folder = settings.identity
    pending = pending_in(folder)
    if pending is not None:
        if pending.role is not role:
            raise SettingsError(f"{folder} is to be the folder of a {pending.role}; expected a {role}'s")
        if invitation is not None and invitation.id != pending.invitation:
            raise SettingsError(f"the keys in {folder} were made for another invitation; remove it, or use another")
        return pending
    if settings.answer is not None:
        raise DataError(f"there is no request in {folder} that an answer could be to; make one with --invitation FILE")
    if invitation is None:
        raise SettingsError("--invitation FILE is needed: what the registrar's `invite` has written for this party")
    now = datetime.now(UTC)
    invitation.check_in_date(now)
    path, passphrase = _passphrase(settings, invitation)
    pending = begin(folder, invitation, passphrase)
    print(f"the keys of {pending.name or 'this party'} are in {folder}, under the passphrase in {path}")
    print(f"they are for federation {pending.federation}, whose registrar has the key {pending.registrar.hex()}")
    return pending


def _passphrase(settings: EnrolSettings, invitation: Invitation) -> tuple[Path, bytes]:
    """Return the passphrase, drawn if there is none yet, and the file that it is in."""
    path = settings.passphrase_file
    if path is None:
        if not invitation.name:
            raise SettingsError("--passphrase-file FILE is needed: the registrar will choose this party's name")
        path = passphrase_file_of(settings.identity, invitation.name)
        mounted = [MOUNTED_SECRET / invitation.name, MOUNTED_SECRET]
        path = next((each for each in mounted if each.is_file()), path)
    if path.exists():
        return path, read_passphrase(path, None)
    passphrase = RandomPassphrase()
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True)
    write_file(path, passphrase + b"\n", SECRET)
    return path, passphrase


def _address(settings: EnrolSettings, pending: Pending) -> str:
    address = settings.registrar or pending.address
    if not address:
        raise SettingsError(
            "the invitation does not say where the registrar's service is; pass --registrar HOST:PORT to send the "
            "request, or --request FILE to write it to a file"
        )
    return address


def _install(folder: Path, pending: Pending, raw: bytes) -> None:
    card = install(folder, pending, raw, datetime.now(UTC))
    print(f"{card.name} is enrolled in federation {card.federation}; its folder is {folder}")
