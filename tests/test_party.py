"""A party's folder is read as a whole; whatever is missing or does not fit is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from refusals import refused_with

from core.errors import DataError, Reason, SettingsError
from core.identity.key_file import read_keys, write_keys
from core.identity.party import Card, PartyIdentity, load_identity
from core.identity.roster import Role, sign_roster
from core.identity.signing import MODEL, SigningKey, verify
from registrar.federation import Federation, load_registrar, make_federation

NOW = datetime.now(UTC)


def small(folder: Path) -> Federation:
    return make_federation(folder, clients=2, holders=2, threshold=2, address="example.org:443", now=NOW)


@pytest.fixture
def made(tmp_path: Path) -> Federation:
    return small(tmp_path / "federation")


def test_a_client_knows_itself_and_the_others(made: Federation) -> None:
    anna = load_identity(made.party("client-2"), role=Role.CLIENT)
    assert (anna.federation, anna.role, anna.name, anna.number) == (
        made.roster.federation, Role.CLIENT, "client-2", 2,
    )  # fmt: skip
    assert anna.address == "example.org:443"
    assert anna.sealing is None
    assert anna.roster.current() == made.roster
    assert verify(made.roster.member("client-2").signing_key, MODEL, b"body", anna.signing.sign(MODEL, b"body"))
    assert anna.tls_key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_holder_has_a_sealing_key_and_a_place_for_shares(made: Federation) -> None:
    holder = load_identity(made.party("keyholder-1"))
    assert holder.sealing is not None
    assert holder.sealing.public == made.roster.member("keyholder-1").sealing_key
    assert (holder.folder / "shares").is_dir()


def test_no_key_is_in_a_repr(made: Federation) -> None:
    server = load_identity(made.party("server"))
    assert repr(server) == f"PartyIdentity(server server, number 1, federation {made.roster.federation})"


def test_the_passphrase_may_be_in_a_file_given_by_name(made: Federation, tmp_path: Path) -> None:
    moved = made.passphrase_file("client-1").rename(tmp_path / "passphrase")
    assert load_identity(made.party("client-1"), moved).name == "client-1"


def test_a_folder_may_be_moved_and_renamed(made: Federation, tmp_path: Path) -> None:
    """A passphrase is looked for under the party's name, not its folder's."""
    shutil.copytree(made.party("client-1"), tmp_path / "federation" / "identity")
    assert load_identity(tmp_path / "federation" / "identity").name == "client-1"


Damage = Callable[[Federation, Path], object]


def edit_card(**fields: object) -> Damage:
    def edit(_: Federation, folder: Path) -> None:
        card = json.loads((folder / "party.json").read_text())
        (folder / "party.json").write_text(json.dumps(card | fields))

    return edit


def take(name: str, party: str, other: str = "") -> Damage:
    """Put a file of another party's, or of another federation's, in the place of this party's."""

    def replace_file(made: Federation, folder: Path) -> None:
        source = small(folder.parent.parent / other) if other else made
        shutil.copy(source.party(party) / name, folder / name)
        if name == "keys.enc":
            shutil.copy(source.passphrase_file(party), made.passphrase_file(folder.name))

    return replace_file


def new_roster(**fields: object) -> Damage:
    """A roster that the registrar signed, in which something about client-1 is different."""

    def sign(made: Federation, folder: Path) -> None:
        members = tuple(replace(m, **fields) if m.name == "client-1" else m for m in made.roster.members)  # type: ignore[arg-type]
        changed = replace(made.roster, members=members)
        (folder / "roster.json").write_bytes(sign_roster(changed, load_registrar(made.folder).signing))

    return sign


