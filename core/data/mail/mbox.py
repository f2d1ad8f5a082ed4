"""Mbox files: many mails one after the other, each after a line that begins with "From ".

What separates mails. People begin lines of a text with "From ", too, and not every program quotes them, so a line that
begins so is a separator only if

1. it is the first line of the file (a byte-order mark and empty lines before it do not count), or
2. it has the form of a separator with a date: one word, an address or a quoted name, or nothing, for the sender, then a
   date and time of day as programs write them (`Sat Apr  6 20:13:31 2013`, with a zone before or after the year or
   without, without seconds, or as in mail headers, or as in ISO 8601), then nothing but a zone or `remote from HOST`;
   and a header is on the next line (or on a later one, if an empty line stands before the separator); or
3. it has the form of one without a date that no sentence has: `From ` and nothing, or `From -`; it stands after an
   empty line, and a header is on the next line; or
4. it has the form of one that a sentence may have: one word, or something with a time of day or a year in it; it stands
   after an empty line, and of the lines that follow up to the next empty one, the first is a header and two at
   least are headers that mails begin with.

"Header" means a line `Name: value`, or a quoted "From " line as some programs leave it.

Of a line that begins with ">From ", ">>From " and so on, one ">" is the program's and is taken away (mboxrd).
Lines may end in LF, CR LF, or CR alone.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from core.data.mail.headers import NAME
from core.data.mail.message import POSSIBLE_HEADERS, SURE_HEADERS
from core.data.mail.packed import open_unpacked, read_start
from core.data.mail.transfer import encoding_by_mark


class Readable(Protocol):
    """A file to read bytes from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, and none at the end."""


CHUNK = 1 << 20
LOOK_AHEAD = 8192
"""Bytes after a line "From ..." within which the headers must be recognised."""

DAY = rb"[^\s:]{2,12}"
MONTH = rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w{0,6}"
TIME = rb"\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:\s?[ap]m)?"
ZONE = rb"(?:[+-]\d{2}:?\d{2}|[a-z]{1,5}(?:[+-]\d{1,4})?(?:\s\w{2,5})?|\([a-z +-]{1,20}\))"
YEAR = rb"\d{4}"
DATE = rb"(?:%b)" % rb"|".join(
    (
        rb"(?:%b\s+)?%b\s+\d{1,2},?\s+%b(?:\s+%b)?\s+%b(?:\s+%b)?" % (DAY, MONTH, TIME, ZONE, YEAR, ZONE),
        rb"(?:%b\s+)?%b\s+\d{1,2},?\s+%b\s+%b(?:\s+%b){0,2}" % (DAY, MONTH, YEAR, TIME, ZONE),
        rb"(?:%b\s+)?\d{1,2}[\s-]%b[\s-]%b,?\s+%b(?:\s+%b){0,2}" % (DAY, MONTH, YEAR, TIME, ZONE),
        rb"%b-\d\d-\d\d[T ]%b\s?(?:z|%b)?" % (YEAR, TIME, ZONE),
    )
)
SENDER = rb"(?:\"[^\"\n]{0,200}\"\s*\S*|\S*@.{0,200}?|\S+(?:\sat\s\S+)?|\S+\s+<[^>\n]{0,200}>)"
DATED = re.compile(rb"From(?:\s+%b)?\s+%b(?:\s+remote from \S+)?\s*" % (SENDER, DATE), re.IGNORECASE)
UNDATED = re.compile(rb"From -?\s*")
DOUBTFUL = re.compile(rb"From(?: +(?:\S+|(?=.*(?:\d:\d\d|\d{4})).*))?\s*")
LONGEST_SEPARATOR = 500
CONTENT = re.compile(rb"\S")


def starts_as_mbox(start: bytes) -> bool:
    """Tell by the first line of a file, of which at least the first bytes are given."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return re.match(rb"From[ \r\n]", text) is not None


def is_separator(text: bytes | bytearray, start: int, *, after_empty: bool) -> bool:
    """Tell whether the line "From ..." that begins at `start` separates mails, by the rule above.

    Args:
        after_empty: the line before it is empty.
    """
    line, following = _line(text, start), start + LONGEST_SEPARATOR
    following = text.find(b"\n", start, following) + 1
    if not following:
        return False
    dated, heads = DATED.fullmatch(line) is not None, _is_header(_line(text, following))
    if not after_empty or (heads and dated):
        return heads and dated
    if heads and UNDATED.fullmatch(line):
        return True
    if not dated and not (heads and DOUBTFUL.fullmatch(line)):
        return False
    return _headers_of_mail(bytes(text[following : start + LOOK_AHEAD])) >= (1 if dated else 2)


