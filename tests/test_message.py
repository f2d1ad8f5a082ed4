"""The text of one mail: whatever its reader sees, and no header but the subject."""

from __future__ import annotations

import base64
import quopri

import pytest

from core.data.mail import text_of_message
from core.data.text import words
from tests.mails import HTML, PLAIN, mail, multipart


def body_words(raw: bytes) -> list[str]:
    """Return the words of a mail but those of its subject, which is "Lunch"."""
    found = words(text_of_message(raw))
    assert found[:3] == ["subject", ":", "lunch"]
    return found[3:]


# --- Headers ---

BROKEN = "no colon here at all"


@pytest.mark.parametrize(
    "head",
    [
        f"{BROKEN}\nFrom: a@b.example\nTo: x\nX-Spam-Flag: YES\nSubject: hi",
        f"From: a@b.example\nTo: x\n{BROKEN}\nX-Spam-Flag: YES\nSubject: hi",
        f"From: a@b.example\nTo: x\n{BROKEN}\n{BROKEN}\nX-Spam-Flag: YES\nSubject: hi",
        f"From: a@b.example\nTo: x\nSubject: hi\nX-Spam-Flag: YES\n{BROKEN}",
        f"From: a@b.example\nTo: x\nX-Spam-Flag: YES\n{BROKEN}\n folded\nSubject: hi",
        "From: a@b.example\nTo: x\nX-Spam-Flag: YES\n: no name\nSubject: hi",
        "From: a@b.example\nTo: x\nX-Spam-Flag : YES\nSubject : hi",
        "From: a@b.example\nX-Spam-Flag:\n YES\nSubject:\n hi",
        "Received: from x\n by y\n \nX-Spam-Flag: YES\nSubject: hi",
        "X-Spam-Flag: YES\nSubject: hi\nSubject: other",
        "SUBJECT: hi\nx-spam-flag: YES",
        "Subject: hi\nCc: x@y.example,\nMessage-ID: <[b378...@h]>\nContent-Type: text/plain; name*",
        "Subject: hi\nX-Spam-Flag: YES\nContent-Type: ;;;===",
        'Subject: hi\nX-Spam-Flag: YES\nContent-Type: text/plain; charset="unclosed',
        "Subject: hi\nX-Spam-Flag: YES\nContent-Transfer-Encoding: 8-bit",
    ],
)
def test_no_header_is_a_word_of_the_text_but_the_subject(head: str) -> None:
    for end in ("\n", "\r\n"):
        raw = f"{head}\n\nbuy\n".replace("\n", end).encode()
        assert words(text_of_message(raw)) == ["subject", ":", "hi", "buy"]


def test_text_right_below_the_headers_without_an_empty_line_is_the_body() -> None:
    assert words(text_of_message(b"From: a@b.example\nSubject: hi\nbuy this\nand that\n")) == words(
        "Subject: hi buy this and that"
    )
    assert words(text_of_message(b"From: a@b.example\nSubject: hi\nbuy\n")) == words("Subject: hi buy")
    two = b"From: a@b.example\nSubject: hi\nDear all,\nhow are you\n\nAnn\n"
    assert words(text_of_message(two)) == words("Subject: hi Dear all, how are you Ann")


@pytest.mark.parametrize(
    ("subject", "seen"),
    [
        ("=?UTF-8?Q?Gr=C3=B6=C3=9Fe?=", "Größe"),
        ("=?utf-8?b?R3LDtsOfZQ==?=", "Größe"),
        ("=?utf-8?b?R3LDtsOfZQ?=", "Größe"),
        ("=?iso-8859-1?q?caf=E9?= now", "café now"),
        ("=?utf-8?q?Gr=C3?= =?utf-8?q?=B6sse?=", "Grösse"),
        ("=?utf-8?q?one?=\n =?utf-8?q?_two?=", "one two"),
        ("=?utf-8*en?q?one?=", "one"),
        ("=?x-invented?q?caf=C3=A9?=", "café"),
        ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
        ("a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d"),
        ("=?utf-8?q?with space?=", "with space"),
    ],
)
def test_subjects_are_decoded_however_they_are_encoded(subject: str, seen: str) -> None:
    text = text_of_message(mail(subject=subject))
    assert text == f"Subject: {seen}\nAt noon?\n"


