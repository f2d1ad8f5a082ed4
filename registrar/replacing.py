"""Put a new key holder in the place of one that is gone for good, or is not trusted any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from core.errors import SettingsError
from core.identity import certificates
from core.identity.members import Member, Role, Roster
from registrar.federation import THIS_MACHINE, Federation, Seat, check_new, enrol_here
from registrar.folder import NAME as REGISTRAR
from registrar.folder import load_registrar, reserve_serials


def replace_holder(
    folder: Path,
    name: str,
    new: str | None = None,
    *,
    operator: str = THIS_MACHINE,
    now: datetime,
    years: int = certificates.YEARS,
    passphrase_file: Path | None = None,
) -> tuple[Federation, str]:
    """Revoke a key holder and enrol another one with its number; return the federation and the new one's name.

    Shares of keys dealt before cannot be made again, since the registrar keeps none. So these keys are retired: no
    attempt begins with one any more, and new ones are to be dealt.

    Args:
        new: the name of the new holder; by default that of the old one with a number.

    Raises SettingsError if `name` is no key holder, or was replaced before, or `new` is or was a member's name;
    Refused(NOT_IN_ROSTER) for a name that is not there.
    """
    with load_registrar(folder / REGISTRAR, passphrase_file).alone() as registrar:
        old = registrar.roster
        member = _replaceable(old, name)
        new = new or _free_name(old, name)
        check_new(old, new)
        dealt = reserve_serials(registrar, 0) - 1

        def follows(arrival: Member) -> Roster:
            members = [replace(each, revoked=each.revoked or each.name == name) for each in old.members]
            return replace(old, version=old.version + 1, members=(*members, arrival), retired_keys=dealt)

        seat = Seat(Role.KEYHOLDER, new, member.number, operator)
        return enrol_here(folder, registrar, seat, follows, now, years), new


def _replaceable(roster: Roster, name: str) -> Member:
    member = roster.member(name)
    if member not in roster.holders:
        names = ", ".join(holder.name for holder in roster.holders)
        raise SettingsError(f"{name} is no key holder that can be replaced; those are {names}")
    return member


def _free_name(roster: Roster, name: str) -> str:
    """Return the name with the first number from 2 that no member has or had."""
    taken = {member.name for member in roster.members}
    return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)
