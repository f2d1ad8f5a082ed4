"""Private keys on disk: only the owner may open the file, only the passphrase opens it, and no change goes unnoticed."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import DataError, SettingsError, StorageError
from core.identity import key_file
from core.identity.key_file import (
    RandomPassphrase,
    read_key_file,
    read_keys,
    read_passphrase,
    write_key_file,
    write_keys,
)


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key files that open at once, in this process only."""
    monkeypatch.setattr("core.identity.key_file.SMALLEST_COST", 1)
    monkeypatch.setattr("core.identity.key_file.COST", 1)


PASSPHRASE = b"correct horse"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "keys.enc"
    write_key_file(path, b"the keys", PASSPHRASE)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40))
def test_what_is_written_is_read(tmp_path: Path, content: bytes, passphrase: bytes) -> None:
    write_key_file(tmp_path / "k", content, passphrase)
    assert read_key_file(tmp_path / "k", passphrase) == content


def test_the_content_is_not_in_the_file_and_no_two_files_are_alike(written: Path) -> None:
    first = written.read_bytes()
    write_key_file(written, b"the keys", PASSPHRASE)
    assert b"keys" not in first.removeprefix(b"grokfed-keys")
    assert first[16:32] != written.read_bytes()[16:32], "salt"
    assert first[32:44] != written.read_bytes()[32:44], "nonce"


def test_another_passphrase_is_one_sentence(written: Path) -> None:
    with pytest.raises(DataError, match=r"keys.enc does not open: the passphrase is not the one"):
        read_key_file(written, b"correct horsf")


def test_every_byte_of_the_file_counts(written: Path) -> None:
    whole = written.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x80
        written.write_bytes(changed)
        with pytest.raises(DataError):
            read_key_file(written, PASSPHRASE)
    written.write_bytes(whole)
    assert read_key_file(written, PASSPHRASE) == b"the keys"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "cut short"),
        (b"grokfed-keys\1", "cut short"),
        (b"grokfed-keys\1\1" + b"\0" * 45, "cut short"),
        (b"-----BEGIN PRIVATE KEY-----" * 3, "not a key file"),
    ],
)
def test_what_is_no_key_file_is_said_to_be_none(written: Path, raw: bytes, word: str) -> None:
    written.write_bytes(raw)
    with pytest.raises(DataError, match=word):
        read_key_file(written, PASSPHRASE)


def test_another_version_and_another_cost_are_named(written: Path) -> None:
    whole = bytearray(written.read_bytes())
    for place, value, word in (
        (12, 2, "version 2; expected 1"),
        (13, 30, r"n = 2\^30"),
        (14, 9, "r = 9"),
        (15, 2, "p = 2"),
    ):
        changed = whole.copy()
        changed[place] = value
        written.write_bytes(changed)
        with pytest.raises(DataError, match=word):
            read_key_file(written, PASSPHRASE)


def test_a_cheap_passphrase_is_neither_written_nor_read(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_file, "SMALLEST_COST", 15)
    with pytest.raises(SettingsError, match=r"cost of the passphrase is 2\^14; expected 2\^15 to 2\^20"):
        write_key_file(tmp_path / "k", b"", PASSPHRASE, cost=14)
    with pytest.raises(DataError, match=r"scrypt n = 2\^1, .* expected n = 2\^15"):
        read_key_file(written, PASSPHRASE)


def test_only_a_passphrase_drawn_at_random_is_not_stretched(tmp_path: Path) -> None:
    drawn = RandomPassphrase()
    assert len({bytes(RandomPassphrase()) for _ in range(100)}) == 100
    assert len(drawn.replace(b"-", b"")) == 32, "20 random bytes, in base 32"
    write_key_file(tmp_path / "drawn", b"the keys", drawn)
    write_key_file(tmp_path / "chosen", b"the keys", bytes(drawn))
    costs = [(tmp_path / name).read_bytes()[len(key_file.MAGIC) + 1] for name in ("drawn", "chosen")]
    assert costs == [key_file.UNSTRETCHED, 1]
    assert read_key_file(tmp_path / "drawn", bytes(drawn)) == b"the keys"
    with pytest.raises(DataError, match="does not open"):
        read_key_file(tmp_path / "drawn", PASSPHRASE)
    with pytest.raises(SettingsError, match="cost"):
        write_key_file(tmp_path / "k", b"", PASSPHRASE, cost=key_file.UNSTRETCHED)


def test_the_cost_is_what_the_threat_model_says_unless_a_test_lowers_it() -> None:
    say = "from core.identity import key_file as k; print(k.COST, k.SMALLEST_COST, k.BLOCK_SIZE, k.PARALLEL)"
    done = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["15", "15", "8", "1"]


def test_a_file_of_the_default_cost_opens(tmp_path: Path) -> None:
    write_key_file(tmp_path / "k", b"the keys", PASSPHRASE, cost=15)
    assert (tmp_path / "k").read_bytes()[12:16] == bytes([1, 15, 8, 1])
    assert read_key_file(tmp_path / "k", PASSPHRASE) == b"the keys"