def test_raw_bytes_in_a_subject_are_utf8_or_else_windows_1252() -> None:
    for raw in ("café".encode(), b"caf\xe9"):
        assert text_of_message(mail().replace(b"Lunch", raw)) == "Subject: café\nAt noon?\n"


@pytest.mark.parametrize(
    "start", [b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b"From x Thu Jan  1 00:00:00 2026\n", b">From x\n"]
)
def test_what_stands_before_the_headers_does_not_hide_them(start: bytes) -> None:
    assert text_of_message(start + mail()) == "Subject: Lunch\nAt noon?\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_mail_saved_as_utf16_or_utf32_is_read_by_its_mark(encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    assert text_of_message((mark + mail().decode()).encode(encoding)) == "Subject: Lunch\nAt noon?\n"


@pytest.mark.parametrize(
    "text",
    [
        "Subject: farm\nhello: there",
        "From: me, I think\nhello",
        "Date: 5 May\nhello",
        "To: all\n\nhello",
        "http://x: y",
        "From Monday on\nhello",
    ],
)
def test_text_that_only_looks_a_little_like_headers_is_text(text: str) -> None:
    assert text_of_message(text) == text


def test_one_header_that_people_never_type_is_enough() -> None:
    for header in ("X-Spam-Flag: YES", "Received: from x", "From: ann@example.org"):
        assert words(text_of_message(f"{header}\n\nbuy")) == ["subject", ":", "buy"]


# --- Transfer encodings and character sets ---

TEXT = "Größe und mehr"


def encoded(transfer: str, content: bytes, charset: str = "utf-8") -> bytes:
    head = mail("", f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {transfer}\n").rstrip(
        b"\n"
    )
    return head + b"\n\n" + content


@pytest.mark.parametrize("transfer", ["base64", "BASE64", " base64 ", "base-64", "base64;", '"base64"', "B"])
@pytest.mark.parametrize(
    "cut",
    [
        lambda b: b,
        lambda b: b.rstrip(b"="),
        lambda b: b[:6] + b"\n" + b[6:],
        lambda b: b[:8] + b" " + b[8:],
        lambda b: b[:8] + b"!" + b[8:],
    ],
)
def test_base64_is_decoded_however_it_is_named_and_broken(transfer: str, cut: object) -> None:
    assert body_words(encoded(transfer, cut(base64.b64encode(TEXT.encode())))) == words(TEXT)  # type: ignore[operator]


@pytest.mark.parametrize("transfer", ["quoted-printable", "Quoted-Printable;", "quotedprintable", "quoted_printable"])
def test_quoted_printable_is_decoded_however_it_is_named(transfer: str) -> None:
    assert body_words(encoded(transfer, quopri.encodestring(TEXT.encode()))) == words(TEXT)


@pytest.mark.parametrize("transfer", ["base64", "7bit", "8-bit", "none", "utf-8", "x-uuencode", ""])
def test_plain_text_that_is_declared_as_encoded_stays_as_it_is(transfer: str) -> None:
    assert body_words(encoded(transfer, b"plain words here, and more of them")) == words(
        "plain words here, and more of them"
    )
    assert body_words(encoded(transfer, b"plain words here")) == words("plain words here")


def test_lines_that_a_list_adds_below_base64_are_read_too() -> None:
    content = base64.encodebytes(b"hello world") + b"-- \nThe list of example.org, see below\n"
    assert body_words(encoded("base64", content)) == words("hello world -- The list of example.org, see below")


def test_base64_of_several_pieces_is_decoded_to_its_end() -> None:
    assert body_words(encoded("base64", base64.b64encode(b"hello ") + base64.b64encode(b"world"))) == ["hello", "world"]


