"""One SQLite file of a party: whole transactions, one process at a time, and sentences when something is wrong."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.database import Database
from core.errors import Reason, Refused, StorageError

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, content BLOB) STRICT;"


def opened(folder: Path, version: int = 1) -> Database:
    return Database(folder / "state" / "things.sqlite", SCHEMA, version, owner="tester")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = opened(tmp_path)
    yield database
    database.close()


def put(database: Database, name: str, content: bytes = b"") -> None:
    with database.commit() as db:
        db.execute("INSERT INTO things VALUES (?, ?)", (name, content))


def names(database: Database) -> list[str]:
    return [row[0] for row in database.all("SELECT name FROM things ORDER BY name")]


def test_what_was_committed_is_there_after_the_process_is_gone(tmp_path: Path, database: Database) -> None:
    put(database, "a")
    database._lock.close()  # as the operating system does when a process is killed; nothing is flushed or closed
    again = opened(tmp_path)
    assert names(again) == ["a"]
    again.close()


def test_everything_it_writes_is_for_this_user_alone(tmp_path: Path, database: Database) -> None:
    put(database, "a")
    folder = tmp_path / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if "sqlite" in path.name}
    assert len(files) == 3, "the database, its log and the log's index"
    assert set(files.values()) == {0o600}


def test_a_transaction_is_on_the_disk_when_it_has_returned(database: Database) -> None:
    assert database.first("PRAGMA journal_mode") == ("wal",)
    assert database.first("PRAGMA synchronous") == (2,), "FULL: the log is synchronised at every commit"
    assert database.first("PRAGMA secure_delete") == (1,)


@pytest.mark.parametrize("error", [Refused(Reason.DUPLICATE, "no"), KeyboardInterrupt(), ValueError("no")])
def test_whatever_ends_a_transaction_early_undoes_all_of_it(database: Database, error: BaseException) -> None:
    def fails() -> None:
        with database.commit() as db:
            db.execute("INSERT INTO things VALUES ('a', NULL)")
            raise error

    with pytest.raises(type(error)):
        fails()
    assert names(database) == []
    put(database, "b")
    assert names(database) == ["b"], "the next transaction is not in the way of the one before"


def test_all_gives_every_row_and_first_the_first_or_none(database: Database) -> None:
    for name in "ba":
        put(database, name)
    assert database.all("SELECT name FROM things WHERE name >= ? ORDER BY name", "a") == [("a",), ("b",)]
    assert database.first("SELECT name FROM things WHERE name = ?", "b") == ("b",)
    assert database.first("SELECT name FROM things WHERE name = ?", "c") is None


def test_a_second_process_on_the_same_folder_is_kept_out(tmp_path: Path, database: Database) -> None:
    with pytest.raises(StorageError, match="state is in use by another tester; stop that one first"):
        opened(tmp_path)
    database.close()
    opened(tmp_path).close()


def test_a_file_that_could_not_be_opened_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    opened(tmp_path, version=1).close()
    with pytest.raises(StorageError):
        opened(tmp_path, version=2)
    opened(tmp_path, version=1).close()


def test_a_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, version=7).close()
    with pytest.raises(StorageError, match=r"things\.sqlite has layout 7; this program knows 8"):
        opened(tmp_path, version=8)


def test_a_new_layout_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such table: nowhere"):
        Database(tmp_path / "things.sqlite", SCHEMA + "DROP TABLE nowhere;", 1, owner="tester")
    with closing(sqlite3.connect(tmp_path / "things.sqlite")) as file:
        assert file.execute("SELECT name FROM sqlite_schema").fetchall() == []


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "things.sqlite").write_text("this is not a database, and long enough to be sure of it" * 20)
    with pytest.raises(StorageError, match="is not a file of this program or is damaged"):
        opened(tmp_path)


def test_a_state_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StorageError, match="the state folder .*state cannot be used"):
        opened(tmp_path)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_done(database: Database) -> None:
    pages = database._db.execute("PRAGMA page_count").fetchone()[0]
    database._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"things\.sqlite cannot be used: database or disk is full"):
        put(database, "large", bytes(100_000))
    assert names(database) == []
    database._db.execute("PRAGMA max_page_count = 100000")
    put(database, "large", bytes(100_000))
    assert names(database) == ["large"]


def test_what_the_database_itself_refuses_is_not_hidden(database: Database) -> None:
    """A constraint that does not hold is for its caller to judge, inside the transaction; outside it is a fault."""
    put(database, "a")
    with pytest.raises(StorageError, match="UNIQUE constraint"):
        put(database, "a")
    with database.commit() as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("INSERT INTO things VALUES ('a', NULL)")


def test_deleted_content_does_not_stay_in_the_file(tmp_path: Path, database: Database) -> None:
    secret = b"ciphertext of a client" * 100
    put(database, "a", secret)
    with database.commit() as db:
        db.execute("UPDATE things SET content = NULL")
    database._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert secret[:200] not in (tmp_path / "state" / "things.sqlite").read_bytes()


def test_a_spooled_file_has_no_name_and_is_on_the_disk_of_the_database(database: Database) -> None:
    folder = database.path.parent
    before = set(folder.iterdir())
    with database.spool() as file:
        file.write(b"update")
        assert set(folder.iterdir()) == before
        assert Path(f"/proc/self/fd/{file.fileno()}").readlink().parent == folder


def test_no_room_for_a_spooled_file_is_one_sentence(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.database.tempfile.TemporaryFile", full)
    with pytest.raises(StorageError, match="state cannot be used: .*No space left"):
        database.spool()


# ------------------------------------------------------------------------------------------------ forgetting


def on_disk(folder: Path, content: bytes) -> bool:
    """Whether any file of a folder has these bytes, as someone would see it who takes the disk at this moment."""
    return any(content in path.read_bytes() for path in folder.iterdir() if path.is_file())


SECRET = b"what was destroyed" * 20


def test_what_is_deleted_stays_in_the_log_until_it_is_forgotten(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite", "CREATE TABLE IF NOT EXISTS t (content BLOB);", 1, "test")
    with database.commit() as db:
        db.execute("INSERT INTO t VALUES (?)", (SECRET,))
    with database.commit() as db:
        db.execute("UPDATE t SET content = NULL")
    assert on_disk(tmp_path, SECRET)
    database.forget()
    assert not on_disk(tmp_path, SECRET)
    database.close()


def test_the_next_start_forgets_what_a_killed_process_left(tmp_path: Path) -> None:
    schema = "CREATE TABLE IF NOT EXISTS t (content BLOB);"
    database = Database(tmp_path / "x.sqlite", schema, 1, "test")
    with database.commit() as db:
        db.execute("INSERT INTO t VALUES (?)", (SECRET,))
    with database.commit() as db:
        db.execute("DELETE FROM t")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy, ignore=lambda *_: ["copy", "lock"])
    database.close()
    assert on_disk(copy, SECRET), "as kill -9 leaves it"
    Database(copy / "x.sqlite", schema, 1, "test").close()
    assert not on_disk(copy, SECRET)