def other_keys(**keys: bytes) -> Damage:
    def rewrite(made: Federation, folder: Path) -> None:
        passphrase = made.passphrase_file(folder.name).read_bytes().strip()
        old = read_keys(folder / "keys.enc", ("tls", "signing", "sealing"), passphrase)
        write_keys(folder / "keys.enc", old | keys, passphrase)

    return rewrite


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda _, folder: shutil.rmtree(folder), "there is no folder .*client-1; `.* -m registrar init`"),
        (lambda _, folder: (folder / "party.json").unlink(), "client-1 is not a party's folder"),
        (lambda _, folder: (folder / "roster.json").unlink(), "there is no file .*client-1/roster.json"),
        (lambda _, folder: (folder / "authority.pem").unlink(), "there is no file .*client-1/authority.pem"),
        (lambda _, folder: (folder / "certificate.pem").unlink(), "there is no file .*client-1/certificate.pem"),
        (lambda _, folder: (folder / "keys.enc").unlink(), "there is no file .*client-1/keys.enc"),
        (lambda _, folder: (folder / "keys.enc").chmod(0o644), "chmod 600"),
        (lambda made, _: made.passphrase_file("client-1").write_text("guess"), "the passphrase is not the one"),
        (lambda _, folder: (folder / "party.json").write_text("{"), "party.json is not JSON as expected"),
        (edit_card(extra=1), "'extra' does not fit"),
        (edit_card(role="boss"), "role in .* is 'boss'; known are server"),
        (edit_card(name="../x"), "party.json cannot be right: a party's name is '../x'"),
        (edit_card(number=True), "number in .* is bool"),
        (edit_card(registrar="ab"), "the registrar's key has 1 bytes; expected 32"),
        (edit_card(registrar="00" * 32), "not signed by this federation's registrar"),
        (edit_card(address="nowhere"), "server's address is 'nowhere'; expected HOST:PORT"),
        (edit_card(federation="f" * 16), r"roster.json is of federation .*; party.json is of f{16}"),
        (edit_card(number=2), "gives client-1 the number 2; the roster 1"),
        (take("roster.json", "client-1", other="b"), "not signed by this federation's registrar"),
        (take("authority.pem", "client-1", other="b"), "was not issued by the federation's authority"),
        (take("certificate.pem", "client-1", other="b"), "was not issued by the federation's authority"),
        (
            take("certificate.pem", "client-2"),
            r"certificate.pem is for grokfed://\w+/client/client-2; expected .*client-1",
        ),
        (take("certificate.pem", "server"), r"certificate.pem is for grokfed://\w+/server/server; expected"),
        (take("keys.enc", "client-2"), "the TLS key in .*keys.enc is not that of certificate.pem"),
        (take("authority.pem", "client-2"), None),
        (other_keys(tls=b"none"), "the TLS key is not a private key in PEM form"),
        (other_keys(signing=b"\1" * 32), "the signing key in .* is not the one the roster has for client-1"),
        (other_keys(signing=b"\1" * 31), "does not hold the keys of a party"),
        (other_keys(sealing=b"\1" * 32), "the sealing key in .* is not the one the roster has"),
        (new_roster(signing_key=b"\1" * 32), "the signing key in .* is not the one the roster has for client-1"),
        (new_roster(), None),
    ],
)
def test_what_is_missing_or_does_not_fit_is_one_sentence(
    made: Federation, damage: Damage, sentence: str | None
) -> None:
    folder = made.party("client-1")
    damage(made, folder)
    if sentence is None:
        assert load_identity(folder).name == "client-1"
        return
    with pytest.raises(DataError, match=sentence) as caught:
        load_identity(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (new_roster(revoked=True), Reason.REVOKED),
        (new_roster(name="someone"), Reason.NOT_IN_ROSTER),
        (edit_card(name="client-9"), Reason.NOT_IN_ROSTER),
        (edit_card(role="server"), Reason.WRONG_ROLE),
    ],
)
def test_a_party_that_its_own_roster_does_not_have_does_not_start(
    made: Federation, damage: Damage, reason: Reason
) -> None:
    damage(made, made.party("client-1"))
    with refused_with(reason):
        load_identity(made.party("client-1"))


def test_another_roles_folder_is_a_settings_error(made: Federation) -> None:
    with pytest.raises(SettingsError, match=r"keyholder-1 is the folder of keyholder keyholder-1; expected a client's"):
        load_identity(made.party("keyholder-1"), role=Role.CLIENT)


def test_certificates_must_be_good_today(made: Federation) -> None:
    later = NOW + timedelta(days=731)
    with pytest.raises(DataError, match=rf"certificate\.pem cannot be used: .* today is {later:%Y-%m-%d}"):
        load_identity(made.party("client-1"), now=later)
    assert load_identity(made.party("client-1"), now=NOW + timedelta(days=729)).name == "client-1"


def test_the_roster_in_the_folder_is_followed_while_the_party_runs(made: Federation) -> None:
    identity: PartyIdentity = load_identity(made.party("client-1"))
    newer = replace(made.roster, version=2)
    newer_file = made.party("client-1") / "new"
    newer_file.write_bytes(sign_roster(newer, load_registrar(made.folder).signing))
    newer_file.replace(made.party("client-1") / "roster.json")
    assert identity.roster.current().version == 2


def test_a_card_that_cannot_be_cannot_be_made() -> None:
    card = Card("0" * 16, Role.CLIENT, "anna", 1, SigningKey.generate().public, "127.0.0.1:50551")
    for fields, sentence in (
        ({"number": 0}, "number is 0"),
        ({"registrar": b""}, "0 bytes"),
        ({"address": ":1"}, "':1'"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            replace(card, **fields)  # type: ignore[arg-type]
