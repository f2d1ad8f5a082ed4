"""A key holder has one ledger: in another folder, without it, or twice at a time, its program does not start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from federations import SmallFederation

from core.errors import SettingsError, StorageError
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, digest
from keyholder.ledger import FILE, Ledger
from keyholder.own_ledger import OwnLedger

ID = AttemptId("0123456789abcdef", 1, 1)


@pytest.fixture
def identity(tmp_path: Path) -> PartyIdentity:
    return SmallFederation(tmp_path / "federation")["keyholder-1"]


def begin(identity: PartyIdentity, state: Path) -> bytes:
    """Start once, sign a list, and return the ledger's last hash."""
    with OwnLedger(identity, state) as own:
        own.ledger.record_start(b"l" * 16)
        return own.ledger.record_list(ID, 7, b"statement").hash


def test_a_ledger_is_found_again_and_the_identitys_folder_names_it(identity: PartyIdentity, tmp_path: Path) -> None:
    last = begin(identity, tmp_path / "state")
    card = identity.folder / "ledger.json"
    assert stat.S_IMODE(card.stat().st_mode) == 0o600
    with OwnLedger(identity, tmp_path / "state") as own:
        assert own.ledger.head.hash == last
        assert not own.begun
        assert own.ledger.id.id.hex() in card.read_text()


def test_a_ledger_may_move_with_its_folder(identity: PartyIdentity, tmp_path: Path) -> None:
    last = begin(identity, tmp_path / "state")
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with OwnLedger(identity, tmp_path / "elsewhere") as own:
        assert own.ledger.head.hash == last
    assert str(tmp_path / "elsewhere") in (identity.folder / "ledger.json").read_text()


def test_another_folder_without_the_ledger_is_refused_with_the_place_where_it_was(
    identity: PartyIdentity, tmp_path: Path
) -> None:
    begin(identity, tmp_path / "state")
    with pytest.raises(
        SettingsError, match=f"ledger of keyholder-1 is not in .*other; it was last in {tmp_path}/state"
    ):
        OwnLedger(identity, tmp_path / "other")
    OwnLedger(identity, tmp_path / "state").close()


@pytest.mark.parametrize("damage", ["deleted", "emptied"])
def test_a_ledger_that_is_gone_is_refused(identity: PartyIdentity, tmp_path: Path, damage: str) -> None:
    begin(identity, tmp_path / "state")
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    if damage == "emptied":
        (tmp_path / "state" / FILE).touch()
    with pytest.raises(SettingsError, match="--new-ledger"):
        OwnLedger(identity, tmp_path / "state")


def test_the_ledger_of_another_holder_is_refused(identity: PartyIdentity, tmp_path: Path) -> None:
    begin(identity, tmp_path / "state")
    Ledger(tmp_path / "other").close()
    with pytest.raises(SettingsError, match="is not that of keyholder-1"):
        OwnLedger(identity, tmp_path / "other")


def test_a_new_ledger_is_begun_where_it_is_asked_for_and_is_newer_than_all_of_the_old_one(
    identity: PartyIdentity, tmp_path: Path
) -> None:
    begin(identity, tmp_path / "state")
    with OwnLedger(identity, tmp_path / "state", new=True) as own:
        assert own.begun
        assert own.ledger.entries() == []
        assert own.ledger.record_start(b"m" * 16).number == 1_000_000_001
    assert [path.name[:4] for path in (tmp_path / "state").glob("old-*")], "the old one is set aside"
    with OwnLedger(identity, tmp_path / "state", new=True) as own:
        assert own.ledger.record_start(b"n" * 16).number == 2_000_000_001


def test_two_processes_of_one_holder_are_kept_apart_whatever_their_state_folders(
    identity: PartyIdentity, tmp_path: Path
) -> None:
    with OwnLedger(identity, tmp_path / "state"):
        for state in ("state", "other"):
            with pytest.raises(StorageError, match="another process runs as keyholder-1"):
                OwnLedger(identity, tmp_path / state)
    OwnLedger(identity, tmp_path / "state").close()


def test_a_ledger_whose_identitys_file_is_gone_is_taken_over(identity: PartyIdentity, tmp_path: Path) -> None:
    """The identity's folder was copied from the registrar again; the others notice if this is not the newest ledger."""
    last = begin(identity, tmp_path / "state")
    (identity.folder / "ledger.json").unlink()
    with OwnLedger(identity, tmp_path / "state") as own:
        assert own.ledger.head.hash == last


def test_a_file_that_names_no_ledger_is_refused(identity: PartyIdentity, tmp_path: Path) -> None:
    begin(identity, tmp_path / "state")
    (identity.folder / "ledger.json").write_text('{"ledger": "00", "base": 0, "folder": "x"}')
    with pytest.raises(Exception, match="does not name a ledger"):
        OwnLedger(identity, tmp_path / "state")


def test_a_new_ledgers_entries_follow_from_its_own_name(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path / "1"), Ledger(tmp_path / "2")
    assert one.id.head.hash == digest(one.id.id)
    assert one.record_start(b"l" * 16) != other.record_start(b"l" * 16)
    one.close()
    other.close()
