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
    ledger.record_list(ID, 1, b"statement")
    ledger.record_release(ID, 1, bytes(32), Answer(b"partial", ""), ["client-1", "client-2"], bytes(32))
    ledger.record_model(ID, bytes(32))
    ledger._database.first("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    return folder / "keyholder.sqlite"


@pytest.mark.parametrize(
    ("what_is_lost", "message"),
    [
        ("entries SET kind = NULL WHERE number = 2", "entry 2 .* does not follow"),
        ("entries SET content = NULL WHERE number = 2", "entry 2 .* does not follow"),
        ("releases SET request_sha256 = NULL", "damaged"),
        ("releases SET contributors = NULL", "damaged"),
    ],
)
def test_a_ledger_that_lost_a_part_of_an_entry_is_damaged(tmp_path: Path, what_is_lost: str, message: str) -> None:
    path = written_ledger(tmp_path)
    with sqlite3.connect(path) as db:  # as a flipped bit in a row's header does it
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(replace(sql, ' NOT NULL', ''), ' STRICT', '')")
    db.close()
    with sqlite3.connect(path) as db:
        assert db.execute(f"UPDATE {what_is_lost}").rowcount >= 1
    db.close()
    with pytest.raises(StorageError, match=message):
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
