"""Mailboxes in every format, and what is said when there is none."""

from __future__ import annotations

import gzip
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.data.mail import Mail, mailboxes_in, read_mailbox, require_both_classes, sources, text_of_message, write_tsv
from core.data.mail.html import html_to_text
from core.data.mail.message import Message, text_of
from core.data.text import words
from core.errors import DataError, StorageError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")

HELLO = "From: ann@example.org\nTo: bob@example.org\nSubject: Lunch\n{headers}\nAt noon?\n"


def message(headers: str = "") -> bytes:
    return HELLO.format(headers=headers).encode()


def write_mbox(path: Path, *messages: bytes) -> Path:
    path.write_bytes(b"".join(b"From ann@example.org Thu Jan  1 00:00:00 2026\n" + raw + b"\n" for raw in messages))
    return path


def make_maildir(path: Path, *messages: bytes) -> Path:
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True)
    for number, raw in enumerate(messages):
        folder = "new" if number % 2 else "cur"
        (path / folder / f"{number}.host{':2,S' if folder == 'cur' else ''}").write_bytes(raw)
    return path


def labels(path: Path) -> list[bool]:
    return [mail.spam for mail in read_mailbox(path).mails]


# --- Lines of label, tab, text ---


def test_lines_of_label_and_text_are_read_under_any_name(tmp_path: Path) -> None:
    lines = b"ham\tsee you at 5\nspam\tWIN a prize\n"
    (tmp_path / "box.tsv").write_bytes(lines)
    (tmp_path / "SMSSpamCollection").write_bytes(lines)
    (tmp_path / "box.tsv.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "zipped.tsv").write_bytes(gzip.compress(lines))
    for path in tmp_path.iterdir():
        box = read_mailbox(path)
        assert box.mails == [Mail("see you at 5", False), Mail("WIN a prize", True)]
        assert (box.skipped, box.first_skipped) == (0, "")


def test_only_line_feeds_end_a_line_and_nothing_is_cut_off_the_last(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_bytes("\ufeffham\ta\u2028b\x0cc\td\r\n\nSPAM \tlast".encode())
    assert read_mailbox(tmp_path / "box.tsv").mails == [Mail("a\u2028b\x0cc\td", False), Mail("last", True)]


def test_a_line_without_label_is_counted_skipped_and_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_text("label\ttext\nham\thello\nno label here\nspam without tab\n")
    box = read_mailbox(tmp_path / "box.tsv")
    assert (box.mails, box.skipped) == ([Mail("hello", False)], 3)
    assert box.first_skipped.startswith("line 1 does not open with ham or spam")


def test_lines_of_which_none_has_a_label_are_no_mailbox(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_text("hello\tham\nbye\tspam\n")
    with pytest.raises(DataError, match="the first of 2 skipped: line 1 does not open with ham or spam and a tab"):
        read_mailbox(tmp_path / "box.tsv")


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_bytes(b"ham\tcaf\xe9\n")
    assert read_mailbox(tmp_path / "box.tsv").mails == [Mail("caf\ufffd", False)]


@given(st.lists(st.builds(Mail, st.text(), st.booleans()), min_size=1))
@example([Mail("\x00", False)])  # its NUL bytes are not those of UTF-16
@example([Mail("\x00 \x00 \x00 \x00", False)])
def test_written_mails_read_back_with_the_same_words_and_labels(
    tmp_path_factory: pytest.TempPathFactory, mails: list[Mail]
) -> None:
    path = tmp_path_factory.mktemp("written") / "box.tsv.gz"
    write_tsv(path, mails)
    box = read_mailbox(path)
    assert [(words(mail.text), mail.spam) for mail in box.mails] == [(words(mail.text), mail.spam) for mail in mails]
    assert box.skipped == 0


def test_the_same_mails_give_the_same_bytes_at_any_time(tmp_path: Path) -> None:
    mails = [Mail("a\tb\nc", True), Mail("", False)]
    for name in ("box.tsv.gz", "plain.tsv"):
        write_tsv(tmp_path / name, mails)
    assert (tmp_path / "box.tsv.gz").read_bytes()[4:8] == bytes(4)  # where gzip puts the time
    assert (tmp_path / "plain.tsv").read_text() == "spam\ta b c\nham\t\n"


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_tsv(tmp_path / "nowhere" / "box.tsv", [Mail("a", True)])


# --- mbox and Maildir ---


def test_an_mbox_gives_subject_and_body_of_each_message(tmp_path: Path) -> None:
    box = read_mailbox(write_mbox(tmp_path / "Inbox", message(), message("X-Spam-Flag: YES\n")))
    assert box.mails == [Mail("Subject: Lunch\nAt noon?\n", False), Mail("Subject: Lunch\nAt noon?\n", True)]


@pytest.mark.parametrize(
    ("name", "headers", "spam"),
    [
        ("inbox.mbox", "", False),
        ("inbox.mbox", "X-Spam-Flag: NO\n", False),
        ("inbox.mbox", "X-Spam-Flag: yes\n", True),
        ("inbox.mbox", "X-Spam-Status: Yes, score=7.1 required=5.0\n", True),
        ("inbox.mbox", "X-Spam-Status: No, score=0.1\n", False),
        ("Junk.mbox", "X-Spam-Status: No, score=0.1\n", True),
        ("my-spam.mbox", "", True),
        ("ham.mbox", "X-Spam-Flag: YES\n", False),
        ("Hamburg.mbox", "X-Spam-Flag: YES\n", True),
        ("All mail Including Spam and Trash.mbox", "X-Gmail-Labels: Inbox,Unread\n", False),
        ("All mail Including Spam and Trash.mbox", "X-Gmail-Labels: Spam,Unread\n", True),
        ("All mail.mbox", "X-Gmail-Labels: =?UTF-8?Q?Spam,Ge=C3=B6ffnet?=\n", True),
        ("All mail.mbox", "X-Gmail-Labels: Spam recipes\n", False),
    ],
)
def test_labels_come_from_gmail_then_the_name_then_the_filter(
    tmp_path: Path, name: str, headers: str, spam: bool
) -> None:
    assert labels(write_mbox(tmp_path / name, message(headers))) == [spam]


def test_a_maildir_is_read_with_its_folders_in_a_fixed_order(tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "Maildir", message(), message("X-Spam-Flag: YES\n"), message())
    make_maildir(path / ".Junk", message())
    assert labels(path) == [False, True, False, True]


def test_messages_that_cannot_be_read_are_counted_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_on_lunch(message: Message) -> str:
        if message.subject == "Lunch":
            raise KeyError("a part that is not there")
        return text_of(message)

    monkeypatch.setattr(sources, "text_of", fail_on_lunch)
    good = message().replace(b"Lunch", b"Tea")
    box = read_mailbox(write_mbox(tmp_path / "inbox.mbox", good, message(), good))
    assert (len(box.mails), box.skipped) == (2, 1)
    assert box.first_skipped.startswith("message 2 of inbox: it cannot be read (KeyError: 'a part that is not there')")


# --- Folders of classes ---


def test_a_folder_of_ham_and_spam_holds_text_files_and_messages(tmp_path: Path) -> None:
    for name in ("ham/1.txt", "ham/2.eml", "spam/deeper/3.txt", "spam/.hidden", "other/4.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "ham" / "1.txt").write_text("Subject: farm\nsee: the pictures\n")
    (tmp_path / "ham" / "2.eml").write_bytes(message())
    (tmp_path / "spam" / "deeper" / "3.txt").write_bytes(b"prix: 5 \xa4")
    (tmp_path / "spam" / ".hidden").write_text("not a mail")
    (tmp_path / "other" / "4.txt").write_text("not a mail")
    assert read_mailbox(tmp_path).mails == [
        Mail("Subject: farm\nsee: the pictures\n", False),
        Mail("Subject: Lunch\nAt noon?\n", False),
        Mail("prix: 5 \ufffd", True),
    ]


def test_a_folder_of_mbox_files_or_maildirs_named_by_class(tmp_path: Path) -> None:
    write_mbox(tmp_path / "ham.mbox", message("X-Spam-Flag: YES\n"), message())
    make_maildir(tmp_path / "Junk", message("X-Gmail-Labels: Inbox\n"))
    assert labels(tmp_path) == [True, False, False]


# --- What is no mailbox ---


def test_errors_name_the_path_and_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "blank.tsv").write_text("\n\n")
    (tmp_path / "empty.mbox").write_text("")
    (tmp_path / "empty").write_text("")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 JFIF")
    (tmp_path / "plain.tsv.gz").write_text("ham\thello\n")
    (tmp_path / "plain.gz").write_text("ham\thello\n")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"ham\thello\n" * 99)[:-9])
    (tmp_path / "folder").mkdir()
    expected = {
        "nothing": "there is nothing at",
        "empty.tsv": "is empty",
        "blank.tsv": "is empty",
        "empty.mbox": "is empty",
        "empty": "is empty",
        "photo.jpg": "not a mailbox in a format known here: .*tsv.*mbox.*Maildir.*ham and spam",
        "folder": "not a mailbox in a format known here",
        "plain.tsv.gz": "is named as gzip and is not",
        "plain.gz": "is named as gzip and is not",
        "cut.tsv.gz": "cannot be read",
    }
    for name, sentence in expected.items():
        with pytest.raises(DataError, match=f"{name}.* {sentence}|{sentence} .*{name}"):
            read_mailbox(tmp_path / name)


def test_a_file_that_may_not_be_read_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box.tsv").write_text("ham\thello\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"box\.tsv cannot be read: .*Permission denied"):
        read_mailbox(tmp_path / "box.tsv")


