"""CSV in the forms that collections are published in, and lines of label and text in any encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from core.data.mail import Mail, read_mailbox, rows
from core.errors import DataError
from tests.mails import write_file

EXPECTED = [Mail("Go until, crazy..", False), Mail("Free entry £1000", True)]
SMS = 'v1,v2,,,\r\nham,"Go until, crazy..",,,\r\nspam,Free entry £1000,,,\r\n'


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_sms_collection_as_csv_is_read_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    assert read_mailbox(write_file(tmp_path / "spam.csv", SMS.encode(encoding))).mails == EXPECTED


@pytest.mark.parametrize("name", ["spam.csv.gz", "spam.csv", "messages", "messages.txt"])
def test_a_csv_file_may_be_packed_and_have_any_name(name: str, tmp_path: Path) -> None:
    content = gzip.compress(SMS.encode()) if name.endswith("gz") else SMS.encode()
    assert read_mailbox(write_file(tmp_path / name, content)).mails == EXPECTED


@pytest.mark.parametrize(
    "table",
    [
        'label,text\nham,"Go until, crazy.."\nspam,Free entry £1000\n',
        'Category,Message\nham,"Go until, crazy.."\nspam,Free entry £1000\n',
        'ham,"Go until, crazy.."\nspam,Free entry £1000\n',
        '"Go until, crazy..",ham\nFree entry £1000,spam\n',
        "label;text\nham;Go until, crazy..\nspam;Free entry £1000\n",
        "label\ttext\nham\tGo until, crazy..\nspam\tFree entry £1000\n",
        "label|text\nham|Go until, crazy..\nspam|Free entry £1000\n",
        '0,"Go until, crazy.."\n1,Free entry £1000\n',
        'text,spam\n"Go until, crazy..",0\nFree entry £1000,1\n',
        ',label,text,label_num\n605,ham,"Go until, crazy..",0\n2349,spam,Free entry £1000,1\n',
        'id,is_spam,body\n1,false,"Go until, crazy.."\n2,true,Free entry £1000\n',
        'label,text\r"not spam","Go until, crazy.."\rSPAM,Free entry £1000\r',
        'label,text\n\nham,"Go until, crazy.."\n\nspam,Free entry £1000\n\n',
    ],
)
def test_the_columns_are_found_by_what_is_in_them(table: str, tmp_path: Path) -> None:
    assert read_mailbox(write_file(tmp_path / "mails.csv", table.encode())).mails == EXPECTED


def test_a_subject_and_what_goes_on_in_columns_without_a_name_belong_to_the_text(tmp_path: Path) -> None:
    table = "Message ID,Subject,Message,Spam/Ham,Date\n1,hi,buy now,spam,2001-01-01\n2,lunch,noon?,ham,2001-01-02\n"
    assert read_mailbox(write_file(tmp_path / "enron.csv", table.encode())).mails == [
        Mail("Subject: hi\nbuy now", True),
        Mail("Subject: lunch\nnoon?", False),
    ]
    table = "v1,v2,,,\nham,one,two,,\nspam,three,,,\n"
    assert [found.text for found in read_mailbox(write_file(tmp_path / "sms.csv", table.encode())).mails] == [
        "one two",
        "three",
    ]


def test_a_text_of_several_lines_and_a_label_in_it_are_one_text(tmp_path: Path) -> None:
    table = 'label,text\nham,"one\nspam,two\n""three"""\nspam,four\n'
    assert read_mailbox(write_file(tmp_path / "mails.csv", table.encode())).mails == [
        Mail('one\nspam,two\n"three"', False),
        Mail("four", True),
    ]


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        ('spam,"win\nham,noon?\nham,"two, three"\n', ["win", "noon?", "two, three"]),
        ('spam,"win\nham,noon?\nham,five\n', ["win", "noon?", "five"]),
        ('spam,"win\nat once\nham,"noon, or one?"\n', ["win\nat once", "noon, or one?"]),
        ('ham,noon?\nspam,"win\nat once\n', ["noon?", "win\nat once"]),
        ('ham,"noon?\nspam,"win\n' * 2, ["noon?", "win"] * 2),
    ],
)
def test_a_quote_that_is_never_closed_hides_no_other_row(rows: str, texts: list[str], tmp_path: Path) -> None:
    box = read_mailbox(write_file(tmp_path / "mails.csv", f"label,text\nham,hi\n{rows}".encode()))
    assert [found.text.strip() for found in box.mails] == ["hi", *texts]
    assert box.skipped == 0


def test_in_a_table_of_open_quotes_every_line_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "READ_AGAIN", 20)
    table = "label,text\nham,hi\n" + 'spam,x","b\n' * 10
    assert [found.spam for found in read_mailbox(write_file(tmp_path / "mails.csv", table.encode())).mails] == [
        False,
        *[True] * 10,
    ]


def test_a_text_of_a_million_letters_is_read_whole(tmp_path: Path) -> None:
    table = f"label,text\nham,hi\nspam,{'x' * 1_000_000}\n"
    found = read_mailbox(write_file(tmp_path / "mails.csv", table.encode()))
    assert [len(each.text) for each in found.mails] == [2, 1_000_000]


def test_rows_without_a_label_are_counted_and_named(tmp_path: Path) -> None:
    rows = "".join(f"ham,text {number}\n" for number in range(9))
    box = read_mailbox(write_file(tmp_path / "mails.csv", f"label,text\n{rows}unsure,what\n".encode()))
    assert (len(box.mails), box.skipped) == (9, 1)
    assert "row 11 has 'unsure' where the label ham or spam is due" in box.first_skipped


def test_a_csv_file_without_labels_says_what_to_give(tmp_path: Path) -> None:
    for table in ("a,b\n1,2\n", "1,0\n0,1\n", "one column\n", "name,text\nann,hello\n"):
        with pytest.raises(DataError, match=r"mails\.csv is read as CSV, and no column of it has the labels"):
            read_mailbox(write_file(tmp_path / "mails.csv", table.encode()))


def test_an_own_label_is_spam_in_a_column_and_in_lines(tmp_path: Path) -> None:
    table = write_file(tmp_path / "mails.csv", b"kind,text\nad,buy\nprivate,hello\nad,win\n")
    lines = write_file(tmp_path / "mails.tsv", b"ad\tbuy\nprivate\thello\nad\twin\n")
    for path in (table, lines):
        assert read_mailbox(path, "ad").mails == [Mail("buy", True), Mail("hello", False), Mail("win", True)]
        with pytest.raises(DataError):
            read_mailbox(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lines_of_label_and_text_are_read_by_their_mark(encoding: str, tmp_path: Path) -> None:
    content = "ham\tcafé at 5\nspam\tWIN a prize\n".encode(encoding)
    assert read_mailbox(write_file(tmp_path / "box", content)).mails == [
        Mail("café at 5", False),
        Mail("WIN a prize", True),
    ]