def _line(text: bytes | bytearray, start: int) -> bytes:
    return bytes(text[start : start + LONGEST_SEPARATOR]).partition(b"\n")[0].rstrip(b"\r")


def _is_header(line: bytes) -> bool:
    return NAME.match(line) is not None or line.startswith(b">From ")


def _headers_of_mail(text: bytes) -> int:
    """Count headers that mails begin with, to the next empty line; no further than to two."""
    known = 0
    for line in re.finditer(rb"[^\n]*\n?", text):
        match = NAME.match(line[0])
        name = b"" if match is None else match[1].lower()
        known += name in POSSIBLE_HEADERS or SURE_HEADERS.match(name) is not None
        if known >= 2 or not line[0].strip():
            break
    return known


def split_mbox(file: Readable, progress: Callable[[int], None] = lambda _: None) -> Iterator[bytearray]:
    """Yield the source of each mail of an mbox file, without the separator; no more than one of them is held.

    Args:
        progress: called with the bytes read so far, again and again.
    """
    splitter = _Splitter()
    unix = _unix_lines(file)
    for chunk in unix:
        progress(len(chunk))
        yield from splitter.feed(chunk)
    yield from splitter.feed(b"", last=True)


def read_mbox_file(path: Path, progress: Callable[[int], None] = lambda _: None) -> Iterator[bytearray]:
    """Yield the source of each mail of an mbox file, packed or not, in UTF-16 if its byte-order mark says so."""
    encoding = encoding_by_mark(read_start(path, 4))
    with open_unpacked(path) as file:
        recoded = file if encoding is None else codecs.EncodedFile(file, "utf-8", encoding, "replace")
        yield from split_mbox(recoded, progress)


def _unix_lines(file: Readable) -> Iterator[bytes]:
    """Yield a file by chunks, with LF for whatever ends its lines; CR alone does where there is no LF at all."""
    held, only_cr = b"", None
    while chunk := file.read(CHUNK):
        if only_cr is None:
            only_cr = b"\r" in chunk and b"\n" not in chunk
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        if only_cr:
            yield chunk.replace(b"\r", b"\n")
            continue
        chunk = held + chunk
        held = b"\r" if chunk.endswith(b"\r") else b""
        yield chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n")
    yield held


class _Splitter:
    """Finds the separators in what it is fed."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._looked = 0  # up to here no separator begins
        self._begun = False

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[bytearray]:
        self._held += chunk
        while (start := self._candidate()) >= 0:
            if not last and len(self._held) - start < LOOK_AHEAD:
                self._looked = start
                return
            self._looked = start + 1
            if self._separates(start):
                yield from self._cut(start)
        self._looked = max(0, len(self._held) - len(b"From "))
        if last:
            yield from self._mail(self._held)

    def _candidate(self) -> int:
        """Return where the next line "From ..." begins, or -1."""
        if not self._looked and self._held.startswith(b"From"):
            return 0
        return self._held.find(b"\nFrom", max(self._looked - 1, 0)) + 1 or -1

    def _separates(self, start: int) -> bool:
        if bytes(self._held[start + 4 : start + 5]) not in (b" ", b"\r", b"\n"):
            return False
        if not self._begun and not self._held[:start].strip():
            return True
        return is_separator(
            self._held, start, after_empty=start == 0 or self._held[max(0, start - 2) : start] == b"\n\n"
        )

    def _cut(self, start: int) -> Iterator[bytearray]:
        end = self._held.find(b"\n", start) + 1 or len(self._held)
        if start > CHUNK:  # a large mail is not copied; what follows it is
            mail, self._held = self._held, self._held[end:]
            del mail[start:]
        else:
            mail = self._held[:start]
            del self._held[:end]
        self._looked = 0
        if self._begun or mail:
            yield from self._mail(mail)
        self._begun = True

    @staticmethod
    def _mail(mail: bytearray) -> Iterator[bytearray]:
        if CONTENT.search(mail):
            if mail.endswith(b"\n\n"):
                del mail[-1:]  # the empty line belongs to the separator
            yield mail
