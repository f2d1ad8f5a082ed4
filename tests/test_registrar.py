"""The registrar makes a federation all or nothing, adds to it, and takes away; each change is one roster version."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from refusals import refused_with
from typer.testing import CliRunner

from core.errors import DataError, Reason, Refused, SettingsError, StorageError
from core.identity.certificates import peer_from_certificate
from core.identity.key_file import read_keys, write_keys
from core.identity.party import load_identity
from core.identity.roster import Role, read_roster
from core.identity.signing import ROSTER, verify
from registrar import federation as module
from registrar.__main__ import app
from registrar.federation import Federation, Names, add_member, load_registrar, make_federation, revoke

NOW = datetime.now(UTC)
SMALL = ("--min-cohort", "2")
PARTIES = ["server", "keyholder-1", "keyholder-2", "keyholder-3", "client-1", "client-2"]


@pytest.fixture
def made(tmp_path: Path) -> Federation:
    return make_federation(tmp_path / "f", clients=2, holders=3, threshold=2, now=NOW)


def test_every_party_gets_a_folder_that_loads(made: Federation) -> None:
    assert [member.name for member in made.roster.members] == PARTIES
    assert [load_identity(made.party(name)).name for name in PARTIES] == PARTIES
    assert (made.roster.version, made.roster.threshold, len(made.roster.holders)) == (1, 2, 3)
    assert sorted(path.name for path in made.folder.iterdir()) == sorted(
        [*PARTIES, "registrar", "passphrases", "WHO-GETS-WHAT.txt"]
    )
    assert sorted(path.name for path in made.folder.parent.iterdir()) == ["f"], "no other file is left"


def test_secrets_are_for_their_owner_only(made: Federation) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert {mode(path) for path in made.folder.rglob("keys.enc")} == {0o600}
    assert {mode(path) for path in (made.folder / "passphrases").iterdir()} == {0o600}
    assert {mode(path) for path in [made.folder, *made.folder.rglob("*")] if path.is_dir()} == {0o700}


def test_every_party_has_a_passphrase_of_its_own_of_160_bits(made: Federation) -> None:
    words = [path.read_text() for path in (made.folder / "passphrases").iterdir()]
    assert len(set(words)) == len(PARTIES) + 1
    assert all(re.fullmatch(r"([a-z2-7]{4}-){7}[a-z2-7]{4}\n", word) for word in words)  # 32 letters of 5 bits


def test_no_private_key_is_anywhere_in_clear(made: Federation) -> None:
    registrar = load_registrar(made.folder)
    holder = load_identity(made.party("keyholder-1"))
    assert holder.sealing is not None
    secrets = [registrar.signing.private_bytes(), holder.signing.private_bytes(), holder.sealing.private_bytes()]
    for path in made.folder.rglob("*"):
        raw = path.read_bytes() if path.is_file() else b""
        assert b"PRIVATE" not in raw
        assert not any(secret in raw or secret.hex().encode() in raw for secret in secrets), path


def test_parties_are_distinguished_by_number_key_and_certificate(made: Federation) -> None:
    assert [client.number for client in made.roster.clients] == [1, 2]
    assert len({member.signing_key for member in made.roster.members}) == len(PARTIES)
    for member in made.roster.members:
        peer = peer_from_certificate((made.party(member.name) / "certificate.pem").read_bytes())
        assert (peer.federation, peer.role, peer.name) == (made.roster.federation, member.role, member.name)


def test_two_federations_have_nothing_in_common(made: Federation, tmp_path: Path) -> None:
    other = make_federation(tmp_path / "g", clients=2, now=NOW)
    assert other.roster.federation != made.roster.federation
    assert load_registrar(other.folder).signing.public != load_registrar(made.folder).signing.public
    with pytest.raises(DataError, match="not signed"):
        read_roster((other.party("server") / "roster.json").read_bytes(), load_registrar(made.folder).signing.public)


def test_names_operators_and_address_can_be_chosen(tmp_path: Path) -> None:
    made = make_federation(
        tmp_path / "f", clients=1, holders=1, threshold=1, address="[::1]:50551", now=NOW,
        names=Names("clinic", "notary", {"server": "Anna", "clinic-1": "Bela"}),
    )  # fmt: skip
    assert made.roster.operators() == {"Anna": ("server",), "this machine": ("notary-1",), "Bela": ("clinic-1",)}
    assert load_identity(made.party("clinic-1")).address == "[::1]:50551"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"clients": -1}, "-1 clients; expected 0 to 10000"),
        ({"clients": 10_001}, "10001 clients"),
        ({"holders": 10**9}, "3 of 1000000000 key holders"),
        ({"threshold": 5}, "threshold is 5 of 4"),
        ({"holders": 0, "threshold": 0}, "threshold is 0 of 0"),
        ({"names": Names("../c")}, r"name is '../c-1'"),
        ({"names": Names("keyholder")}, "prefix 'keyholder' is for clients and for key holders"),
        ({"names": Names(operators={"stranger": "Anna"})}, "an operator is given for 'stranger', who is no party"),
        ({"names": Names(operators={"server": "a\nb"})}, "operator is"),
        ({"address": "nowhere"}, "address is 'nowhere'; expected HOST:PORT"),
        ({"years": 0}, "0 years"),
    ],
)
def test_what_cannot_work_is_said_and_leaves_nothing(
    tmp_path: Path, settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=sentence):
        make_federation(tmp_path / "f", now=NOW, **({"clients": 2} | settings))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(SettingsError, match="f is there already; expected a new or an empty folder"):
        make_federation(folder, clients=1, now=NOW)
    (folder / "mine").unlink()
    assert make_federation(folder, clients=1, now=NOW).party("client-1").is_dir()


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = module.write_file, []

    def fills_up(path: Path, content: bytes, mode: int) -> None:
        written.append(path)
        if len(written) == 5:
            raise StorageError(f"{path} cannot be written: No space left on device")
        real(path, content, mode)

    monkeypatch.setattr(module, "write_file", fills_up)
    with pytest.raises(StorageError, match="No space left"):
        make_federation(tmp_path / "f", clients=1, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="f cannot be made: .*file: File exists"):
        make_federation(tmp_path / "file" / "f", clients=1, now=NOW)


def test_the_registrar_comes_back_with_its_keys(made: Federation) -> None:
    for folder in (made.folder, made.folder / "registrar"):
        registrar = load_registrar(folder)
        assert registrar.roster == made.roster
        assert verify(load_identity(made.party("server")).registrar, ROSTER, b"", registrar.signing.sign(ROSTER, b""))
        assert repr(registrar) == f"Registrar(federation {made.roster.federation}, roster version 1)"


def test_the_registrars_folder_works_where_it_is_kept(made: Federation, tmp_path: Path) -> None:
    kept = (made.folder / "registrar").rename(tmp_path / "stick")
    passphrase = made.passphrase_file("registrar")
    assert load_registrar(kept, passphrase).roster == made.roster


def test_a_registrar_that_does_not_fit_together_is_one_sentence(made: Federation, tmp_path: Path) -> None:
    other = make_federation(tmp_path / "g", clients=1, now=NOW)
    home = made.folder / "registrar"
    with pytest.raises(DataError, match="client-1 is neither a federation's folder nor a registrar's"):
        load_registrar(made.party("client-1"))
    (home / "keys.enc").write_bytes((other.folder / "registrar" / "keys.enc").read_bytes())
    with pytest.raises(DataError, match="the passphrase is not the one"):
        load_registrar(made.folder)
    with pytest.raises(DataError, match=r"keys.enc are not those of authority.pem and registrar.json"):
        load_registrar(made.folder, other.passphrase_file("registrar"))


def test_a_registrar_with_another_signing_key_is_refused(made: Federation) -> None:
    path, passphrase = made.folder / "registrar" / "keys.enc", made.passphrase_file("registrar").read_bytes().strip()
    keys = read_keys(path, ("authority", "signing"), passphrase)
    write_keys(path, keys | {"signing": b"\1" * 32}, passphrase)
    with pytest.raises(DataError, match=r"keys.enc are not those of authority.pem and registrar.json"):
        load_registrar(made.folder)


def test_a_new_client_gets_the_next_number_and_all_parties_the_next_roster(made: Federation) -> None:
    changed = add_member(made.folder, "zoe", operator="Zoe", now=NOW)
    assert changed.roster.version == 2
    zoe = load_identity(made.party("zoe"), role=Role.CLIENT)
    assert (zoe.number, zoe.roster.current().member("zoe").operator) == (3, "Zoe")
    for name in PARTIES:
        assert load_identity(made.party(name)).roster.current() == changed.roster
    assert load_registrar(made.folder).roster == changed.roster
    assert "zoe/" in (made.folder / "WHO-GETS-WHAT.txt").read_text()


def test_a_revoked_party_is_revoked_for_all_parties_whose_folders_are_here(made: Federation, tmp_path: Path) -> None:
    away = made.party("client-1").rename(tmp_path / "away")
    made.party("client-1").mkdir()
    (made.party("client-1") / "mine").touch()
    running = load_identity(made.party("server")).roster
    changed = revoke(made.folder, "client-2")
    assert changed.parties_here == ("server", "keyholder-1", "keyholder-2", "keyholder-3", "client-2")
    with refused_with(Reason.REVOKED):
        running.current().active(Role.CLIENT, "client-2")
    assert running.current().active(Role.CLIENT, "client-1").number == 1
    assert [path.name for path in made.party("client-1").iterdir()] == ["mine"], "a folder of no party is left alone"
    assert load_identity(away, made.passphrase_file("client-1")).roster.current().version == 1, (
        "until it gets the new one"
    )


def test_a_name_once_revoked_is_never_given_again(made: Federation) -> None:
    revoke(made.folder, "client-2")
    with pytest.raises(SettingsError, match="client-2 is or was a member already"):
        add_member(made.folder, "client-2", now=NOW)
    with pytest.raises(SettingsError, match="client-2 is revoked already, in roster version 2"):
        revoke(made.folder, "client-2")
    with pytest.raises(Refused, match="'stranger' is not in the roster"):
        revoke(made.folder, "stranger")
    assert add_member(made.folder, "client-3", now=NOW).roster.member("client-3").number == 3
    changed = revoke(made.folder, "client-3")
    assert [client.revoked for client in changed.roster.clients] == [False, True, True]
    assert load_registrar(made.folder).roster.version == 4


@pytest.mark.parametrize("name", ["registrar", "Passphrases", "who-gets-what.txt", "../x", ""])
def test_a_client_cannot_have_a_name_that_is_needed_or_no_name(made: Federation, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be named|a party's name is"):
        add_member(made.folder, name, now=NOW)
    assert load_registrar(made.folder).roster.version == 1


def test_a_folder_in_the_way_of_a_new_client_stays_as_it_is(made: Federation) -> None:
    (made.folder / "zoe").mkdir()
    (made.folder / "zoe" / "mine").touch()
    with pytest.raises(SettingsError, match="zoe is there already"):
        add_member(made.folder, "zoe", now=NOW)
    assert (made.folder / "zoe" / "mine").exists()


def run(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    return done.exit_code, done.output


def test_the_command_line_makes_changes_and_shows(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    code, said = run(
        "init", folder, "--clients", "2", *SMALL, "--address", "example.org:443", "--operator", "server=Anna"
    )
    assert (code, f"is in {folder}" in said) == (0, True), said
    code, said = run("add-client", folder, "zoe", "--operator", "Anna")
    assert (code, "roster version 2 is signed; it is in server, keyholder-1" in said) == (0, True), said
    code, said = run("revoke", folder, "client-1")
    assert (code, f"send {folder}/registrar/roster.json to every party" in said) == (0, True), said
    code, said = run("show", folder)
    assert code == 0
    assert "roster version 3; 3 of 4 key holders open a sum" in said
    assert re.search(r"client-1 +client +1 +this machine +revoked", said)
    assert re.search(r"zoe +client +3 +Anna", said)
    assert "Anna runs server, zoe; nothing is guaranteed between them" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("init", "f", "--clients", "2", *SMALL, "--operator", "Anna"), "--operator is 'Anna'; expected NAME=WHO"),
        (("init", "f", "--clients", "5", "--threshold", "5"), "error: the threshold is 5 of 4"),
        (
            ("init", "f", "--clients", "3"),
            "open no sum of fewer than 5; pass --min-cohort 3 to let them open smaller ones",
        ),
        (("show", "f"), "error: f is neither a federation's folder nor a registrar's"),
        (("revoke", "f", "anna"), "error: f"),
    ],
)
def test_what_goes_wrong_on_the_command_line_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(*arguments)
    assert code == 1
    assert sentence in said
    assert said.count("\n") == 1


def test_the_paper_says_who_gets_what_and_what_is_lost(made: Federation) -> None:
    paper = (made.folder / "WHO-GETS-WHAT.txt").read_text()
    for name in PARTIES:
        assert re.search(rf"{name}/ +passphrases/{name} +this machine", paper)
    assert "a server, 3 key holders, 2 clients" in paper
    assert "the server and 2 key holders: it could open every client's own update" in paper
    assert f"this machine runs {', '.join(PARTIES)}" in paper
    assert "shares/" in (made.party("keyholder-1") / "READ-ME.txt").read_text()
    assert "shares/" not in (made.party("client-1") / "READ-ME.txt").read_text()