@pytest.mark.parametrize(
    ("mails", "missing"), [([Mail("a", True)], "no ham"), ([Mail("a", False)], "no spam"), ([], "no ham and no spam")]
)
def test_one_class_alone_is_too_little_to_learn_from(mails: list[Mail], missing: str) -> None:
    with pytest.raises(DataError, match=f"box holds {missing}; "):
        require_both_classes(mails, "box")
    require_both_classes([Mail("a", True), Mail("b", False)], "box")


# --- A file of lines for each class ---


def write_classes(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / f"{name}.txt").write_bytes(content)
    return folder


def test_a_folder_of_ham_txt_and_spam_txt_has_a_mail_a_line(tmp_path: Path) -> None:
    box = read_mailbox(write_classes(tmp_path, spam=b"WIN a prize\r\n\nbuy\tnow", ham="\ufeffsee you\n".encode()))
    assert box.mails == [Mail("see you", False), Mail("WIN a prize", True), Mail("buy\tnow", True)]
    assert box.skipped == 0
    assert mailboxes_in(tmp_path) == [tmp_path]


def test_lines_of_a_class_need_not_be_utf8_nor_unpacked(tmp_path: Path) -> None:
    write_classes(tmp_path, junk=gzip.compress(b"caf\xe9\n"), ham=b"From me\n")
    assert read_mailbox(tmp_path).mails == [Mail("From me", False), Mail("caf\ufffd", True)]


