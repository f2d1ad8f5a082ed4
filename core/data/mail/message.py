"""One mail: its text as its reader sees it, subject first.

Mail comes from any program and breaks every rule. What is declared is tried first; where that gives nothing, what
a mail program would show. Everything takes time in step with the length of the mail, and little memory besides it: of
one part the first 4 MiB are read, and of a mail about as many characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.data.mail.headers import NAME, Headers, read_headers
from core.data.mail.html import html_to_text, looks_like_html
from core.data.mail.parts import Kind, Part, parts_of
from core.data.mail.transfer import decode_charset, decode_transfer, without_byte_order_mark
from core.data.text import words

LONGEST_PART = 1 << 22
LONGEST_COMPARED = 100_000
MOST_NESTED = 3

QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
META_CHARSET = re.compile(rb"<meta\b[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
LETTER = re.compile(r"[^\W_]")

# Headers that people do not write at the top of a text, and those that they might.
SURE_HEADERS = re.compile(
    rb"(received|return-path|message-id|mime-version|content-[\w-]+|delivered-to|status|dkim-signature|list-[\w-]+|"
    rb"authentication-results|x-[\w-]+)\Z",
    re.IGNORECASE,
)
POSSIBLE_HEADERS = frozenset((b"subject", b"from", b"to", b"cc", b"date", b"reply-to", b"sender"))
LONGEST_SNIFFED = 100_000


@dataclass(frozen=True)
class Message:
    """A mail in its source form. `quoted` says that "From " at the start of a line was written as ">From "."""

    source: bytes | bytearray
    headers: Headers
    quoted: bool = False

    @property
    def subject(self) -> str:
        """The decoded subject; empty if there is none."""
        return self.headers.text("subject") or ""


def parse(source: bytes | bytearray, *, quoted: bool = False) -> Message:
    """Take a mail apart into headers and body; a line "From ..." or empty lines before the headers do not count."""
    start = _headers_start(source)
    return Message(source, read_headers(source, start), quoted)


def _headers_start(source: bytes | bytearray) -> int:
    start = 3 if source.startswith(b"\xef\xbb\xbf") else 0
    while start < len(source) and source[start] in b"\r\n":
        start += 1
    while source.startswith((b"From ", b">From "), start):
        end = source.find(b"\n", start)
        if end < 0:
            return len(source)
        start = end + 1
    return start


def text_of_message(content: bytes | str) -> str:
    """Return the text of one message to be judged: a raw e-mail (an .eml file) or plain text.

    Of an e-mail that is "Subject: ", the subject, and the body; of plain text, the text itself. Bytes of plain text
    that are not UTF-8 become U+FFFD.
    """
    raw = content.encode("utf-8", "replace") if isinstance(content, str) else without_byte_order_mark(content)
    return text_of(parse(raw)) if is_message(raw) else raw.decode("utf-8", "replace")


def is_message(raw: bytes | bytearray, *, least: int = 2) -> bool:
    """Tell whether a text is a raw e-mail: whether it opens with the headers of one, however broken some are.

    Headers count one, those that people never type, and addresses, count two.

    Args:
        least: how much must be counted.
    """
    start = _headers_start(raw)
    head = bytes(raw[start : start + LONGEST_SNIFFED])
    known = others = 0
    for line in head.split(b"\n"):
        line = line.rstrip(b"\r")
        if not line.strip():
            break
        if line[:1] in b" \t":
            continue
        match = NAME.match(line)
        points = 0 if match is None else _points(match[1].lower(), line[match.end() :])
        known += points
        others += match is None
        if not (known or others < 3):
            return False
    return known >= least and (others < known or others < 3)


def _points(name: bytes, value: bytes) -> int:
    if SURE_HEADERS.match(name):
        return 2
    return (1 + (b"@" in value and name != b"subject")) if name in POSSIBLE_HEADERS else 0


def text_of(message: Message, nested: int = 0) -> str:
    """Return "Subject: ", the subject, and the body of a mail: its plain text, its HTML without the marks, or both."""
    text = f"Subject: {message.subject}\n{_body(message, nested)}"
    if text.isascii():
        return text.replace("\r\n", "\n")
    # What cannot be written as UTF-8: half pairs of UTF-16 that a character set smuggled in.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\r\n", "\n")


def _body(message: Message, nested: int) -> str:
    parts = parts_of(message.source, message.headers)
    # One of the forms of a text is no attachment, whatever it is marked as.
    inside = [part for part in parts if part.kind is not Kind.OUTSIDE]
    attached = [part for part in inside if part.attached and not part.group]
    shown = [part for part in inside if not part.attached or part.group]
    outside = [part for part in parts if part.kind is Kind.OUTSIDE]
    # A mail whose only text is an attachment, or stands before the first part, is read there.
    texts = (_text_of_parts(message, chosen, nested) for chosen in (shown, attached, outside))
    first = next(texts)
    return first if LETTER.search(first) else next((text for text in texts if LETTER.search(text)), first)


def _text_of_parts(message: Message, parts: list[Part], nested: int) -> str:
    grouped: dict[int, list[Part]] = {}
    for place, part in enumerate(parts):
        grouped.setdefault(part.group or -place - 1, []).append(part)
    texts, length = [], 0
    for number, group in grouped.items():
        text = _alternative(message, group, nested) if number > 0 else _text_of_part(message, group[0], nested)
        if text and length < LONGEST_PART:
            texts.append(text)
            length += len(text)
    return "\n".join(texts)


def _alternative(message: Message, parts: list[Part], nested: int) -> str:
    """Return the plain form of a text that is there twice, unless it says little of what the HTML says.

    Readers see one or the other; where they differ (the plain form is empty, or says that HTML cannot be shown, or is
    another text altogether), both count.
    """
    plain = "\n".join(_texts(message, (part for part in parts if part.kind is not Kind.HTML), nested))
    html = "\n".join(_texts(message, (part for part in parts if part.kind is Kind.HTML), nested))
    if not LETTER.search(plain):
        return html or plain
    seen, here = set(words(html[:LONGEST_COMPARED])), set(words(plain[:LONGEST_COMPARED]))
    return f"{plain}\n{html}" if 2 * len(seen - here) > len(seen) else plain


def _texts(message: Message, parts: Iterable[Part], nested: int) -> Iterator[str]:
    length = 0
    for part in parts:
        if length < LONGEST_PART and (text := _text_of_part(message, part, nested)):
            length += len(text)
            yield text


def _text_of_part(message: Message, part: Part, nested: int) -> str:
    if part.kind is Kind.SUBJECT:
        return part.text
    if part.kind is Kind.OTHER:
        return ""
    content = bytes(message.source[part.start : min(part.end, part.start + LONGEST_PART)])
    if message.quoted and b">From " in content:
        content = QUOTED_FROM.sub(rb"\1", content)
    content = decode_transfer(content, part.transfer)
    if part.kind is Kind.MESSAGE:
        return text_of(parse(content), nested + 1) if nested < MOST_NESTED else ""
    charset = part.charset or (_meta_charset(content) if part.kind is Kind.HTML else None)
    text = decode_charset(content, charset)
    if part.kind is Kind.HTML or (not part.declared and looks_like_html(text)):
        return html_to_text(text)
    return text


def _meta_charset(content: bytes) -> str | None:
    found = META_CHARSET.search(content[:4096])
    return None if found is None or found[1].lower().startswith(b"utf-16") else found[1].decode("ascii", "replace")
