"""What clients of a simulation are dealt leaves nothing on the disk, however the simulation ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parties import Parties
from test_results_on_disk import PLAIN

from simulation.nameless import NamelessFolder
from simulation.program import ENVIRONMENT

pytestmark = pytest.mark.slow

WORD = "zwiebelkuchen"


def files_with(secret: str, folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if secret.encode() in path.read_bytes()]


def test_a_file_is_written_and_read_by_its_path_and_has_no_content_of_its_own() -> None:
    with NamelessFolder() as folder:
        path = folder / "client-1.tsv"
        path.write_text("ham\thello\n")
        assert path.read_text() == "ham\thello\n"
        assert path.is_symlink()
        assert files_with("hello", path.parent) == []
    assert not path.parent.exists()


def test_where_there_are_no_such_files_an_ordinary_one_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    with NamelessFolder() as folder:
        path = folder / "client-1.tsv"
        path.write_text("hello")
        assert not path.is_symlink()
    assert not path.exists()


def test_not_even_kill_9_leaves_mail_behind(parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, box = tmp_path / "scratch", tmp_path / "box.tsv"
    scratch.mkdir()
    box.write_text("".join(f"{('ham', 'spam')[n % 2]}\t{WORD} number {n}\n" for n in range(60)))
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(scratch))
    simulation = parties.start("simulation", *PLAIN, "--data", box, "--rounds", "100", "--out", tmp_path / "out")
    simulation.hear("round 1 of 100:")
    simulation.kill()
    assert any(scratch.iterdir()), "links were here"
    assert files_with(WORD, scratch) == []
    assert files_with(WORD, tmp_path / "out") == []