def test_a_file_of_lines_for_one_class_lacks_the_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no ham"):
        require_both_classes(read_mailbox(write_classes(tmp_path, spam=b"WIN\n")).mails, tmp_path)


def test_files_of_lines_without_any_mail_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is empty; expected mails in .*ham\.txt and spam\.txt, one mail a line"):
        read_mailbox(write_classes(tmp_path, spam=b"\n", ham=b" \n"))
    with pytest.raises(DataError, match="cannot be read"):
        read_mailbox(write_classes(tmp_path, spam=gzip.compress(b"WIN a prize\n" * 99)[:-9]))


# --- Finding mailboxes ---


def test_every_mailbox_in_a_folder_is_found_in_the_order_of_the_names(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text("ham\thello\n")
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"ham\thello\n"))
    write_mbox(tmp_path / "c.mbox", message())
    make_maildir(tmp_path / "d", message())
    (tmp_path / "e" / "ham").mkdir(parents=True)
    (tmp_path / "f").mkdir()
    for name in ("README.md", ".hidden.tsv", "SMSSpamCollection", "images.gz"):
        (tmp_path / name).write_text("ham\thello\n")
    assert [path.name for path in mailboxes_in(tmp_path)] == ["a.tsv.gz", "b.tsv", "c.mbox", "d", "e"]


