"""Invitations and answers that are refused, newcomers that come in any order, and the files that stay."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from invited import NOW, Invited, Newcomer, installed
from refusals import refused_with

from core.errors import DataError, Reason, SettingsError
from core.identity import certificates
from core.identity.enrolment import install, pending_in
from core.identity.invitation import read_invitation, write_invitation
from core.identity.members import Role
from core.identity.party import load_identity
from core.identity.request import read_request
from core.identity.sealing import SealingKey
from registrar.enrolment import Guest, invite
from registrar.federation import add_member, revoke
from registrar.invitations import Invitations, expiry

HOLDERS = ("keyholder-1", "keyholder-2", "keyholder-3")


# ------------------------------------------------------------------------------------------------ invitations refused


def test_an_invitation_admits_one_request_only(made: Invited) -> None:
    made.admit(made.begin("client-1").pending.request)
    thief = made.begin("thief", made.invitation("client-1"))
    with refused_with(Reason.INVITATION, "the invitation of client-1 is used up: it admitted another request"):
        made.admit(thief.pending.request)


def test_an_invitation_expires_at_the_registrar_and_at_the_newcomer(made: Invited) -> None:
    newcomer, late = made.begin("client-1"), NOW + timedelta(days=7, seconds=2)
    with refused_with(Reason.INVITATION, "the invitation of client-1 has expired"):
        made.admit(newcomer.pending.request, late)
    with pytest.raises(DataError, match=r"the invitation expired on .* UTC; ask the registrar for another"):
        newcomer.invitation.check_in_date(late)
    newcomer.invitation.check_in_date(late - timedelta(seconds=5))
    assert made.admit(newcomer.pending.request, late - timedelta(seconds=5)).new


def test_a_new_invitation_replaces_the_one_before(made: Invited) -> None:
    old = made.begin("old", made.invitation("client-1"))
    new = invite(made.registrar, Guest("client-1", Role.CLIENT, expiry(1, NOW)))
    with refused_with(Reason.INVITATION, "no such invitation, or has replaced it"):
        made.admit(old.pending.request)
    identity = installed(made, made.begin("new", new))
    assert (identity.name, identity.number) == ("client-1", 1)


@pytest.mark.parametrize(
    ("fields", "reason", "sentence"),
    [
        (
            {"federation": "f" * 16},
            Reason.WRONG_FEDERATION,
            "is for federation 'ffffffffffffffff'; this registrar's is",
        ),
        ({"role": "server"}, Reason.WRONG_ROLE, "the invitation is for a client; the request is a server's"),
        ({"name": "client-2"}, Reason.INVITATION, "not for a party that is named 'client-2'"),
        ({"name": ""}, Reason.INVITATION, "not for a party that is named ''"),
    ],
)
def test_a_request_must_be_what_the_invitation_is_for(
    made: Invited, fields: dict[str, str], reason: Reason, sentence: str
) -> None:
    newcomer = made.begin("client-1")
    with refused_with(reason, sentence):
        made.admit(newcomer.request_with(lambda content: content.update(fields)))
    assert made.admit(newcomer.pending.request).new


def test_another_federations_newcomer_is_not_admitted(made: Invited, tmp_path: Path) -> None:
    stranger = Invited.make(tmp_path / "other").begin("client-1")
    with refused_with(Reason.WRONG_FEDERATION):
        made.admit(stranger.pending.request)
    relabelled = stranger.request_with(lambda content: content.update(federation=made.registrar.federation))
    with refused_with(Reason.INVITATION, "knows no such invitation"):
        made.admit(relabelled)


def test_a_name_is_given_once(made: Invited) -> None:
    made.admit(made.begin("client-1").pending.request)
    registrar, until = made.registrar, expiry(1, NOW)
    with pytest.raises(SettingsError, match="client-1 is or was a member already"):
        invite(registrar, Guest("client-1", Role.CLIENT, until))
    with pytest.raises(SettingsError, match="CLIENT-2 was promised to another by an earlier invitation"):
        invite(registrar, Guest("CLIENT-2", Role.CLIENT, until))
    assert invite(registrar, Guest("client-3", Role.CLIENT, until)).name == "client-3"
    newcomer = made.begin("client-2")
    add_member(made.folder, "client-2", now=NOW)
    with refused_with(Reason.NAME_TAKEN, "client-2 is or was a member already"):
        made.admit(newcomer.pending.request)
    assert [client.number for client in made.registrar.roster.clients] == [1, 4], "2 and 3 are promised"


def test_a_revoked_party_cannot_come_back_with_its_invitation(made: Invited) -> None:
    newcomer = made.begin("client-1")
    made.admit(newcomer.pending.request)
    revoke(made.folder, "client-1")
    answer = made.admit(newcomer.pending.request).answer
    assert made.registrar.roster.member("client-1").revoked
    with pytest.raises(DataError, match="client-1 was revoked by the registrar"):
        install(newcomer.folder, newcomer.pending, answer or b"", NOW)


@pytest.mark.parametrize(
    ("name", "role", "sentence"),
    [
        ("keyholder-4", Role.KEYHOLDER, "has its server and all its key holders already"),
        ("server", Role.SERVER, "has its server and all its key holders already"),
        ("registrar", Role.CLIENT, "cannot be named registrar"),
        ("../x", Role.CLIENT, "a party's name is '../x'"),
    ],
)
def test_who_cannot_be_a_member_is_not_invited(made: Invited, name: str, role: Role, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        invite(made.registrar, Guest(name, role, expiry(1, NOW)))


def test_an_operator_that_cannot_be_in_a_roster_is_not_invited(made: Invited) -> None:
    with pytest.raises(SettingsError, match="client-9's operator is"):
        invite(made.registrar, Guest("client-9", Role.CLIENT, expiry(1, NOW), "a\nb"))


def test_a_federation_waits_only_for_the_key_holders_it_was_made_for(waiting: Invited) -> None:
    with pytest.raises(SettingsError, match="keyholder-4 is not one of the keyholders that federation"):
        invite(waiting.registrar, Guest("keyholder-4", Role.KEYHOLDER, expiry(1, NOW)))
    again = invite(waiting.registrar, Guest("keyholder-3", Role.KEYHOLDER, expiry(1, NOW)))
    assert waiting.admit(waiting.begin("keyholder-3", again).pending.request).name == "keyholder-3"


# ------------------------------------------------------------------------------------------------ several clients


def several(count: int) -> Guest:
    return Guest("client", Role.CLIENT, expiry(1, NOW), count=count, several=True)


def test_one_file_invites_as_many_clients_as_it_says_and_the_registrar_names_them(made: Invited) -> None:
    shared = invite(made.registrar, several(2))
    found = [installed(made, made.begin(f"machine-{n}", shared)) for n in (1, 2)]
    assert [(each.name, each.number) for each in found] == [("client-3", 3), ("client-4", 4)]
    with refused_with(Reason.INVITATION, "used up"):
        made.admit(made.begin("machine-3", shared).pending.request)


def test_a_further_file_goes_on_where_the_last_one_was_given_up(made: Invited) -> None:
    first = invite(made.registrar, several(10))
    assert made.admit(made.begin("a", first).pending.request).name == "client-3"
    second = invite(made.registrar, several(10))
    with refused_with(Reason.INVITATION, "used up"):
        made.admit(made.begin("b", first).pending.request)
    assert made.admit(made.begin("c", second).pending.request).name == "client-4"


@pytest.mark.parametrize("count", [0, 1001])
def test_a_file_is_for_a_bounded_number_of_clients(made: Invited, count: int) -> None:
    with pytest.raises(SettingsError, match=f"{count} clients are to be invited; expected 1 to 1000"):
        invite(made.registrar, several(count))


# ------------------------------------------------------------------------------------------------ answers refused


def answered(made: Invited, newcomer: Newcomer) -> dict[str, Any]:
    return json.loads(made.admit(newcomer.pending.request).answer or b"")  # type: ignore[no-any-return]


def refused_answer(newcomer: Newcomer, raw: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        install(newcomer.folder, newcomer.pending, raw, NOW)
    assert "\n" not in str(caught.value)
    assert not (newcomer.folder / "party.json").exists()


def test_an_answer_changed_on_its_way_is_refused(made: Invited) -> None:
    newcomer = made.begin("client-1")
    for field, value in (("address", "evil.example:1"), ("number", 2), ("name", "client-2")):
        outer = answered(made, newcomer)
        outer["answer"][field] = value
        refused_answer(newcomer, json.dumps(outer).encode(), "not signed by the registrar of the invitation")
    outer = answered(made, newcomer)
    outer["roster"] = outer["roster"].replace('"threshold": 2', '"threshold": 3')
    refused_answer(newcomer, json.dumps(outer).encode(), "the roster is not signed")
    refused_answer(newcomer, b"{", "not JSON as expected")
    refused_answer(newcomer, b" " * (1 << 25), "at most 16777216 are read")


def test_another_registrars_answer_is_refused(made: Invited, tmp_path: Path) -> None:
    """A registrar that answers with its own roster: the invitation pins which registrar is believed."""
    newcomer = made.begin("client-1")
    other = Invited.make(tmp_path / "other").found()
    answer = other.admit(other.begin("client-1").pending.request).answer
    refused_answer(newcomer, answer or b"", "another federation's, or was changed")


def test_an_answer_to_another_request_is_refused(made: Invited) -> None:
    newcomer, second = made.begin("client-1"), made.begin("client-2")
    answer = made.admit(second.pending.request).answer
    refused_answer(newcomer, answer or b"", "to another request than the one made in this folder")


def signed_answer(made: Invited, newcomer: Newcomer, **fields: Any) -> bytes:
    """What the registrar would have to sign to say something else."""
    from registrar.enrolment import answer_to

    registrar = made.registrar
    record = Invitations(registrar.folder).find(newcomer.invitation.id)
    assert record is not None
    roster = (registrar.folder / "roster.json").read_bytes()
    return replace(answer_to(registrar, roster, record, record.admissions[0]), **fields).sign(registrar.signing)


def test_even_a_signed_answer_must_fit_the_request_and_the_keys(made: Invited) -> None:
    newcomer, other = made.begin("client-1"), made.begin("client-2")
    made.admit(newcomer.pending.request)
    made.admit(other.pending.request)
    certificate = json.loads(made.admit(other.pending.request).answer or b"")["answer"]["certificate"]
    old = certificates.issue(
        made.registrar.authority,
        certificates.PeerName(made.registrar.federation, Role.CLIENT, "client-1"),
        certificates.new_key().public_key(),
        now=NOW,
    ).decode()
    for fields, sentence in (
        ({"role": Role.SERVER}, "the answer is for server client-1 of federation"),
        ({"name": "client-2"}, "the answer is for client client-2"),
        ({"federation": "f" * 16}, "of federation ffffffffffffffff"),
        ({"number": 7}, "another number or other keys"),
        ({"number": 0}, "number is 0"),
        ({"address": "nowhere"}, "the server's address is 'nowhere'"),
        ({"certificate": certificate}, "not for client-1 with the key made in this folder"),
        ({"certificate": old}, "not for client-1 with the key made in this folder"),
        ({"certificate": "none"}, "not a certificate in PEM form"),
    ):
        refused_answer(newcomer, signed_answer(made, newcomer, **fields), sentence)
    install(newcomer.folder, newcomer.pending, signed_answer(made, newcomer), NOW)
    assert (newcomer.folder / "party.json").exists()


# ------------------------------------------------------------------------------------------------ files


def test_an_invitation_file_is_for_its_owner_and_comes_back(made: Invited, tmp_path: Path) -> None:
    invitation = made.invitation("client-1")
    write_invitation(tmp_path / "copy", invitation)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert read_invitation(tmp_path / "copy") == invitation
    assert invitation.token.hex() not in repr(invitation)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"role": "boss"}, "role in .* is 'boss'"),
        ({"token": "ab"}, "the invitation's token has 1 bytes; expected 32"),
        ({"registrar": "zz"}, "lower-case hexadecimal"),
        ({"federation": "x"}, "expected 16 hexadecimal digits"),
        ({"address": "nowhere"}, "the registrar's address is 'nowhere'"),
        ({"expires": 10**30}, "cannot be right"),
        ({"more": 1}, "'more' does not fit"),
    ],
)
def test_what_is_no_invitation_is_one_sentence(
    made: Invited, tmp_path: Path, fields: dict[str, Any], sentence: str
) -> None:
    content = json.loads((made.folder / "invitations" / "client-1.invitation").read_bytes())
    (tmp_path / "bad").write_text(json.dumps(content | fields))
    with pytest.raises(DataError, match=sentence) as caught:
        read_invitation(tmp_path / "bad")
    assert "\n" not in str(caught.value)


def test_a_folder_that_waits_for_its_answer_is_no_party_yet(made: Invited) -> None:
    newcomer = made.begin("client-1")
    assert pending_in(newcomer.folder) == newcomer.pending
    with pytest.raises(DataError, match="the enrolment in .* is not complete; run enroll again"):
        load_identity(newcomer.folder)


def test_keys_are_not_made_over_what_a_folder_holds(made: Invited) -> None:
    made.begin("client-1")
    with pytest.raises(SettingsError, match="client-1 is there already; expected a new or an empty folder"):
        made.begin("client-1")


def test_a_request_is_read_the_same_by_every_registrar_key_but_its_sealing_proof(waiting: Invited) -> None:
    newcomer = waiting.begin("keyholder-1")
    assert read_request(newcomer.pending.request, waiting.registrar.proof_key).role is Role.KEYHOLDER
    with refused_with(Reason.BAD_SIGNATURE, "does not prove that its sender has the sealing key"):
        read_request(newcomer.pending.request, SealingKey.generate())
