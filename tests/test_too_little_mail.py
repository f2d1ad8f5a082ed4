"""Mailboxes that are too small for a simulation: said before anything starts, with the name that the user gave."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest

from core.data.message import Mail
from core.data.partition import split_held_out
from core.errors import DataError
from core.tasks import get_task
from simulation.plan import make_plan


def held_out_text() -> str:
    """A text that is kept for the test."""
    return next(text for text in map(str, range(1000)) if split_held_out([Mail(text, False)])[1])


def write(path: Path, *texts: str) -> None:
    path.write_text("".join(f"{label}\t{text}\n" for label, text in zip(cycle(["spam", "ham"]), texts, strict=False)))


def test_a_mailbox_of_which_nothing_is_left_to_train_on_is_named(tmp_path: Path) -> None:
    write(tmp_path / "large.tsv", *map(str, range(100)))
    write(tmp_path / "small.tsv", held_out_text())
    with pytest.raises(DataError, match=r"small\.tsv has 1 mail, and .* none is left to train on; leave it out"):
        make_plan(get_task("spam"), tmp_path, None, None, 0, tmp_path / "out")


def test_a_file_with_too_few_mails_for_its_clients_is_named(tmp_path: Path) -> None:
    write(tmp_path / "box.tsv", "a", "b", "c")
    with pytest.raises(DataError, match=r"box\.tsv has 3 mails, of which \d are left .*; 5 clients need at least one"):
        make_plan(get_task("spam"), tmp_path / "box.tsv", 5, None, 0, tmp_path)


def test_too_little_to_keep_a_part_for_the_test_is_said(tmp_path: Path) -> None:
    trained = [text for text in map(str, range(20)) if split_held_out([Mail(text, False)])[0]]
    write(tmp_path / "box.tsv", *trained[:2])
    with pytest.raises(DataError, match=r"box\.tsv has 2 mails, too few to keep a fifth"):
        make_plan(get_task("spam"), tmp_path / "box.tsv", 2, None, 0, tmp_path)
