"""Folders of mail: Maildirs, mail programs' own, collections, single mails, and other files among them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from core.data.mail import Mail, mailboxes_in, open_mailbox, read_mailbox
from core.errors import DataError
from tests.mails import mail, make_maildir, write_file, write_mbox


def verdicts(path: Path, own: str | None = None) -> list[bool]:
    return [found.spam for found in read_mailbox(path, own).mails]


def counts(path: Path) -> tuple[int, int, int, int]:
    """Return how many mails, skipped, deleted and passed over there are."""
    opened = open_mailbox(path)
    return sum(1 for _ in opened), opened.skipped, opened.deleted, opened.passed_over


# --- Maildirs ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dovecot-uidlist", b"3 V1417 N5 G1234\n1 :1:2,S\n"),
        ("dovecot.index.cache", b"\x01\x02\0\0"),
        ("dovecot-keywords", b"0 $Junk\n"),
        ("maildirsize", b"10S\n1 2\n"),
        ("courierimapuiddb", b"1 2 3\n"),
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("desktop.ini", b"[.ShellClassInfo]\r\nIconFile=C:\\x\r\n"),
        ("index", b"12 34\n"),
        ("1:2,S~", b"From: a@b\n\nx\n"),
        ("notes.txt", b"just a note\n"),
        ("empty", b""),
        ("photo.jpg", b"\xff\xd8\xff\xe0\0"),
    ],
)
@pytest.mark.parametrize("place", ["cur", "new"])
def test_a_file_in_a_maildir_that_is_no_mail_is_passed_over(
    place: str, name: str, content: bytes, tmp_path: Path
) -> None:
    path = make_maildir(tmp_path / "box", **{"cur_1:2,S": mail()})
    write_file(path / place / name, content)
    assert counts(path) == (1, 0, 0, 1)


def test_a_maildir_lacks_folders_after_a_copy_and_is_one_all_the_same(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "cur" / "1:2,S", mail())
    assert counts(tmp_path / "a") == (1, 0, 0, 0)
    assert counts(tmp_path) == (1, 0, 0, 0)


def test_what_is_being_delivered_is_not_read(tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "box", **{"cur_1:2,S": mail(), "tmp_2": mail()})
    (path / "cur" / "folder").mkdir()
    assert counts(path) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    "name",
    [".Spam", ".Junk", ".INBOX.Spam", ".Archive.Spam.2013", ".&BCEEPwQwBDw-", ".Skr&AOQ-ppost", "Spam", "old/Spam"],
)
def test_folders_in_a_maildir_are_read_and_named_spam_in_any_encoding(name: str, tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "Maildir", **{"cur_1:2,S": mail()})
    make_maildir(path / name, **{"cur_2:2,S": mail()})
    assert verdicts(path) == [False, True]


def test_the_trash_of_a_maildir_counts_as_deleted(tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "Maildir", **{"cur_1:2,S": mail()})
    make_maildir(path / ".Trash", **{"cur_2:2,S": mail()})
    assert counts(path) == (1, 0, 1, 0)
    assert counts(path / ".Trash") == (1, 0, 0, 0)


def test_small_letters_among_the_flags_are_keywords_of_dovecot(tmp_path: Path) -> None:
    path = make_maildir(
        tmp_path / "box", **{"cur_1:2,Sa": mail(), "cur_2:2,b": mail(headers="X-Spam-Flag: YES\n"), "cur_3:2,S": mail()}
    )
    write_file(path / "dovecot-keywords", b"0 $Junk\n1 NonJunk\n")
    assert verdicts(path) == [True, False, False]


def test_mails_of_a_maildir_may_be_packed(tmp_path: Path) -> None:
    path = make_maildir(
        tmp_path / "box", **{"cur_1:2,S": gzip.compress(mail()), "cur_2:2,S": gzip.compress(mail() * 50)[:-9]}
    )
    assert counts(path) == (1, 1, 0, 0)


# --- Mail programs ---


def apple(folder: Path) -> Path:
    for name in ("Inbox.mbox", "Junk.mbox"):
        write_mbox(folder / name / "mbox", mail(), mail())
        write_file(folder / name / "table_of_contents", b"\0\0\0\1")
    return folder


def test_a_package_of_apple_mail_is_a_mailbox_named_by_its_folder(tmp_path: Path) -> None:
    apple(tmp_path)
    assert verdicts(tmp_path / "Junk.mbox") == [True, True]
    assert verdicts(tmp_path / "Junk.mbox" / "mbox") == [True, True]
    assert verdicts(tmp_path / "Inbox.mbox") == [False, False]
    assert verdicts(tmp_path) == [False, False, True, True]
    assert [path.name for path in mailboxes_in(tmp_path)] == ["Inbox.mbox", "Junk.mbox"]


def emlx(flags: int, raw: bytes) -> bytes:
    properties = f"<?xml version='1.0'?><plist><dict><key>flags</key>\n\t<integer>{flags}</integer></dict></plist>"
    return f"{len(raw)}  \n".encode() + raw + properties.encode()


def test_mails_of_apple_mail_have_flags_for_junk_and_deleted(tmp_path: Path) -> None:
    messages = tmp_path / "INBOX.mbox" / "1B2C" / "Data" / "Messages"
    for number, flags in enumerate((0x1, 0x1 | 1 << 24, 0x1 | 1 << 25, 0x3)):
        write_file(messages / f"{number}.emlx", emlx(flags, mail()))
    write_file(tmp_path / "INBOX.mbox" / "1B2C" / "Data" / "Attachments" / "1" / "a.pdf", b"%PDF\0")
    box = read_mailbox(tmp_path / "INBOX.mbox")
    assert [found.spam for found in box.mails] == [False, True, False]
    assert all(found.text == "Subject: Lunch\nAt noon?\n" for found in box.mails)
    assert box.deleted == 1
    assert read_mailbox(messages / "0.emlx").mails[0].text == "Subject: Lunch\nAt noon?\n"


def thunderbird(folder: Path) -> Path:
    for name in ("Inbox", "Junk", "Trash", "Archives.sbd/2013", "Inbox.sbd/Spam"):
        write_mbox(folder / name, mail(), separator=b"From \n")
        write_file(folder / f"{name}.msf", b'// <!-- <mdb:mork:z v="1.4"/> -->\n< <(a=c)> // (f=iso-8859-1)\n')
    write_file(folder / "Sent", b"")
    write_file(folder / "msgFilterRules.dat", b'version="9"\nlogging="no"\nname="From: x"\n')
    write_file(folder / "popstate.dat", b"# POP3 State File\n")
    return folder


def test_a_folder_of_thunderbird_is_one_mailbox_with_junk_and_trash(tmp_path: Path) -> None:
    folder = thunderbird(tmp_path / "Mail" / "Local Folders")
    opened = open_mailbox(folder)
    assert [found.spam for found in opened] == [False, False, True, True]
    assert opened.deleted == 1
    assert mailboxes_in(folder) == [folder]
    assert verdicts(folder / "Junk") == [True]
    assert verdicts(tmp_path) == [False, False, True, True]
    assert mailboxes_in(tmp_path / "Mail") == [folder]


def test_the_notes_of_a_mail_program_in_an_mbox_are_no_mail(tmp_path: Path) -> None:
    notes = mail(
        "This text is part of the internal format", "X-IMAP: 1 2\n", "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA"
    )
    assert counts(write_mbox(tmp_path / "inbox", notes, mail())) == (1, 0, 0, 1)


# --- Collections ---


def test_the_layout_of_spamassassins_collection(tmp_path: Path) -> None:
    digest = "7c53336b37003a9286aba55d2945844c"
    sources = b"From ann@example.org Thu Aug 22 12:36:23 2002\n" + mail(
        "one\n\nFrom x Thu Aug 22 12:36:23 2002\nSubject: quoted\n\ntwo"
    )
    for number, name in enumerate(("easy_ham", "easy_ham_2", "hard_ham", "spam", "spam_2")):
        write_file(tmp_path / name / f"0000{number}.{digest}", sources)
        write_file(tmp_path / name / "cmds", b"mv 1 00001.7c53336b37003a9286aba55d2945844c\n")
    assert counts(tmp_path) == (5, 0, 0, 5)
    assert verdicts(tmp_path) == [False, False, False, True, True]
    assert mailboxes_in(tmp_path) == [tmp_path]


def test_headers_of_a_collection_are_no_words_even_if_some_are_broken(tmp_path: Path) -> None:
    raw = b"From: a@b.example\nTo: x\nX-Spam-Flag: YES\nbroken header line\nSubject: hi\n\nbuy\n"
    write_file(tmp_path / "cf" / "spam" / "1", raw)
    write_file(tmp_path / "cf" / "ham" / "1", mail())
    write_mbox(tmp_path / "same.mbox", raw)
    from_folder, from_mbox = read_mailbox(tmp_path / "cf").mails[1], read_mailbox(tmp_path / "same.mbox").mails[0]
    assert from_folder == from_mbox == Mail("Subject: hi\nbuy\n", True)


def test_not_spam_next_to_spam_is_the_other_class(tmp_path: Path) -> None:
    for name in ("not-spam", "spam"):
        write_file(tmp_path / name / "1.txt", b"hello\n")
    assert verdicts(tmp_path) == [False, True]


def test_a_collection_named_spam_has_its_own_parts(tmp_path: Path) -> None:
    for name in ("ham", "spam"):
        write_file(tmp_path / "spam-corpus" / name / "1.txt", b"hello\n")
    assert verdicts(tmp_path) == verdicts(tmp_path / "spam-corpus") == [False, True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.txt", b"about\n"),
        ("Thumbs.db", b"\0"),
        ("desktop.ini", b"[x]\n"),
        ("._1.txt", b"\0\5"),
        ("1.txt~", b"old"),
        ("photo.dat", b"\0\1"),
        ("binary", b"a\0b\0"),
        ("empty.txt", b""),
    ],
)
def test_other_files_among_the_texts_of_a_collection_are_passed_over(name: str, content: bytes, tmp_path: Path) -> None:
    write_file(tmp_path / "ham" / "1.txt", b"hello\n")
    write_file(tmp_path / "spam" / "1.txt", b"win\n")
    write_file(tmp_path / "spam" / name, content)
    assert counts(tmp_path) == (2, 0, 0, 1)


def test_an_own_name_of_a_folder_is_spam(tmp_path: Path) -> None:
    write_file(tmp_path / "Reklame" / "1.eml", mail())
    write_file(tmp_path / "Other" / "1.eml", mail())
    assert verdicts(tmp_path) == [False, False]
    assert verdicts(tmp_path, "Reklame") == [False, True]


# --- Single mails, and what is none ---


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_single_mail_and_a_folder_of_them_are_mailboxes(pack: object, tmp_path: Path) -> None:
    for number, headers in enumerate(("", "X-Spam-Flag: YES\n")):
        write_file(tmp_path / f"{number}.eml", pack(mail(headers=headers)))  # type: ignore[operator]
    write_file(tmp_path / "notes.md", b"not a mail\n")
    assert verdicts(tmp_path / "1.eml") == [True]
    assert verdicts(tmp_path) == [False, True]
    assert counts(tmp_path) == (2, 0, 0, 1)
    assert mailboxes_in(tmp_path) == [tmp_path]


def test_a_single_mail_of_one_header_or_with_a_separator_is_one_mail(tmp_path: Path) -> None:
    assert counts(write_file(tmp_path / "1.eml", b"Subject: hi\n\nbuy\n")) == (1, 0, 0, 0)
    raw = b"From x Thu Jan  1 00:00:00 2026\n" + mail("a\n\nFrom x Thu Jan  1 00:00:00 2026\nSubject: b\n\nc")
    assert counts(write_file(tmp_path / "2.eml", raw)) == (1, 0, 0, 0)


def test_a_bad_mail_in_a_folder_is_counted_and_named(tmp_path: Path) -> None:
    write_file(tmp_path / "1.eml", mail())
    write_file(tmp_path / "2.eml.gz", gzip.compress(mail() * 50)[:-9])
    box = read_mailbox(tmp_path)
    assert (len(box.mails), box.skipped) == (1, 1)
    assert "2.eml.gz: it cannot be read" in box.first_skipped


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    write_file(tmp_path / "box" / "1.eml", mail())
    (tmp_path / "box" / "back").symlink_to(tmp_path / "box")
    assert counts(tmp_path / "box") == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("name", "start", "advice"),
    [
        ("box.pst", b"!BDN" + bytes(600), "Outlook.*mbox"),
        ("one.msg", b"\xd0\xcf\x11\xe0" + bytes(600), "save the mail as .eml"),
        ("takeout.zip", b"PK\x03\x04" + bytes(600), "unpack it"),
        ("mail.tar", bytes(257) + b"ustar" + bytes(300), "unpack it"),
        ("mail.tgz", gzip.compress(bytes(257) + b"ustar" + bytes(300), mtime=0), "unpack it"),
        ("Inbox.dbx", b"\xcf\xad\x12\xfe" + bytes(600), "Outlook Express"),
        ("inbox", b"\x01\x01\x01\x01\nFrom: x\n", "MMDF"),
        ("places.sqlite", b"SQLite format 3\0", "database"),
        ("photo.jpg", b"\xff\xd8\xff", "not a mailbox in a format known here"),
        ("note.txt", b"From Monday on the office is closed\n\nbye\n", "not a mailbox in a format known here"),
    ],
)
def test_what_is_no_mailbox_is_answered_with_what_to_do(name: str, start: bytes, advice: str, tmp_path: Path) -> None:
    path = write_file(tmp_path / name, start)
    with pytest.raises(DataError, match=f"{name} is .*{advice}"):
        read_mailbox(path)


def test_a_pipe_is_answered_in_a_sentence(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe is neither a file nor a folder"):
        read_mailbox(tmp_path / "pipe")
