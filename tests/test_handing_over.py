"""A federation is put into folders that are there, once, and its keys are topped up: what containers begin with."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parties import run_here

from core.errors import SettingsError, StorageError
from core.identity.party import load_identity
from registrar import handing_over
from registrar.dealer import dealt_to_all
from registrar.federation import Federation, make_federation
from registrar.handing_over import make_if_missing

pytestmark = pytest.mark.slow

PARTIES = ["server", "keyholder-1", "keyholder-2", "keyholder-3", "client-1", "client-2"]
TWO_OF_THREE = ("--holders", "3", "--threshold", "2")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Empty folders, one for each party, as containers have them."""
    for name in (*PARTIES, "passphrases"):
        (tmp_path / "f" / name).mkdir(parents=True)
    return tmp_path / "f"


def prepare(folder: Path, clients: int = 2, holders: int = 3, threshold: int = 2) -> tuple[Federation, bool]:
    def make(place: Path) -> Federation:
        return make_federation(place, clients=clients, holders=holders, threshold=threshold, now=datetime.now(UTC))

    return make_if_missing(folder, clients, holders, threshold, make)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_volume_becomes_the_folder_of_a_party(volumes: Path) -> None:
    made, new = prepare(volumes)
    assert new
    assert [load_identity(volumes / name).name for name in PARTIES] == PARTIES
    assert made.roster.federation == load_identity(volumes / "server").federation
    assert (volumes / "WHO-GETS-WHAT.txt").is_file()
    assert {stat.S_IMODE(path.stat().st_mode) for path in volumes.rglob("keys.enc")} == {0o600}
    assert stat.S_IMODE((volumes / "keyholder-1" / "shares").stat().st_mode) == 0o700


def test_the_second_time_nothing_is_changed(volumes: Path) -> None:
    made, _ = prepare(volumes)
    before = contents(volumes)
    again, new = prepare(volumes, clients=1)
    assert not new
    assert again.roster == made.roster
    assert contents(volumes) == before


def test_what_an_attempt_that_was_cut_off_has_left_is_written_over(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = handing_over.write_file

    def full(path: Path, content: bytes, mode: int) -> None:
        if path.name == "registrar.json":
            raise OSError(28, "No space left on device")
        written(path, content, mode)

    monkeypatch.setattr(handing_over, "write_file", full)
    with pytest.raises(StorageError, match="cannot be filled: .*No space left"):
        prepare(volumes)
    half = load_identity(volumes / "client-1").federation
    monkeypatch.undo()
    made, new = prepare(volumes)
    assert new
    assert made.roster.federation != half
    assert {load_identity(volumes / name).federation for name in PARTIES} == {made.roster.federation}


@pytest.mark.parametrize(("clients", "holders", "threshold"), [(3, 3, 2), (2, 5, 3), (2, 3, 3)])
def test_a_federation_that_is_not_as_asked_is_refused(
    volumes: Path, clients: int, holders: int, threshold: int
) -> None:
    prepare(volumes)
    with pytest.raises(SettingsError, match="holds a federation of 2 clients with 2 of 3 key holders; expected"):
        prepare(volumes, clients, holders, threshold)


def test_both_commands_may_be_given_again_and_again(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init = ("registrar", "init", volumes, "--clients", "2", "--min-cohort", "2", "--if-missing", *TWO_OF_THREE)
    deal = ("registrar", "deal", volumes, "--top-up", "--key-bits", "256", "--insecure-demo-keys", "--keys")
    assert "says what to do with it" in run_here(capsys, *init)[1]
    assert "0 keys are unused, 3 are wanted" in run_here(capsys, *deal, "3")[1]
    assert "already, with roster version 1" in run_here(capsys, *init)[1]
    (volumes / "keyholder-2" / "shares" / "00000001.share").unlink()  # one holder has used it
    code, said = run_here(capsys, *deal, "3")
    assert (code, said.splitlines()) == (0, ["2 keys are unused, 3 are wanted", "dealt key 4: 1 of 1"])
    assert run_here(capsys, *deal, "3") == (0, "3 keys are unused, 3 are wanted\n")


def test_keys_of_another_kind_and_expired_ones_do_not_count(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(volumes)
    run_here(capsys, "registrar", "deal", volumes, "--keys", "2", "--key-bits", "256", "--insecure-demo-keys")
    folders = [volumes / f"keyholder-{number}" for number in (1, 2, 3)]
    today = int(datetime.now(UTC).timestamp() // 86400)
    assert dealt_to_all(folders, "paillier", 256, today + 90) == {1, 2}
    assert dealt_to_all(folders, "paillier", 256, today + 91) == set()
    assert dealt_to_all(folders, "paillier", 512, today) == set()
    assert dealt_to_all(folders, "damgard-jurik", 256, today) == set()


def test_everything_that_differs_is_named_and_the_way_out(volumes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init = ("registrar", "init", volumes, "--if-missing")
    run_here(capsys, *init, "--clients", "2", "--min-cohort", "2", *TWO_OF_THREE)
    code, said = run_here(
        capsys, *init, "--clients", "4", "--min-cohort", "2", "--holders", "5", "--threshold", "3", "--address", "there:1",
        "--client-prefix", "owner",
    )  # fmt: skip
    assert code == 1
    assert "expected at least 4 clients, 3 of 5 key holders, the name owner-1, not client-1 and its server at" in said
    assert "there:1, not 127.0.0.1:50551" in said
    assert "docker compose down --volumes" in said
