"""What a simulation does with a mailbox that is too small, of one class, or labelled in its owner's own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.data.mail import read_mailbox
from core.errors import DataError, SettingsError
from core.tasks import get_task
from core.tasks.spam import SPAM
from simulation.plan import make_plan
from tests.mails import mail, write_file, write_mbox


def lines(*, spam: int, ham: int, name_of_spam: str = "spam") -> bytes:
    """Return a mailbox of different mails."""
    kinds = [name_of_spam] * spam + ["ham"] * ham
    return "".join(f"{kind}\ttext number {number}\n" for number, kind in enumerate(kinds)).encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lines(spam=0, ham=50), "holds no spam"),
        (lines(spam=50, ham=0), "holds no ham"),
        (lines(spam=1, ham=1), r"has 2 mails, of which \d are left to train on .* 5 clients need at least one each"),
    ],
)
def test_a_mailbox_that_cannot_be_dealt_out_is_named_as_the_user_gave_it(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = write_file(tmp_path / "mine.tsv", content)
    with pytest.raises(DataError, match=rf"mine\.tsv {sentence}"):
        make_plan(SPAM, path, None, None, 0, tmp_path)


def test_mailboxes_too_small_to_keep_a_test_part_are_named(tmp_path: Path) -> None:
    write_mbox(tmp_path / "boxes" / "Inbox.mbox", mail("one"))
    write_mbox(tmp_path / "boxes" / "Junk.mbox", mail("two"))
    with pytest.raises(DataError, match=r"boxes.* (too few to keep a fifth of the texts|none is left to train on)"):
        make_plan(SPAM, tmp_path / "boxes", None, None, 0, tmp_path)


def test_an_own_name_for_spam_is_that_of_the_parts_too(tmp_path: Path) -> None:
    path = write_file(tmp_path / "mine.tsv", lines(spam=40, ham=40, name_of_spam="reklame"))
    plan = make_plan(SPAM, path, 2, None, 0, tmp_path, "reklame")
    parts = [read_mailbox(source).mails for source in (*plan.sources, plan.test)]
    assert sum(found.spam for part in parts for found in part) == 40
    assert sum(len(part) for part in parts) == 80
    with pytest.raises(SettingsError, match="--spam-label is 'reklame', and the task reviews has no spam"):
        make_plan(get_task("reviews"), path, 2, None, 0, tmp_path, "reklame")


def test_test_mail_may_have_an_own_name_for_spam(tmp_path: Path) -> None:
    path = write_file(tmp_path / "mine.tsv", lines(spam=3, ham=2, name_of_spam="reklame"))
    assert SPAM.load_test(str(path), 0, None, "reklame").data.batch(np.array([0, 4]))[1].tolist() == [1, 0]


@pytest.mark.parametrize("boxes", [("ann",), ("ann", "bob")])
def test_single_mails_next_to_mailboxes_are_named_as_left_out(boxes: tuple[str, ...], tmp_path: Path) -> None:
    for name in boxes:
        write_file(tmp_path / "data" / f"{name}.tsv", lines(spam=20, ham=20))
    assert "left out" not in make_plan(SPAM, tmp_path / "data", None, None, 0, tmp_path).sentence
    write_file(tmp_path / "data" / "note.eml", mail("one"))
    sentence = make_plan(SPAM, tmp_path / "data", None, None, 0, tmp_path).sentence
    assert sentence.endswith("; 1 single mail left out (note.eml); a folder of them would be a mailbox")
