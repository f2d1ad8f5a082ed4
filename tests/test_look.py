"""What `client look` says of a mailbox, and what a client reads when."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from client import reading
from client.__main__ import app
from client.look import WordCounts, look_at
from client.reading import loader
from core.data.mail import Mail, open_mailbox
from core.data.mail.progress import EVERY_SECONDS, Progress
from core.errors import DataError, SettingsError
from core.tasks import get_task
from core.tasks.spam import SPAM
from tests.mails import mail, make_maildir, write_file, write_mbox


def mailbox(tmp_path: Path) -> Path:
    """One mail without a label, one that a filter calls spam, one that its owner does, one deleted."""
    return write_mbox(
        tmp_path / "archive.mbox",
        mail("see you"),
        mail("win a prize", "X-Spam-Flag: YES\n"),
        mail("buy", "X-Gmail-Labels: Spam\n"),
        mail("gone", "X-Mozilla-Status: 0009\n"),
    )


def look(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["look", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_look_says_what_is_there_and_by_which_evidence(tmp_path: Path) -> None:
    found = json.loads(look(str(mailbox(tmp_path)), "--json"))
    assert {key: found[key] for key in ("format", "mails", "spam", "ham", "unlabelled", "deleted", "skipped")} == {
        "format": "mbox",
        "mails": 3,
        "spam": 2,
        "ham": 1,
        "unlabelled": 1,
        "deleted": 1,
        "skipped": 0,
    }
    assert found["evidence"] == {
        "nothing says so (taken for ham)": {"spam": 0, "ham": 1},
        "X-Spam-Flag (a filter's verdict)": {"spam": 1, "ham": 0},
        "X-Gmail-Labels (the owner's labels)": {"spam": 1, "ham": 0},
    }
    assert "texts" not in found


def test_look_shows_the_first_texts_as_the_model_sees_them(tmp_path: Path) -> None:
    path = str(mailbox(tmp_path))
    found = json.loads(look(path, "--json", "--texts", "2"))
    assert found["texts"] == [
        {"spam": False, "text": "Subject: Lunch\nsee you\n"},
        {"spam": True, "text": "Subject: Lunch\nwin a prize\n"},
    ]
    assert "spam: Subject: Lunch win a prize" in look(path, "--texts", "5")


def test_look_in_sentences_ends_with_what_was_sent(tmp_path: Path) -> None:
    lines = look(str(mailbox(tmp_path))).splitlines()
    assert lines[0].endswith("archive.mbox: mbox")
    assert lines[1] == "3 mails: 2 spam, 1 ham"
    assert any(line.startswith("1 deleted mail left out; the first: message 4 of archive") for line in lines)
    assert lines[-1] == "nothing was sent: this command opens no connection"


def test_look_at_one_class_says_what_is_missing_and_how_to_name_it(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "inbox", mail(headers="X-Gmail-Labels: Reklame\n"), mail())
    assert "there is no spam in it" in look(str(path))
    assert "--spam-label NAME" in look(str(path))
    assert json.loads(look(str(path), "--spam-label", "reklame", "--json"))["spam"] == 1


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "box", **{"cur_1:2,S": mail()})
    write_file(path / "cur" / "dovecot-uidlist", b"3 V1\n")
    assert "1 file passed over; the first: box/cur/dovecot-uidlist" in look(str(path))


def test_look_at_nothing_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["look", str(tmp_path / "nothing")])
    assert result.exit_code == 1


def test_words_weigh_by_how_often_and_how_unevenly_they_occur() -> None:
    counts = WordCounts()
    for spam, text in (
        (True, "win now"),
        (True, "win it"),
        (True, "win"),
        (False, "lunch now"),
        (False, "it"),
        (False, "lunch"),
    ):
        counts.add(Mail(text, spam))
    weights = dict(counts.strongest(3, 3))
    assert list(weights) == ["win", "lunch"]
    assert weights["win"] > 0 > weights["lunch"]
    assert counts.strongest(3, 0) == []


def test_progress_is_said_every_few_seconds_and_no_more(tmp_path: Path) -> None:
    times = iter(range(0, 1000, 2))
    said: list[str] = []
    progress = Progress("box", said.append, lambda: float(next(times)))
    path = write_mbox(tmp_path / "box.mbox", *(mail() for _ in range(8)))
    assert len(list(open_mailbox(path, progress=progress))) == 8
    calls = 1 + 8 + 1  # at the start, for each mail, for the one piece of the file
    assert len(said) == (calls - 1) * 2 // (EVERY_SECONDS + 1)
    assert said[0].startswith("reading box: ")
    assert look_at(str(path)).ham == 8


# --- What a client trains on ---


def two_classes(tmp_path: Path) -> Path:
    return write_file(tmp_path / "box.tsv", b"ham\thello\nspam\twin\n")


def test_a_small_mailbox_is_read_before_connecting(tmp_path: Path) -> None:
    path = two_classes(tmp_path)
    load = loader(SPAM, str(path))
    path.unlink()
    assert len(load(0, 1)) == 2
    with pytest.raises(DataError, match="there is nothing at"):
        loader(SPAM, str(path))


def test_a_large_mailbox_is_read_when_the_first_round_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "READ_AT_ONCE", 10)
    path = two_classes(tmp_path)
    load = loader(SPAM, str(path))
    assert "takes a while to read" in capsys.readouterr().out
    path.write_bytes(path.read_bytes() + b"ham\tlate\n")
    assert len(load(0, 1)) == 3
    with pytest.raises(DataError, match="not a mailbox"):
        loader(SPAM, str(write_file(tmp_path / "photo", b"\xff\xd8\xff and more")))


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader(SPAM, str(mailbox(tmp_path)))
    assert "1 mail of" in capsys.readouterr().out


def test_one_class_is_refused_naming_the_path_unless_it_is_allowed(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "inbox", mail())
    with pytest.raises(DataError, match=r"inbox holds no spam; .*--allow-one-class trains anyway"):
        loader(SPAM, str(path))
    assert len(loader(SPAM, str(path), one_class=True)(0, 1)) == 1


def test_a_name_for_spam_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--spam-label is 'x', and the task reviews has no spam"):
        loader(get_task("reviews"), str(tmp_path), spam_label="x")


def test_a_mailbox_is_read_as_the_numbers_of_its_words(tmp_path: Path) -> None:
    path = two_classes(tmp_path)
    examples = SPAM.read(path).examples
    assert [len(example.numbers) for example in examples] == [2, 2]  # one word each, two bytes a word
    texts = [Mail("hello", False), Mail("win", True)]
    (numbers, offsets), labels = SPAM.prepare(examples).batch(np.arange(2))
    (expected, _), _ = SPAM.prepare(texts).batch(np.arange(2))
    assert numbers.tolist() == expected.tolist()
    assert offsets.tolist() == [0, 1]
    assert labels.tolist() == [0, 1]
