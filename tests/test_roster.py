"""The roster cannot contradict itself, is believed only under the registrar's signature, and only grows newer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused_with
from structlog.testing import capture_logs

from core.errors import DataError, Reason, Refused, SettingsError
from core.identity import roster as module
from core.identity import strict_json
from core.identity.roster import Member, Role, Roster, RosterFile, read_roster, sign_roster
from core.identity.signing import MODEL, ROSTER, SigningKey

FEDERATION = "0123456789abcdef"
REGISTRAR = SigningKey.from_private_bytes(b"\1" * 32)
KEYS = [bytes([number]) * 32 for number in range(20)]
SERVER = Member("server", Role.SERVER, 1, KEYS[0])
HOLDERS = tuple(Member(f"holder-{n}", Role.KEYHOLDER, n, KEYS[n], KEYS[10 + n]) for n in (1, 2, 3))
ANNA = Member("anna", Role.CLIENT, 1, KEYS[4], operator="Ministry of Änderung")
BELA = Member("bela", Role.CLIENT, 2, KEYS[5], revoked=True)
FIRST = Roster(FEDERATION, 1, 2, (SERVER, *HOLDERS, ANNA, BELA))
SECOND = replace(FIRST, version=2, members=(SERVER, *HOLDERS, replace(ANNA, revoked=True), BELA))


def changed(**fields: Any) -> Roster:
    return replace(FIRST, **fields)


def test_members_are_found_by_role_in_order_of_number() -> None:
    shuffled = changed(members=tuple(reversed(FIRST.members)))
    assert shuffled.server is SERVER
    assert [member.name for member in shuffled.holders] == ["holder-1", "holder-2", "holder-3"]
    assert [member.name for member in shuffled.clients] == ["anna", "bela"]
    assert shuffled.member("bela") is BELA


def test_only_an_unrevoked_member_in_its_own_role_is_active() -> None:
    assert FIRST.active(Role.CLIENT, "anna") is ANNA
    for role, name, reason in (
        (Role.CLIENT, "stranger", Reason.NOT_IN_ROSTER),
        (Role.CLIENT, "ANNA", Reason.NOT_IN_ROSTER),
        (Role.CLIENT, "bela", Reason.REVOKED),
        (Role.KEYHOLDER, "anna", Reason.WRONG_ROLE),
        (Role.SERVER, "bela", Reason.WRONG_ROLE),
    ):
        with refused_with(reason):
            FIRST.active(role, name)


def test_who_runs_several_parties_is_known() -> None:
    assert FIRST.operators()[""] == ("server", "holder-1", "holder-2", "holder-3", "bela")
    assert FIRST.operators()["Ministry of Änderung"] == ("anna",)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"federation": "0123456789ABCDEF"}, "16 hexadecimal"),
        ({"version": 0}, "version is 0"),
        ({"threshold": 0}, "threshold is 0 of 3"),
        ({"threshold": 4}, "threshold is 4 of 3"),
        ({"threshold": 1}, "threshold is 1 of 3 key holders; expected more than half"),
        ({"members": (SERVER, ANNA)}, "2 of 0 key holders"),
        ({"members": (*HOLDERS, ANNA)}, "0 servers"),
        ({"members": (SERVER, replace(SERVER, name="b", number=2), *HOLDERS)}, "2 servers"),
        ({"members": (SERVER, HOLDERS[0], HOLDERS[2])}, "not numbered 1 to 2"),
        ({"members": (*FIRST.members, replace(ANNA, number=3))}, "name 'anna' is in the roster 2 times"),
        ({"members": (*FIRST.members, replace(ANNA, number=3, name="Anna"))}, "name 'anna' is in the roster 2 times"),
        ({"members": (*FIRST.members, replace(ANNA, name="cleo"))}, "'client 1' is in the roster 2 times"),
        (
            {"members": (SERVER, *(Member(f"h{n}", Role.KEYHOLDER, n, KEYS[1], KEYS[2]) for n in range(1, 12)))},
            "2 of 11 key holders",
        ),
    ],
)
def test_a_roster_that_contradicts_itself_cannot_be_made(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        changed(**fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "a party's name is ''"),
        ({"name": "../anna"}, "a party's name is '../anna'"),
        ({"name": ".anna"}, "the first a letter or digit"),
        ({"name": "a" * 65}, "1 to 64"),
        ({"name": "anna\n"}, "a party's name"),
        ({"number": 0}, "number is 0"),
        ({"signing_key": b"\1" * 31}, "signing key has 31 bytes"),
        ({"sealing_key": b"\1" * 32}, "sealing key has 32 bytes; expected 0"),
        ({"role": Role.KEYHOLDER}, "sealing key has 0 bytes; expected 32"),
        ({"operator": "a\nb"}, "printable"),
        ({"operator": "a" * 101}, "up to 100"),
    ],
)
def test_a_member_that_cannot_be_cannot_be_made(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        replace(ANNA, **fields)


def test_no_key_is_in_a_members_repr() -> None:
    assert "\\x" not in repr(HOLDERS[0])
    assert "holder-1" in repr(HOLDERS[0])


@settings(max_examples=30, deadline=None)
@given(st.permutations(FIRST.members), st.integers(1, 10**9), st.integers(2, 3), st.text(max_size=20))
def test_what_is_signed_is_read(members: list[Member], version: int, threshold: int, operator: str) -> None:
    if operator.isprintable():
        members[0] = replace(members[0], operator=operator)
    roster = Roster(FEDERATION, version, threshold, tuple(members))
    assert read_roster(sign_roster(roster, REGISTRAR), REGISTRAR.public) == roster


def test_the_file_is_for_people_too_and_its_layout_does_not_matter() -> None:
    raw = sign_roster(FIRST, REGISTRAR)
    assert b'\n        "name": "anna",\n' in raw
    backwards = {
        name: dict(reversed(value.items())) if name == "roster" else value for name, value in json.loads(raw).items()
    }
    assert read_roster(json.dumps(backwards).encode(), REGISTRAR.public) == FIRST


def test_the_signature_is_the_registrars_and_for_rosters() -> None:
    raw = sign_roster(FIRST, REGISTRAR)
    with pytest.raises(DataError, match="not signed by this federation's registrar"):
        read_roster(raw, SigningKey.generate().public)
    content = json.loads(raw)
    content["signature"] = REGISTRAR.sign(MODEL, strict_json.canonical(content["roster"])).hex()
    with pytest.raises(DataError, match="not signed"):
        read_roster(json.dumps(content).encode(), REGISTRAR.public)


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 2), ("threshold", 1), ("federation", "f" * 16), ("members", []), ("extra", 1)],
)
def test_a_change_of_anything_breaks_the_signature(field: str, value: object) -> None:
    content = json.loads(sign_roster(FIRST, REGISTRAR))
    content["roster"][field] = value
    with pytest.raises(DataError, match="not signed"):
        read_roster(json.dumps(content).encode(), REGISTRAR.public)


def test_lifting_a_revocation_breaks_the_signature() -> None:
    raw = sign_roster(FIRST, REGISTRAR)
    with pytest.raises(DataError, match="not signed"):
        read_roster(raw.replace(b'"revoked": true', b'"revoked": false'), REGISTRAR.public)


def signed(change: Any) -> bytes:
    """A roster that the registrar signed after something was done to its JSON."""
    content = json.loads(sign_roster(FIRST, REGISTRAR))["roster"]
    change(content)
    return json.dumps(
        {"roster": content, "signature": REGISTRAR.sign(ROSTER, strict_json.canonical(content)).hex()}
    ).encode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda roster: roster.update(extra=1), "'extra' does not fit"),
        (lambda roster: roster.pop("version"), "'version' does not fit"),
        (lambda roster: roster.update(version=True), "version in the roster is bool; expected int"),
        (lambda roster: roster.update(version="1"), "version in the roster is str"),
        (lambda roster: roster["members"].append(7), "a member of the roster is not a JSON object"),
        (lambda roster: roster["members"][0].update(extra=1), "'extra' does not fit"),
        (lambda roster: roster["members"][0].update(revoked=0), "revoked in a member of the roster is int"),
        (lambda roster: roster["members"][0].update(role="boss"), "role of 'server' is 'boss'"),
        (lambda roster: roster["members"][0].update(signing_key="AB" * 32), "lower-case hexadecimal"),
        (lambda roster: roster["members"][0].update(signing_key="ab " * 32), "lower-case hexadecimal"),
        (lambda roster: roster["members"][0].update(signing_key="ab"), "cannot be right: .*1 bytes; expected 32"),
        (lambda roster: roster.update(threshold=9), "cannot be right: the threshold is 9"),
    ],
)
def test_even_a_signed_roster_must_have_exactly_the_expected_form(change: Any, sentence: str) -> None:
    assert read_roster(signed(lambda _: None), REGISTRAR.public) == FIRST
    with pytest.raises(DataError, match=sentence):
        read_roster(signed(change), REGISTRAR.public)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "not JSON as expected"),
        (b"\xff", "not JSON as expected"),
        (b"[]", "not a JSON object"),
        (b'{"roster": {}}', "'signature' does not fit"),
        (b'{"roster": {}, "roster": {}, "signature": ""}', "twice"),
        (b'{"roster": {"version": 1.5}, "signature": ""}', "1.5 is not a whole number"),
        (b'{"roster": {"version": NaN}, "signature": ""}', "NaN is not a whole number"),
        (b'{"roster": {}, "signature": "zz"}', "hexadecimal"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"roster": {"version": ' + b"9" * 5000 + b'}, "signature": ""}', "not JSON as expected"),
        (b" " * (module.LARGEST_ROSTER + 1), "at most"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_roster_is_one_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_roster(raw, REGISTRAR.public)


def test_more_members_than_can_be_read_are_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_ROSTER", 1000)
    with pytest.raises(SettingsError, match="the limit is 1000"):
        sign_roster(FIRST, REGISTRAR)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    put(tmp_path / "roster.json", sign_roster(FIRST, REGISTRAR))
    return tmp_path / "roster.json"


def put(path: Path, raw: bytes) -> None:
    """Replace the file as the registrar does: a new one is renamed into its place."""
    newer_file = path.with_suffix(".new")
    newer_file.write_bytes(raw)
    newer_file.replace(path)


def test_a_replaced_file_is_in_force_at_once(path: Path) -> None:
    file = RosterFile(path, REGISTRAR.public)
    assert file.current().active(Role.CLIENT, "anna") == ANNA
    put(path, sign_roster(SECOND, REGISTRAR))
    with pytest.raises(Refused, match=r"anna was revoked by the registrar \(roster version 2\)"):
        file.current().active(Role.CLIENT, "anna")


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RosterFile(path, REGISTRAR.public)
    monkeypatch.setattr(module, "read_file", lambda *_: pytest.fail("read again"))
    assert file.current() is file.current()


def test_a_file_written_in_place_is_noticed_by_its_time(path: Path) -> None:
    file = RosterFile(path, REGISTRAR.public)
    size = path.stat().st_size
    path.write_bytes(sign_roster(replace(FIRST, version=2), REGISTRAR))
    assert path.stat().st_size == size
    os.utime(path, ns=(0, 12345))
    assert file.current().version == 2


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (sign_roster(FIRST, REGISTRAR), "has version 1; version 2 was seen before"),
        (sign_roster(replace(FIRST, version=2), REGISTRAR), "differs from the roster seen before"),
        (sign_roster(replace(SECOND, federation="f" * 16, version=3), REGISTRAR), "of federation ffffffffffffffff"),
        (sign_roster(replace(SECOND, version=3), SigningKey.generate()), "not signed"),
    ],
    ids=["broken", "older", "same version, other content", "other federation", "other registrar"],
)
def test_a_bad_file_is_warned_of_once_and_the_last_good_one_stays(path: Path, raw: bytes, why: str) -> None:
    put(path, sign_roster(SECOND, REGISTRAR))
    file = RosterFile(path, REGISTRAR.public)
    put(path, raw)
    with capture_logs() as logs:
        assert file.current() == file.current() == SECOND
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert why in logs[0]["why"]
    put(path, sign_roster(replace(FIRST, version=3), REGISTRAR))
    assert file.current().version == 3


def test_a_missing_file_is_warned_of_and_the_last_good_one_stays(path: Path) -> None:
    file = RosterFile(path, REGISTRAR.public)
    path.unlink()
    with capture_logs() as logs:
        assert file.current() == file.current() == FIRST
    assert "there is no file" in logs[0]["why"]
    assert len(logs) == 1


@pytest.mark.parametrize("raw", [None, b"{}"])
def test_without_a_good_file_there_is_nothing_to_begin_with(path: Path, raw: bytes | None) -> None:
    path.unlink()
    if raw is not None:
        put(path, raw)
    with pytest.raises(DataError, match=r"roster\.json is no good roster: "):
        RosterFile(path, REGISTRAR.public)