@pytest.mark.parametrize(
    ("charset", "content", "seen"),
    [
        ("iso-8859-1", b"caf\xe9 \x80 5", "café € 5"),
        ("us-ascii", b"caf\xe9", "café"),
        ("us-ascii", "café".encode(), "café"),
        ("unknown-8bit", "café".encode(), "café"),
        ("x-invented", b"caf\xe9", "café"),
        ("'utf-8'", "café".encode(), "café"),
        ("utf8", "café".encode(), "café"),
        ("utf-16", b"plain", "plain"),
        ("utf-16", "café".encode("utf-16"), "café"),
        ("gb2312", "\u6f22".encode("gb18030"), "\u6f22"),
        ("ks_c_5601-1987", "\ud55c".encode("cp949"), "\ud55c"),
        ("koi8-r", "привет".encode("koi8-r"), "привет"),
        ("iso-2022-jp", "迷惑".encode("iso-2022-jp"), "迷惑"),
        ("punycode", b"plain", "plain"),
        ("rot13", b"plain", "plain"),
        ("unicode_escape", rb"a\x41", r"a\x41"),
        ("utf-8", b"\xef\xbb\xbfplain", "plain"),
    ],
)
def test_character_sets_declared_rightly_wrongly_or_not_at_all(charset: str, content: bytes, seen: str) -> None:
    assert body_words(encoded("8bit", content, charset)) == words(seen)


# --- Parts ---


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/alternative; boundary=x",
        "multipart/alternative",
        "multipart/mixed; boundary=",
        'multipart/mixed; boundary="x',
        "multipart/report; report-type=y",
        "multipart",
    ],
)
def test_a_multipart_without_parts_is_text(content_type: str) -> None:
    assert body_words(mail("plain words here", f"MIME-Version: 1.0\nContent-Type: {content_type}\n")) == [
        "plain",
        "words",
        "here",
    ]


def test_a_multipart_without_parts_is_decoded_as_it_says() -> None:
    raw = mail("cGxhaW4gd29yZHM=", "Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64\n")
    assert body_words(raw) == ["plain", "words"]
    assert body_words(mail("<html><p>casino", "Content-Type: multipart/mixed; boundary=x\n")) == ["casino"]


@pytest.mark.parametrize("declared", ["boundary=other", "", "boundary=X"])
def test_parts_are_found_where_the_boundary_declared_is_not_theirs(declared: str) -> None:
    raw = multipart("alternative", PLAIN + "plain words", HTML + "<p>plain <b>words</b></p>").replace(
        b'boundary="x"', declared.encode()
    )
    found = body_words(raw)
    assert found[:2] == ["plain", "words"]
    assert not {"content", "html", "x", "<"} & set(found)


def test_parts_without_headers_are_found_by_the_line_that_closes_them() -> None:
    assert body_words(mail("--y\n\nplain words\n--y--", "Content-Type: multipart/mixed; boundary=x\n")) == [
        "plain",
        "words",
    ]


@pytest.mark.parametrize(
    "body",
    [
        "--x\nplain words",
        "--x\nplain words\n--x--",
        "--x\n\nplain words",
        "--x--\nplain words",
        "plain words\n--x--",
        "plain words\n--x\n\n--x--",
    ],
)
def test_text_is_found_between_before_and_without_boundaries(body: str) -> None:
    found = body_words(mail(body, "Content-Type: multipart/mixed; boundary=x\n"))
    assert [word for word in found if word.isalpha() and word != "x"] == ["plain", "words"]


def test_every_inline_text_counts_in_its_order_and_attachments_do_not() -> None:
    attached = 'Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename="a.txt"\n\nattached'
    raw = multipart("mixed", PLAIN + "one", HTML + "<p>two</p>", attached, PLAIN + "three")
    assert body_words(raw) == ["one", "two", "three"]


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
def test_an_attachment_that_is_the_only_text_is_read(kind: str) -> None:
    disposition = "Content-Disposition: attachment\n"
    assert body_words(mail("free casino", f"Content-Type: {kind}\n{disposition}")) == ["free", "casino"]
    picture = "Content-Type: image/png\n\nxxxx"
    assert body_words(multipart("mixed", picture, f"Content-Type: {kind}\n{disposition}\nfree casino")) == [
        "free",
        "casino",
    ]
    assert body_words(multipart("mixed", PLAIN + "\u200b \n", f"Content-Type: {kind}\n{disposition}\nfree casino")) == [
        "free",
        "casino",
    ]


