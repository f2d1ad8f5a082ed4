"""The parts of a mail: what its MIME structure says, and what can be made of a structure that is wrong.

One pass over the source finds every part, however deep they nest. Parts are ranges of the source: nothing is copied,
so a large attachment takes no memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from core.data.mail.headers import Headers, delimiter, parameters, read_headers

DELIMITER_LINE = re.compile(rb"\n--([^\n]{0,1000})")
# A line of an undeclared boundary: headers of a part follow, or nothing and it is closed further down.
FIRST_PART = re.compile(rb"\n--([^\n]{1,1000})\n(?=Content-[\w-]+:)", re.IGNORECASE)
CLOSED_PART = re.compile(rb"\n--([^\s-][^\n]{0,1000})\n")
HTML_TYPES = frozenset(("html", "x-html", "xhtml", "enriched", "richtext", "htm"))
NO_TEXT = frozenset(
    ("calendar", "vcard", "x-vcard", "directory", "css", "xml", "rfc822-headers", "x-amp-html", "javascript")
)
MOST_PARTS = 10_000
MOST_GUESSES = 3


class Kind(Enum):
    """What a part is to a reader of the text."""

    PLAIN = "plain text"
    HTML = "HTML"
    MESSAGE = "a mail, encoded"
    SUBJECT = "the subject of a forwarded mail"
    OUTSIDE = "text before or after the parts, which is only read where there is no other"
    OTHER = "not text"


@dataclass(frozen=True, slots=True)
class Part:
    """One part without inner parts: its place in the source and what its headers say.

    Attributes:
        group: the number of the outermost multipart/alternative around it; 0 if there is none.
    """

    kind: Kind
    start: int
    end: int
    charset: str | None = None
    transfer: str = ""
    attached: bool = False
    declared: bool = True
    group: int = 0
    text: str = ""


@dataclass(slots=True)
class _Multipart:
    boundary: bytes
    start: int
    group: int
    headers: Headers
    parts: int = 0


@dataclass
class _Parser:
    source: bytes | bytearray
    end: int
    guesses: int = MOST_GUESSES
    groups: int = 0
    begun: int = 0
    found: list[Part] = field(default_factory=list)
    stack: list[_Multipart] = field(default_factory=list)
    depths: dict[bytes, list[int]] = field(default_factory=dict)
    """Where in the stack a boundary is; twice, if a part declares that of the mail around it."""
    open_part: tuple[Headers, int, int] | None = None
    """Headers, start and group of a part whose end is not found yet; None between parts."""

    def read(self, headers: Headers, group: int = 0) -> list[Part]:
        self.begin(headers, headers.body, group)
        place, end = max(headers.body - 1, 0), self.end
        while self.stack and (line := DELIMITER_LINE.search(self.source, place, self.end)) is not None:
            place = self.delimit(line.start(), line.end(), line[1])
            if self.begun > MOST_PARTS:
                end = place
                break
        if headers.body < place and not self.stack:
            self.found.append(Part(Kind.OUTSIDE, place, end))
        self.close(0, end)
        return self.found

    def delimit(self, start: int, end: int, line: bytes) -> int:
        """Take note of a line that may separate parts; return where to look for the next."""
        named = delimiter(line, self.depths)
        if named is None:
            return end
        boundary, closing = named
        depth = self.depths[boundary][-1]
        multipart = self.stack[depth]
        self.close(depth + (not closing), start)
        if closing:
            return end
        if not multipart.parts and multipart.start < start:
            self.found.append(Part(Kind.OUTSIDE, multipart.start, start))
        multipart.parts += 1
        self.begun += 1
        headers = read_headers(self.source, min(end + 1, self.end), self.end, self.depths)
        self.begin(headers, headers.body, multipart.group)
        return headers.body - 1

    def begin(self, headers: Headers, start: int, group: int) -> None:
        """Open the part or multipart, or the forwarded mail, whose body starts here."""
        main, given = parameters(headers.raw("content-type") or "")
        while main == "message/rfc822" and not _is_encoded(headers):
            headers = read_headers(self.source, start, self.end, self.depths)
            self.found.append(Part(Kind.SUBJECT, start, headers.body, text=f"Subject: {headers.text('subject') or ''}"))
            start = headers.body
            main, given = parameters(headers.raw("content-type") or "")
        if not main.startswith("multipart"):
            self.open_part = (headers, start, group)
            return
        if main == "multipart/alternative" and not group:
            self.groups += 1
            group = self.groups
        boundary = given.get("boundary", "").strip().encode("utf-8", "replace")
        self.stack.append(_Multipart(boundary, start, group, headers))
        if boundary:
            self.depths.setdefault(boundary, []).append(len(self.stack) - 1)

    def close(self, depth: int, end: int) -> None:
        """End the open part, and every multipart from `depth` in the stack on."""
        if self.open_part is not None:
            headers, start, group = self.open_part
            if start < end:
                self.found.append(_part(headers, start, end, group))
            self.open_part = None
        while len(self.stack) > depth:
            multipart = self.stack.pop()
            if multipart.boundary:
                places = self.depths[multipart.boundary]
                places.pop()
                if not places:
                    del self.depths[multipart.boundary]
            if not multipart.parts and multipart.start < end:
                self.unsplit(multipart, end)

    def unsplit(self, multipart: _Multipart, end: int) -> None:
        """Make parts of a multipart whose boundary is missing, in the header or in the body."""
        boundary = self._guess(multipart.start, end) if self.guesses else None
        if boundary is None:
            # A mail program that finds no parts shows the text as it is.
            headers = Headers({**multipart.headers.values, b"content-type": b""})
            self.found.append(_part(headers, multipart.start, end, multipart.group))
            return
        headers = Headers({b"content-type": b'multipart/mixed; boundary="%s"' % boundary}, multipart.start)
        inner = _Parser(self.source, end, self.guesses - 1, self.groups)
        self.found += inner.read(headers, multipart.group)
        self.groups = inner.groups

    def _guess(self, start: int, end: int) -> bytes | None:
        """Return the boundary that separates the parts in a range of the source, whatever was declared."""
        found = FIRST_PART.search(self.source, start - 1, end)
        if found is not None:
            return found[1].rstrip(b" \t\r")
        found = CLOSED_PART.search(self.source, start - 1, end)
        if found is None:
            return None
        boundary = found[1].rstrip(b" \t\r")
        return boundary if self.source.find(b"\n--" + boundary + b"--", found.end() - 1, end) >= 0 else None


def _is_encoded(headers: Headers) -> bool:
    return (headers.raw("content-transfer-encoding") or "").lower().startswith(("base64", "quoted"))


def _part(headers: Headers, start: int, end: int, group: int) -> Part:
    main, given = parameters(headers.raw("content-type") or "")
    disposition, _ = parameters(headers.raw("content-disposition") or "")
    return Part(
        kind=_kind(main),
        start=start,
        end=end,
        charset=given.get("charset"),
        transfer=headers.raw("content-transfer-encoding") or "",
        attached=disposition.startswith("attachment"),
        declared="/" in main,
        group=group,
    )


def _kind(content_type: str) -> Kind:
    """Return what a part is by its type. An invalid or missing type is plain text, as MIME says."""
    main, slash, subtype = content_type.partition("/")
    if content_type in ("html", "application/xhtml+xml") or (main == "text" and subtype in HTML_TYPES):
        return Kind.HTML
    if content_type == "message/rfc822":
        return Kind.MESSAGE
    if slash and (main not in ("text", "plain") or subtype in NO_TEXT):
        return Kind.OTHER
    return Kind.PLAIN


def parts_of(source: bytes | bytearray, headers: Headers, end: int | None = None) -> list[Part]:
    """Return the parts of a mail in reading order, given its headers."""
    return _Parser(source, len(source) if end is None else end).read(headers)
