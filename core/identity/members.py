"""Who belongs to a federation, in which role, with which public keys, and who was revoked. Cannot contradict itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from core.errors import Reason, Refused, SettingsError
from core.identity import sealing, signing
from core.limits import MOST_HOLDERS, PARTY_NAME

FEDERATION = re.compile(r"[0-9a-f]{16}")
LONGEST_OPERATOR = 100


class Role(StrEnum):
    """What a party does in a federation."""

    SERVER = "server"
    KEYHOLDER = "keyholder"
    CLIENT = "client"
    OBSERVER = "observer"


@dataclass(frozen=True)
class Member:
    """One party, as the others know it.

    Attributes:
        name: unique in the federation, for ever; also the name of its folder.
        number: counts from 1 within the role; a holder's is that of its key shares.
        signing_key: Ed25519 public key, 32 bytes.
        sealing_key: X25519 public key, 32 bytes, of a key holder; others have none.
        operator: who runs it, as far as the registrar knows.
        revoked: no longer believed in anything.

    Raises SettingsError when made with anything else.
    """

    name: str
    role: Role
    number: int
    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(default=b"", repr=False)
    operator: str = ""
    revoked: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.number < 1:
            raise SettingsError(f"{self.name}'s number is {self.number}; numbers count from 1")
        if len(self.signing_key) != signing.PUBLIC_BYTES:
            raise SettingsError(
                f"{self.name}'s signing key has {len(self.signing_key)} bytes; expected {signing.PUBLIC_BYTES}"
            )
        expected = sealing.PUBLIC_BYTES if self.role is Role.KEYHOLDER else 0
        if len(self.sealing_key) != expected:
            raise SettingsError(f"{self.name}'s sealing key has {len(self.sealing_key)} bytes; expected {expected}")
        check_operator(self.operator, self.name)


@dataclass(frozen=True)
class Roster:
    """One version of the list of members.

    Attributes:
        threshold: how many key holders must agree: to sign a round's list, open a sum, endorse a model.
        members: one that replaces a revoked key holder has its number, and stands after it.
        retired_keys: no attempt begins with a round key up to this serial number any more.

    Raises SettingsError when made with what contradicts itself.
    """

    federation: str
    version: int
    threshold: int
    members: tuple[Member, ...]
    retired_keys: int = 0

    def __post_init__(self) -> None:
        check_federation(self.federation)
        if self.version < 1:
            raise SettingsError(f"the roster's version is {self.version}; versions count from 1")
        # Without regard to case, because names are names of folders, and some disks do not tell them apart.
        _check_unique((member.name.lower() for member in self.members), "the name")
        in_place = [member for member in self.members if member not in self.former_holders]
        _check_unique((f"{member.role} {member.number}" for member in in_place), "the role and number")
        for former in self.former_holders:
            if not former.revoked:
                raise SettingsError(f"{former.name} was replaced as key holder {former.number}, and is not revoked")
        if self.retired_keys < 0:
            raise SettingsError(f"the roster retires keys up to {self.retired_keys}; expected a serial number, or 0")
        servers = len(self._in_role(Role.SERVER))
        if servers != 1:
            raise SettingsError(f"the roster has {servers} servers; expected exactly 1")
        holders = len(self.holders)
        if [holder.number for holder in self.holders] != list(range(1, holders + 1)):
            raise SettingsError(f"the {holders} key holders are not numbered 1 to {holders}")
        check_threshold(self.threshold, holders)

    @cached_property
    def server(self) -> Member:
        """The one aggregator of the federation."""
        return self._in_role(Role.SERVER)[0]

    @cached_property
    def holders(self) -> tuple[Member, ...]:
        """The key holders by number, the revoked ones too: a sharing counts them all. `active` says who may act."""
        return tuple({holder.number: holder for holder in self._in_role(Role.KEYHOLDER)}.values())

    @cached_property
    def former_holders(self) -> tuple[Member, ...]:
        """Key holders in whose place there is another one now."""
        return tuple(holder for holder in self._in_role(Role.KEYHOLDER) if holder not in self.holders)

    @cached_property
    def active_holders(self) -> tuple[Member, ...]:
        """The key holders that may act, by number."""
        return tuple(holder for holder in self.holders if not holder.revoked)

    @cached_property
    def clients(self) -> tuple[Member, ...]:
        """All clients by number, the revoked ones too. `active` says who may act."""
        return self._in_role(Role.CLIENT)

    @cached_property
    def observers(self) -> tuple[Member, ...]:
        """All observers by number, the revoked ones too. They watch, and count for nothing else."""
        return self._in_role(Role.OBSERVER)

    def member(self, name: str) -> Member:
        """Return the member of this name, revoked or not. Raises Refused(NOT_IN_ROSTER)."""
        if name not in self._by_name:
            raise Refused(Reason.NOT_IN_ROSTER, f"{name[:80]!r} is not in the roster of federation {self.federation}")
        return self._by_name[name]

    def active(self, role: Role, name: str) -> Member:
        """Return the member of this name, if it may act in this role now.

        Raises Refused(NOT_IN_ROSTER, WRONG_ROLE or REVOKED).
        """
        member = self.member(name)
        if member.role is not role:
            raise Refused(Reason.WRONG_ROLE, f"{name} is a {member.role} of this federation, not a {role}")
        if member.revoked:
            raise Refused(Reason.REVOKED, f"{name} was revoked by the registrar (roster version {self.version})")
        return member

    @property
    def opened_once_against(self) -> int:
        """How many dishonest holders, with a dishonest aggregator, cannot have two lists or sums of one round accepted.

        Any two groups of t holders have at least 2 t - n in common. Each honest one helps a round once only; so if more
        are in common than are dishonest, there is no group for a second one.
        """
        return max(0, 2 * self.threshold - len(self.holders) - 1)

    def operators(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the members by operator; an operator with two roles can break what separates them."""
        found: dict[str, tuple[str, ...]] = {}
        for member in self.members:
            found[member.operator] = (*found.get(member.operator, ()), member.name)
        return found

    @cached_property
    def _by_name(self) -> dict[str, Member]:
        return {member.name: member for member in self.members}

    def _in_role(self, role: Role) -> tuple[Member, ...]:
        return tuple(sorted((m for m in self.members if m.role is role), key=lambda member: member.number))