@pytest.mark.parametrize(
    "plain",
    [
        "",
        " \n",
        "\u200b",
        "\u00a0",
        "Your client cannot show HTML",
        "Dieses Programm kann kein HTML anzeigen",
        "See http://example.org/?id=1",
        "-",
    ],
)
@pytest.mark.parametrize("kind", ["alternative", "mixed", "related"])
def test_the_html_counts_where_the_plain_part_says_nothing_of_it(plain: str, kind: str) -> None:
    assert {"free", "casino", "money"} <= set(
        body_words(multipart(kind, PLAIN + plain, HTML + "<p>free casino money</p>"))
    )


def test_a_plain_part_that_says_what_the_html_says_is_enough() -> None:
    assert body_words(multipart("alternative", PLAIN + "plain words", HTML + "<p>plain <i>words</i></p>")) == [
        "plain",
        "words",
    ]


def test_html_in_related_parts_and_alternatives_within_mixed_are_read_once() -> None:
    inner = (
        'Content-Type: multipart/related; boundary="z"\n\n--z\n'
        + HTML
        + "<p>plain words\n--z\nContent-Type: image/png\n\nabc\n--z--"
    )
    both = f'Content-Type: multipart/alternative; boundary="y"\n\n--y\n{PLAIN}plain words\n--y\n{inner}\n--y--'
    assert body_words(multipart("mixed", both, PLAIN + "footer")) == ["plain", "words", "footer"]


def test_parts_that_declare_the_boundary_around_them_are_parts_of_the_inner() -> None:
    inner = f"Content-Type: multipart/alternative; boundary=x\n\n--x\n{PLAIN}one\n--x\n{HTML}<p>one\n--x--"
    assert body_words(multipart("mixed", inner, PLAIN + "two")) == ["one", "two"]


def test_one_form_of_a_text_counts_even_if_it_is_marked_as_an_attachment() -> None:
    page = "Content-Type: text/html\nContent-Disposition: attachment\n\n<p>free casino money"
    assert {"casino", "money"} <= set(body_words(multipart("alternative", PLAIN + "cannot show HTML", page)))


def test_a_forwarded_mail_is_read_with_its_subject_and_without_its_headers() -> None:
    inner = mail("inner words", "X-Spam-Flag: YES\n", subject="Inside").decode()
    for head in ("", "Content-Disposition: attachment; filename=a.eml\n", "Content-Disposition: inline\n"):
        raw = multipart("mixed", PLAIN + "see below", f"Content-Type: message/rfc822\n{head}\n{inner}")
        assert body_words(raw) == words("see below Subject: Inside inner words")


def test_a_forwarded_mail_in_base64_is_decoded() -> None:
    inner = base64.encodebytes(mail("inner words", subject="Inside")).decode()
    raw = multipart(
        "mixed", PLAIN + "see below", f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{inner}"
    )
    assert body_words(raw) == words("see below Subject: Inside inner words")


def test_forwarded_multiparts_and_digests_are_read_to_the_last_part() -> None:
    inner = multipart("alternative", PLAIN + "inner", HTML + "<p>inner</p>", boundary="i").decode()
    raw = multipart("digest", f"Content-Type: message/rfc822\n\n{inner}", PLAIN + "last")
    assert body_words(raw) == words("Subject: Lunch inner last")


def test_parts_as_deep_as_they_come_are_read() -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(2000))
    assert body_words(mail("", f"MIME-Version: 1.0\n{deep}{PLAIN}bottom")) == ["bottom"]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: text/calendar\n\n",
        "Content-Type: text/rfc822-headers\n\n",
        "Content-Type: application/pdf\n\n",
        "Content-Type: message/delivery-status\n\n",
    ],
)
def test_what_is_no_text_for_people_is_left_out(head: str) -> None:
    assert body_words(multipart("mixed", PLAIN + "hello", head + "BEGIN:VCALENDAR")) == ["hello"]


def test_an_undeclared_page_is_html_too() -> None:
    assert body_words(mail("<!DOCTYPE html><html><p>free <b>casino</b>")) == ["free", "casino"]


def test_the_character_set_that_a_page_names_itself_counts() -> None:
    page = '<html><meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>привет'
    raw = mail("", "Content-Type: text/html\n") + page.encode("cp1251")
    assert body_words(raw) == ["привет"]
