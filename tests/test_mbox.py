"""Where a mail ends in an mbox, case by case of the rule in core/data/mail/mbox.py."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path

import pytest

from core.data.mail import read_mailbox
from core.data.mail.mbox import CHUNK, LOOK_AHEAD, split_mbox
from tests.mails import SEPARATOR, mail, write_mbox

HEADERS = "Subject: second\nFrom: bob@example.org\n\n"


def count(before: str, line: str, after: str = HEADERS) -> int:
    """Count the mails of an mbox whose first mail has a line "From ..." in it, after and before other lines."""
    text = f"Subject: first\n\nDear all\n{before}{line}\n{after}bye\n"
    return sum(1 for _ in split_mbox(io.BytesIO(SEPARATOR + text.encode())))


DATED = [
    "From - Sat Apr  6 20:13:31 2013",
    "From - Sat Apr 06 20:13:31 2013",
    "From ann@example.org Thu Jan  1 00:00:00 2026",
    "From ann@example.org  Thu Jan 01 00:00:00 2026",
    "From ann@example.org Thu Jan  1 00:00 2026",
    "From ann@example.org Thu Jan  1 00:00:00 2026 +0100",
    "From ann@example.org Thu Jan  1 00:00:00 CET 2026",
    "From ann@example.org Thu Jan  1 00:00:00 GMT+1 2026",
    "From 1431234567890123456@xxx Mon Apr 06 20:13:31 +0000 2013",
    "From ann@example.org Thu, 1 Jan 2026 00:00:00 +0000",
    "From ann@example.org Thu, 1 Jan 2026 00:00:00 +0000 (UTC)",
    "From ann@example.org 2026-01-01 00:00:00",
    "From ann@example.org 2026-01-01T00:00:00Z",
    "From ann@example.org Do Jan  1 00:00:00 2026",
    "From ???@??? Fri Nov 11 13:58:26 1994",
    "From MAILER-DAEMON Fri Jul  8 12:08:34 2011",
    'From "Ann Other" <ann@example.org> Thu Jan  1 00:00:00 2026',
    "From ann at example.org  Thu Jan  1 00:00:00 2026",
    "From ann@example.org (Ann) Thu Jan  1 00:00:00 2026",
    "From uucp!ann Thu Jan  1 00:00:00 2026 remote from example",
    "From Thu Jan  1 00:00:00 2026",
]
UNDATED = ["From ", "From -", "From  "]
DOUBTFUL = [
    "From ann@example.org",
    "From ann",
    "From -2397823984323",
    "From ann@example.org Do Mai  1 00:00:00 2026",
    "From Ann Other Thu Jan  1 00:00:00 2026",
    "From",
]
TEXT = [
    "From Monday on the office is closed",
    "From Monday:",
    "From here",
    "From ann@example.org",
    "From 10:00 to 12:00",
    "From 2013 on",
    "From Monday, 6 April 2013",
    "From our meeting on Sat Apr  6 20:13:31 2013",
    "From Sat Apr 6 2013",
    "From the desk of Ann",
    "From: ann",
    "Fromage",
    "From",
    "from ann@example.org Thu Jan  1 00:00:00 2026",
    " From ann@example.org Thu Jan  1 00:00:00 2026",
]


@pytest.mark.parametrize("line", DATED)
@pytest.mark.parametrize("before", ["\n", ""])
def test_a_line_with_the_date_of_a_separator_needs_a_header_below_it(line: str, before: str) -> None:
    assert count(before, line) == 2
    assert count(before, line, "see you there\n\n") == 1
    assert count(before, line, "\n") == 1


def test_below_a_dated_line_after_an_empty_one_the_first_header_may_be_broken() -> None:
    assert count("\n", DATED[0], f"no colon here\n{HEADERS}") == 2
    assert count("", DATED[0], f"no colon here\n{HEADERS}") == 1


@pytest.mark.parametrize("line", UNDATED)
def test_a_bare_separator_needs_an_empty_line_above_and_a_header_below(line: str) -> None:
    assert count("\n", line, "X-Mozilla-Status: 0001\n\n") == 2
    assert count("", line) == 1
    assert count("\n", line, "see you there\n\n") == 1


@pytest.mark.parametrize("line", DOUBTFUL)
def test_a_line_that_could_be_text_needs_two_headers_of_mails_below(line: str) -> None:
    assert count("\n", line) == 2
    assert count("\n", line, "Note: bring keys\n\n") == 1
    assert count("\n", line, "Subject: one alone\n\n") == 1
    assert count("", line) == 1


@pytest.mark.parametrize("line", TEXT)
@pytest.mark.parametrize("after", ["bye\n", "Note: bring keys\n", "\n", ""])
@pytest.mark.parametrize("before", ["\n", ""])
def test_sentences_that_begin_with_from_separate_nothing(line: str, after: str, before: str) -> None:
    assert count(before, line, after) == 1


def test_text_before_the_first_separator_is_empty_lines_and_a_mark() -> None:
    for start in (b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"):
        mails = list(split_mbox(io.BytesIO(start + SEPARATOR + mail() + b"\n" + SEPARATOR + mail())))
        assert len(mails) == 2
        assert all(source.startswith(b"From: ann") for source in mails)


def test_a_mail_without_a_separator_before_it_is_the_first() -> None:
    assert len(list(split_mbox(io.BytesIO(mail() + b"\n" + SEPARATOR + mail())))) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_however_lines_end_the_mails_are_the_same(end: bytes, tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "inbox", mail("one\n\n>From here on"), mail("two"))
    expected = [found.text for found in read_mailbox(path).mails]
    path.write_bytes(path.read_bytes().replace(b"\n", end))
    assert [found.text for found in read_mailbox(path).mails] == expected
    assert expected[0] == "Subject: Lunch\none\n\nFrom here on\n"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["inbox.mbox.gz", "inbox.mbox", "inbox"])
def test_a_packed_mbox_is_unpacked_whatever_its_name(pack: object, name: str, tmp_path: Path) -> None:
    path = write_mbox(tmp_path / name, mail(), mail())
    path.write_bytes(pack(path.read_bytes()))  # type: ignore[operator]
    assert len(read_mailbox(path).mails) == 2


def test_one_mark_of_quoting_is_taken_away_and_what_people_quote_stays(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "inbox", mail(">From here on\n>>From there\n> From cited\n>Fromage"))
    assert read_mailbox(path).mails[0].text == "Subject: Lunch\nFrom here on\n>From there\n> From cited\n>Fromage\n"


def test_separators_are_found_wherever_pieces_of_the_file_end() -> None:
    for size in (CHUNK - LOOK_AHEAD - 40, CHUNK - 40, CHUNK - 3, CHUNK, CHUNK + 1, 3 * CHUNK):
        first = mail("x" * 70 + "\n" + "y" * (size - 200))
        mails = list(
            split_mbox(io.BytesIO(SEPARATOR + first + b"\n" + SEPARATOR + mail() + b"\n" + SEPARATOR + mail()))
        )
        assert [bytes(source) for source in mails] == [first, mail(), mail()]


def test_a_carriage_return_at_the_end_of_a_piece_belongs_to_its_line() -> None:
    for shift in range(4):
        text = (SEPARATOR + mail("z" * (CHUNK - 200 + shift)) + b"\n" + SEPARATOR + mail()).replace(b"\n", b"\r\n")
        mails = list(split_mbox(io.BytesIO(text)))
        assert len(mails) == 2
        assert not any(b"\r" in source for source in mails)