def test_the_sms_collection_is_found_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "SMSSpamCollection").write_text("ham\thello\n")
    assert mailboxes_in(tmp_path) == [tmp_path / "SMSSpamCollection"]


def test_a_mailbox_is_the_only_one_in_itself(tmp_path: Path) -> None:
    write_mbox(tmp_path / "ham.mbox", message())
    assert mailboxes_in(tmp_path) == [tmp_path]
    assert mailboxes_in(tmp_path / "ham.mbox") == [tmp_path / "ham.mbox"]


def test_a_folder_without_mailboxes_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no mailbox; .*\.tsv.*Maildir"):
        mailboxes_in(tmp_path)
    with pytest.raises(DataError, match="there is nothing at"):
        mailboxes_in(tmp_path / "nowhere")


@needs_data
def test_the_data_folder_is_four_clients_of_enron() -> None:
    assert [path.name for path in mailboxes_in(DATA)] == [f"enron{number}.tsv.gz" for number in (1, 2, 4, 5)]


@needs_data
def test_the_sms_collection_has_the_published_counts() -> None:
    box = read_mailbox(DATA / "SMSSpamCollection")
    assert (len(box.mails), sum(mail.spam for mail in box.mails), box.skipped) == (4453, 610, 0)


# --- One message ---


def test_plain_text_is_taken_as_it_is() -> None:
    for text in ("Subject: farm\nhello: there", "WIN $1000!", "From: me, I think", "", "Date: 5 May\nhello"):
        assert text_of_message(text) == text_of_message(text.encode()) == text


def test_the_plain_body_is_preferred_and_attachments_do_not_count() -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ann@example.org", "Größe"
    mail.set_content("plain words")
    mail.add_alternative("<p>html words</p>", subtype="html")
    mail.add_attachment("attached words", filename="a.txt")
    assert text_of_message(mail.as_bytes()) == "Subject: Größe\nplain words\n"


def test_html_stands_in_where_there_is_no_plain_body() -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ann@example.org", "Sale"
    mail.set_content("<style>p {}</style><p>50&nbsp;% <b>o</b>ff</p>today", subtype="html")
    assert words(text_of_message(mail.as_bytes())) == words("Subject: Sale 50 % off today")


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("fr<b>e</b>e<!-- no --> pi<i></i>lls", "free pills"),
        ("one<br>two<td>three</td>four", "one two three four"),
        ("<script>var x = '<p>';</script>seen", "seen"),
        ("&pound;5 &lt;now&gt; &#33;", "£5 <now> !"),
        ("<p>never <b>closed", "never closed"),
        ("<![if !mso]>office<![endif]>", "office"),
        ("<![nonsense[ what <b>now", "now"),
    ],
)
def test_only_what_a_reader_would_see_of_html_is_kept(html: str, seen: str) -> None:
    assert html_to_text(html).split() == seen.split()


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("iso-8859-1", b"caf\xe9", "café"),
        ("utf-8", b"caf\xc3\xa9", "café"),
        ("utf-8", b"caf\xe9", "caf\ufffd"),
        ("x-invented", b"caf\xc3\xa9", "café"),
        ("utf-7", b"half a pair: +2AA-", "half a pair: \ufffd"),
    ],
)
def test_wrong_and_unknown_charsets_are_decoded_as_well_as_can_be(charset: str, body: bytes, text: str) -> None:
    headers = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n"
    assert text_of_message(message(headers).replace(b"At noon?", body)) == f"Subject: Lunch\n{text}\n"


def test_bytes_in_a_subject_become_writable_text(tmp_path: Path) -> None:
    text = text_of_message(message().replace(b"Lunch", b"caf\xe9"))
    write_tsv(tmp_path / "box.tsv", [Mail(text, False)])
    assert words(read_mailbox(tmp_path / "box.tsv").mails[0].text) == words(text)


@given(st.binary())
def test_no_bytes_whatever_break_the_reading_of_a_message(noise: bytes) -> None:
    text_of_message(noise)
    text_of_message(b"From: a\nTo: b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n" + noise).encode()
    text_of_message(message("Content-Type: text/html\nContent-Transfer-Encoding: base64\n") + noise).encode()
