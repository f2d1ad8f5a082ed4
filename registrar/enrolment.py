"""Invite newcomers, and admit those that were invited. No network; admit() is all that the service (service.py) calls.

A newcomer makes its own keys and sends only a request (core/identity/request.py). The registrar checks that the request
was made with the token of an invitation that is open, for the party that was invited; then it issues the certificate
and signs the next roster. What was admitted is written down before the roster changes, so a command that is cut off
between the two is finished by the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from core.errors import Reason, Refused, SettingsError
from core.identity import certificates
from core.identity.answer import Answer
from core.identity.certificates import PeerName
from core.identity.invitation import Invitation, new_token
from core.identity.members import Member, Role, Roster, check_name, check_operator
from core.identity.request import EnrolmentRequest
from core.identity.roster import sign_roster
from registrar.folder import Registrar
from registrar.invitations import Admission, InvitationRecord, Invitations, check_count
from registrar.publishing import Federation, check_party_name, publish

DAYS = 7
"""For how long an invitation is good."""


@dataclass(frozen=True)
class Guest:
    """Who is invited.

    Attributes:
        name: of the party; for several clients, what their names begin with.
        count: how many clients; 1 invites one party by its name.
        address: where the registrar's service will be, HOST:PORT; empty if requests come as files.
        expires: seconds since 1970-01-01.
    """

    name: str
    role: Role
    expires: int
    operator: str = ""
    count: int = 1
    several: bool = False
    address: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        new: whether it was admitted just now, and not before.
        missing: who has to come before the first roster can be signed; then there is no answer yet.
        first_roster: whether this request was the last that the first roster waited for.
    """

    name: str
    new: bool
    answer: bytes | None
    missing: tuple[str, ...] = ()
    first_roster: bool = False


# ------------------------------------------------------------------------------------------------ inviting


def new_invitation(registrar: Registrar, guest: Guest, first: int) -> tuple[Invitation, InvitationRecord]:
    """Return an invitation, and what the registrar keeps of it: everything but the token. Raises SettingsError."""
    check_operator(guest.operator, guest.name)
    invitation = Invitation(
        federation=registrar.federation,
        role=guest.role,
        name="" if guest.several else guest.name,
        token=new_token(),
        registrar=registrar.signing.public,
        proof_key=registrar.proof_key.public,
        authority=certificates.to_pem(registrar.authority.certificate).decode(),
        address=guest.address,
        expires=guest.expires,
    )
    record = InvitationRecord(
        invitation.id, guest.role, guest.name, first, guest.count, guest.several, guest.operator, guest.expires
    )
    return invitation, record


def invite(registrar: Registrar, guest: Guest) -> Invitation:
    """Make an invitation, in place of an earlier one to the same party that was not used.

    Raises SettingsError for a name that is or was a member's, or that was promised to another, and for a role of which
    the federation has all its members.
    """
    check_count(guest.count)
    check_party_name(guest.name)
    with registrar.alone() as current:
        invitations = Invitations(current.folder)
        same = [each for each in invitations.all() if (each.role, each.name) == (guest.role, guest.name)]
        earlier = [each for each in same if each.several == guest.several and not each.used_up]
        others = [each for each in invitations.all() if each not in earlier]
        others += [replace(each, count=len(each.admissions)) for each in earlier if each.admissions]
        first = _first_number(current, guest, others, earlier)
        invitation, record = new_invitation(current, guest, first)
        _check_names_free(current, record, others)
        for each in earlier:
            invitations.cancel(each)
        invitations.write(record)
    return invitation


def _first_number(
    registrar: Registrar, guest: Guest, others: Iterable[InvitationRecord], earlier: list[InvitationRecord]
) -> int:
    """Return the number of the party, or of the first of several."""
    if guest.role in (Role.CLIENT, Role.OBSERVER):
        if earlier and not guest.several:
            return earlier[0].first
        return next_number(registrar, guest.role, others)
    if registrar.newest is not None:
        raise SettingsError(f"federation {registrar.federation} has its server and all its key holders already")
    if not earlier:
        raise SettingsError(
            f"{guest.name[:80]} is not one of the {guest.role}s that federation {registrar.federation} was made for"
        )
    return earlier[0].first


def next_number(registrar: Registrar, role: Role, records: Iterable[InvitationRecord]) -> int:
    """Return the lowest number above those of all clients, or observers, and of those invited."""
    members = [each for each in registrar.newest.members if each.role is role] if registrar.newest else []
    invited = [each.first + each.count - 1 for each in records if each.role is role]
    return max([0, *(member.number for member in members), *invited]) + 1


def _check_names_free(registrar: Registrar, record: InvitationRecord, others: Iterable[InvitationRecord]) -> None:
    taken = {member.name.lower() for member in (registrar.newest.members if registrar.newest else ())}
    promised = {name.lower() for each in others for name in each.names}
    for name in record.names:
        check_name(name)
        if name.lower() in taken:
            raise SettingsError(f"{name} is or was a member already; a name is given once, even if it was revoked")
        if name.lower() in promised:
            raise SettingsError(f"{name} was promised to another by an earlier invitation")


# ------------------------------------------------------------------------------------------------ admitting