def check_name(name: str) -> None:
    """Raise SettingsError unless this can be a party's name, and with it a folder's."""
    if not PARTY_NAME.fullmatch(name):
        raise SettingsError(
            f"a party's name is {name[:80]!r}; expected 1 to 64 letters, digits, dots, dashes or underscores, "
            "the first a letter or digit"
        )


def check_operator(operator: str, name: str) -> None:
    """Raise SettingsError unless this can stand in the roster as who runs the party `name`."""
    if len(operator) > LONGEST_OPERATOR or not operator.isprintable():
        raise SettingsError(
            f"{name}'s operator is {operator[:80]!r}; expected up to {LONGEST_OPERATOR} printable letters"
        )


def check_federation(federation: str) -> None:
    """Raise SettingsError unless this can be a federation's name."""
    if not FEDERATION.fullmatch(federation):
        raise SettingsError(f"the federation is {federation[:80]!r}; expected 16 hexadecimal digits")


def check_threshold(threshold: int, holders: int) -> None:
    """Raise SettingsError unless `threshold` of `holders` can open sums and any two such groups share a holder.

    If two groups without a common holder can each open a sum, no holder sees both openings: an aggregator alone could
    have a round opened twice, with a client and without. With a threshold of more than half, any two groups share
    2 t - n holders.
    """
    if not 1 <= threshold <= holders <= MOST_HOLDERS:
        raise SettingsError(
            f"the threshold is {threshold} of {holders} key holders; "
            f"expected 1 <= threshold <= key holders <= {MOST_HOLDERS}"
        )
    if 2 * threshold <= holders:
        raise SettingsError(
            f"the threshold is {threshold} of {holders} key holders; expected more than half of them, for else two "
            "groups could open two sums of one round, and neither would know of the other"
        )


def _check_unique(things: Iterable[str], what: str) -> None:
    for thing, times in Counter(things).items():
        if times > 1:
            raise SettingsError(f"{what} {thing!r} is in the roster {times} times; expected once")
