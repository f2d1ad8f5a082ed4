"""Reading takes time in step with the length of a mail, and memory of about its size, whatever is broken in it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.mail import open_mailbox, text_of_message
from core.data.text import distinct_words
from tests.mails import SEPARATOR, mail

pytestmark = pytest.mark.slow

SMALL, LARGE = 1 << 16, 1 << 18
HEAD = b"From: a@b.example\nTo: d@e.example\nSubject: s\nMIME-Version: 1.0\n"
PAGE = HEAD + b"Content-Type: text/html\n\n"
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n"
UTF8 = HEAD + b"Content-Type: text/plain; charset=utf-8\n\n"


def repeated(start: bytes, unit: bytes) -> Callable[[int], bytes]:
    return lambda size: start + (unit * (size // len(unit) + 1))[:size]


def nested(size: int) -> bytes:
    levels = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (number, number) for number in range(size // 60)
    )
    return HEAD + b"".join(levels) + b"Content-Type: text/plain\n\nhello\n"


def nested_without_boundaries(size: int) -> bytes:
    levels = (b"--y%d\nContent-Type: multipart/mixed; boundary=z\n\n" % number for number in range(size // 50))
    return MIXED + b"".join(levels)


WORST = {
    "unclosed tags": repeated(PAGE, b"<a foo='"),
    "angle brackets": repeated(PAGE, b"<"),
    "comments": repeated(PAGE, b"<!--"),
    "declarations": repeated(PAGE, b"<![CDATA["),
    "entities": repeated(PAGE, b"&amp"),
    "numbers": repeated(PAGE, b"&#99999999999999999999"),
    "one number": repeated(PAGE + b"&#", b"9"),
    "deep tags": repeated(PAGE, b"<div>"),
    "quotes": repeated(PAGE, b"<a b=>'\""),
    "scripts": repeated(PAGE, b"<script></scrip"),
    "marks": repeated(UTF8, "\u0301\u0327".encode()),
    "long letters": repeated(UTF8, "\ufdfa".encode()),
    "long letters in two bytes": repeated(UTF8.replace(b"utf-8", b"utf-16-le"), "\ufdfa".encode("utf-16-le")),
    "nothing but errors": repeated(UTF8.replace(b"utf-8", b"utf-7"), b"\xff"),
    "marks by number": repeated(PAGE, b"&#769;&#807;"),
    "encoded words": repeated(b"From: a@b\nSubject: ", b"=?utf-8?q?a?=\n "),
    "addresses": repeated(b"Subject: x\nTo: ", b'"a" <a@b.c>,\n '),
    "headers": repeated(HEAD, b"X-A: b\n"),
    "broken headers": repeated(HEAD, b"no colon\n"),
    "folded lines": repeated(HEAD, b" \n"),
    "parameters": repeated(HEAD + b"Content-Type: text/plain", b'; a="\\'),
    "parts": repeated(MIXED, b"--x\n\na\n"),
    "pages": repeated(MIXED, b"--x\nContent-Type: text/html\n\n<a\n"),
    "same boundary": repeated(MIXED, b"--x\nContent-Type: multipart/mixed; boundary=x\n\n"),
    "forwarded": repeated(MIXED + b"--x\n", b"Content-Type: message/rfc822\n\n"),
    "deep parts": nested,
    "deep parts without boundaries": nested_without_boundaries,
    "base64": repeated(HEAD + b"Content-Transfer-Encoding: base64\n\n", b"a="),
    "punycode": repeated(HEAD + b"Content-Type: text/plain; charset=punycode\n\n-", b"a"),
    "separators": repeated(b"", b"From x\n"),
}


def seconds(work: Callable[[], object]) -> float:
    """The least processor time of three tries: a busy machine makes each of them longer by chance."""
    times = []
    for _ in range(3):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def seconds_of_reading(path: Path) -> float:
    return seconds(lambda: list(open_mailbox(path)))


@pytest.mark.parametrize("name", WORST)
def test_four_times_the_length_takes_about_four_times_as_long(name: str) -> None:
    """Quadratic time would be sixteen times; the clock of a busy machine is allowed a factor of two."""
    sources = (WORST[name](size) for size in (SMALL, LARGE))
    small, large = (seconds(lambda source=each: distinct_words(text_of_message(source))) for each in sources)
    assert large < max(8 * small, 0.05)
    assert large < 1.0


def test_an_mbox_of_lines_that_may_be_separators_is_split_in_step_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / "box.mbox"
    times = []
    for size in (LARGE, 4 * LARGE):
        path.write_bytes(SEPARATOR + mail() + repeated(b"", b"\n\nFrom x 10:00\nA: b\n")(size))
        assert len(list(open_mailbox(path))) == 1
        times.append(seconds_of_reading(path))
    assert times[1] < max(8 * times[0], 0.1)


@pytest.mark.parametrize("unit", [b'ham;"a\n', b'ham;x";"b\n', b'ham;"b\n\n', b'ham;"a"b"c\n', b'"'])
def test_a_table_of_open_quotes_is_read_in_step_with_its_length(unit: bytes, tmp_path: Path) -> None:
    path, times = tmp_path / "table.csv", []
    for size in (LARGE, 4 * LARGE):
        path.write_bytes(repeated(b"label;text\nham;hello there\n", unit)(size))
        assert len(list(open_mailbox(path))) >= 1
        times.append(seconds_of_reading(path))
    assert times[1] < max(8 * times[0], 0.1)


def peak_of_reading(path: Path) -> int:
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_mailbox(path)) > 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_large_attachment_takes_memory_of_about_its_size(tmp_path: Path) -> None:
    line = b"QUFB" * 19 + b"\n"
    parts = b"--x\nContent-Type: text/plain\n\nsee it\n--x\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"
    source = MIXED + parts + line * (10_000_000 // len(line)) + b"--x--\n"
    (tmp_path / "box.mbox").write_bytes(SEPARATOR + source + b"\n" + SEPARATOR + mail())
    assert peak_of_reading(tmp_path / "box.mbox") < 2 * len(source)


def test_many_mails_take_no_more_memory_than_few(tmp_path: Path) -> None:
    one = SEPARATOR + mail("words " * 400) + b"\n"
    (tmp_path / "few.mbox").write_bytes(one * 300)
    (tmp_path / "many.mbox").write_bytes(one * 1200)
    few, many = (peak_of_reading(tmp_path / f"{name}.mbox") for name in ("few", "many"))
    assert many < few + 1_000_000