def admit(registrar: Registrar, request: EnrolmentRequest, now: datetime, years: int = certificates.YEARS) -> Outcome:
    """Admit the sender of a request whose proofs hold, or give the same answer again.

    Raises Refused with the reason: WRONG_FEDERATION, INVITATION (unknown, expired or used up), WRONG_ROLE, NAME_TAKEN.
    """
    if request.federation != registrar.federation:
        raise Refused(
            Reason.WRONG_FEDERATION,
            f"the request is for federation {request.federation[:80]!r}; this registrar's is {registrar.federation}",
        )
    with registrar.alone() as current:
        invitations = Invitations(current.folder)
        record = invitations.find(request.invitation)
        if record is None:
            raise Refused(Reason.INVITATION, "the registrar knows no such invitation, or has replaced it by another")
        admission = record.admitted(request.digest)
        new = admission is None
        if admission is None:
            check_invited(record, request, now)
            admission = certified(current, record, request, now, years)
            _check_names_unused(current, admission)
            record = replace(record, admissions=(*record.admissions, admission))
            invitations.write(record)
        enrolled, missing = _enrol(current, invitations, record)
        if enrolled is None:
            return Outcome(admission.name, new, None, missing)
        answer = answer_to(current, enrolled, record, admission).sign(current.signing)
        return Outcome(admission.name, new, answer, first_roster=current.newest is None)


def answers(registrar: Registrar) -> dict[str, bytes]:
    """Return the answers to all requests admitted so far, by the party's name. Raises DataError without a roster."""
    roster_file = sign_roster(registrar.roster, registrar.signing)
    return {
        admission.name: answer_to(registrar, roster_file, record, admission).sign(registrar.signing)
        for record in Invitations(registrar.folder).all()
        for admission in record.admissions
    }


def check_invited(record: InvitationRecord, request: EnrolmentRequest, now: datetime) -> None:
    """Raise Refused unless the invitation is open, and for the party that the request is for."""
    if record.used_up:
        raise Refused(Reason.INVITATION, f"the invitation of {record.name} is used up: it admitted another request")
    if not record.open_at(now):
        raise Refused(Reason.INVITATION, f"the invitation of {record.name} has expired; ask the registrar for another")
    if request.role is not record.role:
        raise Refused(Reason.WRONG_ROLE, f"the invitation is for a {record.role}; the request is a {request.role}'s")
    if request.name != ("" if record.several else record.name):
        raise Refused(Reason.INVITATION, f"the invitation is not for a party that is named {request.name[:80]!r}")


def certified(
    registrar: Registrar, record: InvitationRecord, request: EnrolmentRequest, now: datetime, years: int
) -> Admission:
    """Issue the certificate of a party whose request was checked."""
    number = record.first + len(record.admissions)
    name = record.name_of(number)
    peer = PeerName(registrar.federation, record.role, name)
    certificate = certificates.issue(registrar.authority, peer, request.tls_key, now=now, years=years)
    return Admission(request.digest, name, number, request.signing_key, request.sealing_key, certificate.decode())


def answer_to(registrar: Registrar, roster_file: bytes, record: InvitationRecord, admission: Admission) -> Answer:
    """Return the answer to a request that was admitted, with this roster."""
    return Answer(
        registrar.federation,
        admission.request,
        record.role,
        admission.name,
        admission.number,
        admission.certificate,
        registrar.address,
        roster_file,
    )


def _check_names_unused(registrar: Registrar, admission: Admission) -> None:
    """Raise Refused(NAME_TAKEN) if the name was given to another since the invitation was made."""
    members = registrar.newest.members if registrar.newest else ()
    if admission.name.lower() in {member.name.lower() for member in members}:
        raise Refused(Reason.NAME_TAKEN, f"{admission.name} is or was a member already")


def _enrol(
    registrar: Registrar, invitations: Invitations, record: InvitationRecord
) -> tuple[bytes | None, tuple[str, ...]]:
    """Put all admitted parties into the roster. Return it as a file, or None and who is missing for the first one."""
    if registrar.newest is None:
        records = sorted(invitations.all(), key=lambda each: (list(Role).index(each.role), each.first))
        missing = tuple(
            each.name for each in records if each.role in (Role.SERVER, Role.KEYHOLDER) and not each.used_up
        )
        if missing:
            return None, missing
        assert registrar.founding is not None
        roster = Roster(registrar.federation, 1, registrar.founding.threshold, _members(records))
    else:
        records = [record]
        old = registrar.newest
        names = {member.name for member in old.members}
        new = tuple(member for member in _members(records, enrolled=False) if member.name not in names)
        roster = replace(old, version=old.version + 1, members=(*old.members, *new)) if new else old
    if roster is not registrar.newest:
        publish(registrar, Federation(registrar.folder.parent, roster))
    for each in records:
        if not all(admission.enrolled for admission in each.admissions):
            invitations.write(each.all_enrolled())
    return sign_roster(roster, registrar.signing), ()


def _members(records: Iterable[InvitationRecord], *, enrolled: bool | None = None) -> tuple[Member, ...]:
    found = [
        record.member(admission)
        for record in records
        for admission in record.admissions
        if enrolled is None or admission.enrolled is enrolled
    ]
    order = list(Role)
    return tuple(sorted(found, key=lambda member: (order.index(member.role), member.number)))