def test_the_file_is_its_owners_from_its_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = os.open

    def watched(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            seen.append((flags & os.O_EXCL, mode))
        return real(path, flags, mode)

    monkeypatch.setattr("core.identity.files.os.open", watched)
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "k", b"", PASSPHRASE)
    finally:
        os.umask(before)
    assert seen == [(os.O_EXCL, 0o600)]
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["k"], "no other file is left"


def test_file_and_name_are_on_the_disk_before_it_counts_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(
        "core.identity.files.os.fsync", lambda number: synced.append(stat.S_ISDIR(os.fstat(number).st_mode))
    )
    write_key_file(tmp_path / "k", b"", PASSPHRASE)
    assert synced == [False, True], "the file, then the folder"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_open_is_refused(written: Path, mode: int) -> None:
    written.chmod(mode)
    with pytest.raises(DataError, match=rf"mode {mode:04o}.*chmod 600"):
        read_key_file(written, PASSPHRASE)
    written.chmod(0o600)
    assert read_key_file(written, PASSPHRASE) == b"the keys"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.identity.files.os.fsync", full)
    with pytest.raises(StorageError, match=r"keys.enc cannot be written: No space left"):
        write_key_file(written, b"new", PASSPHRASE)
    assert read_key_file(written, PASSPHRASE) == b"the keys"
    assert [path.name for path in written.parent.iterdir()] == ["keys.enc"]


def test_no_file_and_no_passphrase_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_key_file(tmp_path / "none", PASSPHRASE)
    with pytest.raises(SettingsError, match="is empty"):
        write_key_file(tmp_path / "k", b"", b"")


def test_named_keys_come_back_under_exactly_their_names(tmp_path: Path) -> None:
    write_keys(tmp_path / "k", {"a": b"\0\1", "b": b""}, PASSPHRASE)
    assert read_keys(tmp_path / "k", ("a", "b"), PASSPHRASE) == {"a": b"\0\1", "b": b""}
    for names in (("a",), ("a", "b", "c"), ("a", "c")):
        with pytest.raises(DataError, match="exactly the fields"):
            read_keys(tmp_path / "k", names, PASSPHRASE)


def test_named_keys_that_are_not_base_64_are_a_sentence(tmp_path: Path) -> None:
    write_key_file(tmp_path / "k", b'{"a": "not base 64!"}', PASSPHRASE)
    with pytest.raises(DataError, match="not written in base 64"):
        read_keys(tmp_path / "k", ("a",), PASSPHRASE)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Places:
    """A federation's folder with one party, and a place where secrets may be mounted."""

    def __init__(self, root: Path) -> None:
        self.party = root / "federation" / "anna"
        self.party.mkdir(parents=True)
        self.siblings = root / "federation" / "passphrases" / "anna"
        self.mounted = root / "run" / "grokfed_passphrase"

    def put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def read(self, file: Path | None = None, name: str | None = None) -> bytes:
        return read_passphrase(file, self.party, name=name, mounted=self.mounted)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("GROKFED_PASSPHRASE", "from the environment")
    return Places(tmp_path)


def test_a_passphrase_comes_from_the_first_place_that_has_one(places: Places, tmp_path: Path) -> None:
    places.put(places.siblings, b"siblings\n")
    assert places.read() == b"siblings"
    places.put(places.mounted, b"mounted\r\n")
    assert places.read() == b"mounted"
    places.put(tmp_path / "given", b"  given with spaces \n")
    assert places.read(tmp_path / "given") == b"  given with spaces "


def test_a_folder_of_mounted_passphrases_is_asked_by_name(places: Places) -> None:
    places.put(places.mounted / "anna", b"anna's\n")
    places.put(places.mounted / "bela", b"bela's\n")
    assert places.read() == b"anna's"
    assert places.read(name="bela") == b"bela's"


def test_without_any_place_and_terminal_there_is_none_and_never_from_the_environment(places: Places) -> None:
    with pytest.raises(SettingsError, match=r"no passphrase for anna: none of .*passphrases/anna is a file"):
        places.read()


def test_a_given_file_is_not_replaced_by_another_place(places: Places, tmp_path: Path) -> None:
    places.put(places.siblings, b"siblings\n")
    with pytest.raises(SettingsError, match="there is no file"):
        places.read(tmp_path / "none")


@pytest.mark.parametrize(("content", "word"), [(b"\n", "is empty"), (b"x" * 1025, "more than 1024 bytes")])
def test_an_empty_or_endless_passphrase_is_refused(places: Places, content: bytes, word: str) -> None:
    places.put(places.siblings, content)
    with pytest.raises(SettingsError, match=word):
        places.read()


def test_on_a_terminal_the_passphrase_is_asked_for(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "typed")
    assert places.read() == b"typed"
    assert asked == ["passphrase of anna: "]
