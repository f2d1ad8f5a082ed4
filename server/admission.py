"""Who may call what. The caller is known from its certificate; every call not listed here is refused."""

from __future__ import annotations

from typing import Any

import grpc

from core.errors import Reason, Refused
from core.identity.certificates import PeerName, peer_from_uris
from core.identity.roster import Member, Role, Roster
from core.wire.dialing import PARTY_KEY

CLIENT, KEYHOLDER = frozenset({Role.CLIENT}), frozenset({Role.KEYHOLDER})
SERVER, OBSERVER = frozenset({Role.SERVER}), frozenset({Role.OBSERVER})
ALLOWED = {
    "Join": CLIENT,
    "FetchModel": CLIENT | KEYHOLDER | SERVER,
    "Commit": CLIENT,
    "Submit": CLIENT,
    "Attend": KEYHOLDER,
    "VouchFor": KEYHOLDER,
    "Serve": KEYHOLDER,
    "OfferKeys": KEYHOLDER,
    "SignList": KEYHOLDER,
    "FetchSubmissions": KEYHOLDER,
    "SignRequest": KEYHOLDER,
    "Release": KEYHOLDER,
    "FetchOpenedSum": KEYHOLDER,
    "EndorseModel": KEYHOLDER,
    "DeclineTask": KEYHOLDER,
    "FetchRoster": CLIENT | KEYHOLDER | SERVER,
    "Watch": CLIENT | KEYHOLDER | SERVER | OBSERVER,
    "Check": CLIENT | KEYHOLDER | SERVER,
    "ServerReflectionInfo": CLIENT | KEYHOLDER | SERVER,
}
"""Roles by call. An observer may watch, and nothing else. (The aggregator itself may too, for displays and checks
on its machine.) Only OfferRoster is for those who are not in the roster yet: admit_newcomer."""

Context = grpc.aio.ServicerContext[Any, Any]


def admit(context: Context, call: str, roster: Roster, *, plaintext: bool) -> Member:
    """Return the caller, if it is in the roster, not revoked, and in a role that may make this call.

    Raise Refused(NOT_IN_ROSTER, REVOKED, WRONG_ROLE or WRONG_FEDERATION).
    """
    peer = _peer(context, roster, plaintext=plaintext)
    member = roster.active(peer.role, peer.name)
    if member.role not in ALLOWED[call]:
        raise Refused(Reason.WRONG_ROLE, f"{member.name!r} is a {member.role.value}, which may not call {call}")
    return member


def admit_newcomer(context: Context, roster: Roster, *, plaintext: bool) -> PeerName:
    """Return who calls, if that is a member, or not in the roster yet.

    Raise Refused(REVOKED, WRONG_ROLE or WRONG_FEDERATION) for all others.
    """
    peer = _peer(context, roster, plaintext=plaintext)
    if peer.name in {member.name for member in roster.members}:
        roster.active(peer.role, peer.name)
    return peer


def _peer(context: Context, roster: Roster, *, plaintext: bool) -> PeerName:
    peer = _claimed(context, roster.federation) if plaintext else _certified(context)
    if peer.federation != roster.federation:
        raise Refused(Reason.WRONG_FEDERATION, f"the certificate is of the federation {peer.federation}")
    return peer


def _certified(context: Context) -> PeerName:
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return peer_from_uris(name.decode("utf-8", "replace") for name in names)


def _claimed(context: Context, federation: str) -> PeerName:
    """Return the name that the caller claims; without TLS there is no proof of it. Only behind the insecure flag."""
    said = dict(context.invocation_metadata() or ()).get(PARTY_KEY, "")
    role, _, name = str(said).partition("/")
    return peer_from_uris([f"grokfed://{federation}/{role}/{name}"])
