"""A damaged database of a party is refused in a sentence, wherever the damage is."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from core.database import explained
from core.errors import StorageError
from core.protocol import AttemptId
from keyholder.ledger import Answer, Ledger

ID = AttemptId("0123456789abcdef", 1, 1)


def written_ledger(folder: Path) -> Path:
    """A ledger with one list, one release and one model, all of it in its one file."""
    ledger = Ledger(folder)
    ledger.record_list(ID, 1, b"statement", bytes(64))
    ledger.record_release(ID, 1, bytes(32), Answer(b"partial", ""), ["client-1", "client-2"])
    ledger.record_model(ID, bytes(32), bytes(64))
    ledger._database.first("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    return folder / "keyholder.sqlite"


@pytest.mark.parametrize("column", ["kind", "content"])
def test_an_entry_whose_text_is_gone_breaks_the_chain(tmp_path: Path, column: str) -> None:
    path = written_ledger(tmp_path)
    with sqlite3.connect(path) as db:  # as a flipped bit in a row's header does it
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ' STRICT', '')")
    db.close()
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE entries SET {column} = NULL WHERE number = 2")  # noqa: S608
    db.close()
    with pytest.raises(StorageError, match="entry 2 .* does not follow"):
        Ledger(tmp_path)


@pytest.mark.parametrize("column", ["request_sha256", "contributors"])
def test_a_release_of_which_a_part_is_gone_is_damage_too(tmp_path: Path, column: str) -> None:
    path = written_ledger(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ' STRICT', '')")
    db.close()
    with sqlite3.connect(path) as db:
        assert db.execute(f"UPDATE releases SET {column} = NULL").rowcount >= 1  # noqa: S608
    db.close()
    with pytest.raises(StorageError, match="damaged"):
        Ledger(tmp_path)


def test_names_that_cannot_be_read_are_damage_too(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="damaged"), explained(tmp_path / "x.sqlite"):
        b"\x91".decode()


def test_contributors_that_cannot_be_read_are_damage_too(tmp_path: Path) -> None:
    path = written_ledger(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE releases SET contributors = '[\"client-1'")
    db.close()
    with pytest.raises(StorageError, match="damaged"):
        Ledger(tmp_path)


def test_a_ledger_with_random_damage_opens_whole_or_is_refused_in_a_sentence(tmp_path: Path) -> None:
    good = written_ledger(tmp_path / "good").read_bytes()
    rng = random.Random(1)
    refused = 0
    for number in range(300):
        folder = tmp_path / str(number)
        folder.mkdir()
        raw = bytearray(good)
        for _ in range(20):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        (folder / "keyholder.sqlite").write_bytes(raw)
        try:
            ledger = Ledger(folder)
        except StorageError:
            refused += 1
            continue
        ledger.close()
    assert refused > 10
