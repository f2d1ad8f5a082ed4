"""The headers of a mail: where they end, their values unfolded and decoded, their parameters.

Nothing here raises, and everything takes time in step with the length: a header that cannot be understood counts as
missing.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field

from core.data.mail.transfer import decode_base64, decode_charset, decode_undeclared

NAME = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
# Letters of one word of a text can be cut apart between two encoded words, so neighbours are decoded together.
ENCODED = re.compile(r"=\?([^?\s*]{1,70})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?\r\n]*)\?=")
QP_BYTE = re.compile(rb"=([0-9a-fA-F]{2})")
LONGEST_VALUE = 65_536
"""Bytes of one value that are read."""
LONGEST_PARAMETERS = 4096


@dataclass(frozen=True)
class Headers:
    """The headers of a mail or of a part of one, and where what they are about begins.

    Attributes:
        values: the raw value of each header by its lower-case name; of several with the same name the first.
        body: where in the source the body begins.
        lines: how many lines look like headers.
    """

    values: dict[bytes, bytes] = field(default_factory=dict)
    body: int = 0
    lines: int = 0

    def raw(self, name: str) -> str | None:
        """Return a value undecoded, in one line; None if there is no such header."""
        value = self.values.get(name.encode())
        return None if value is None else decode_undeclared(value).strip()

    def text(self, name: str) -> str | None:
        """Return a value with its encoded words decoded; None if there is no such header."""
        value = self.raw(name)
        return None if value is None else decode_words(value)


def read_headers(
    source: bytes | bytearray, start: int = 0, end: int | None = None, boundaries: Container[bytes] | None = None
) -> Headers:
    """Read the headers at `start`, which end at the first empty line.

    A line without a colon is passed over. Only where text without colons stands after the last header and no body
    would be left, or several such lines, the empty line is missing, and that text is the body.

    Args:
        boundaries: given for the headers of a part: what separates the parts here, which ends headers, too. If the
            first line of a part is no header, it has none.
    """
    end = len(source) if end is None else end
    found, place = _Lines(), start
    while place < end:
        stop = source.find(b"\n", place, end)
        after = end if stop < 0 else stop + 1
        line = bytes(source[place : min(after, place + LONGEST_VALUE)]).rstrip(b"\r\n")
        if not line.strip(b" \t\r"):
            if not _goes_on(source, after, end, line):
                return found.headers(_missing_end(source, found.unread, after, end))
        elif boundaries is not None and found.end_before(line, boundaries):
            return found.headers(place)
        else:
            found.add(line, place)
        place = after
    if not found.count:
        return Headers({}, start, 0)
    return found.headers(found.unread[0] if found.unread else place)


class _Lines:
    """The lines of headers read up to here.

    Attributes:
        count: how many look like headers.
        unread: where the first and the last line without a colon since the last header begin.
    """

    def __init__(self) -> None:
        self.count = 0
        self.unread: list[int] = []
        self._values: dict[bytes, list[bytes]] = {}
        self._value: list[bytes] = []  # the one that a folded line continues

    def add(self, line: bytes, place: int) -> None:
        if line[:1] in b" \t":
            self._value.append(line.strip())
        elif (match := NAME.match(line)) is not None:
            self._value = [line[match.end() :].strip()]
            self._values.setdefault(match[1].lower(), self._value)  # a second value of one name is dropped
            self.count += 1
            self.unread = []
        else:
            self._value = []
            self.unread = [*self.unread[:1], place]

    def end_before(self, line: bytes, boundaries: Container[bytes]) -> bool:
        """Tell whether a part's headers end before this line: at a boundary, or if its first line is no header."""
        if not self.count and NAME.match(line) is None:
            return True
        return line[:2] == b"--" and delimiter(line[2:], boundaries) is not None

    def headers(self, body: int) -> Headers:
        values = {name: b" ".join(value)[:LONGEST_VALUE] for name, value in self._values.items()}
        return Headers(values, body, self.count)


def delimiter(line: bytes, boundaries: Container[bytes]) -> tuple[bytes, bool] | None:
    """Return the boundary that a line names after its two dashes, and whether it closes; None if it names none."""
    named = line.rstrip(b" \t\r\n")
    if named in boundaries:
        return named, False
    if named[-2:] == b"--" and named[:-2] in boundaries:
        return named[:-2], True
    return None


def _goes_on(source: bytes | bytearray, after: int, end: int, line: bytes) -> bool:
    """Tell whether a line of spaces only is part of a folded value: another piece of that, or a header, follows."""
    if line[:1] not in (b" ", b"\t"):
        return False
    following = bytes(source[after : min(end, after + 300)]).partition(b"\n")[0]
    return bool(following.strip()) and (following[:1] in b" \t" or NAME.match(following) is not None)


def _missing_end(source: bytes | bytearray, unread: list[int], after: int, end: int) -> int:
    """Return where the body begins, an empty line found: after it, or with the lines that should stand below it."""
    if unread and (len(unread) > 1 or not source[after : min(end, after + 10_000)].strip()):
        return unread[0]
    return after


# --- Values ---


def decode_words(value: str) -> str:
    """Decode the encoded words (RFC 2047) of a header's value; other text stays unchanged."""
    if "=?" not in value:
        return value
    pieces: list[str] = []
    place, pending, pending_charset = 0, b"", ""
    for word in ENCODED.finditer(value):
        between, charset = value[place : word.start()], word[1].lower()
        neighbours = place > 0 and not between.strip()
        if pending and not (neighbours and charset == pending_charset):
            pieces.append(decode_charset(pending, pending_charset))
            pending = b""
        if not neighbours:
            pieces.append(between)
        pending_charset = charset
        pending += _decode_word(word[2], word[3])
        place = word.end()
    pieces += [decode_charset(pending, pending_charset) if pending else "", value[place:]]
    return "".join(pieces)


def _decode_word(encoding: str, text: str) -> bytes:
    content = text.encode("utf-8", "replace")
    if encoding in "bB":
        return decode_base64(content)
    return QP_BYTE.sub(lambda byte: bytes([int(byte[1], 16)]), content.replace(b"_", b" "))


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the parameters of a header such as Content-Type, in lower case, and the parameters.

    Parameters in several pieces (RFC 2231: `boundary*0`, `boundary*1`) are put together.
    """
    main, _, rest = value[:LONGEST_PARAMETERS].partition(";")
    found: dict[str, str] = {}
    while rest:
        name, equals, rest = rest.partition("=")
        name = name.rpartition(";")[2].strip().lower()
        text, rest = _parameter_value(rest.lstrip())
        if not equals or not name:
            continue
        plain, star, _ = name.partition("*")
        if star and name.endswith("*") and text.count("'") >= 2:
            text = text.split("'", 2)[2]
        found[plain] = found.get(plain, "") + text if star else found.get(plain, text)
    return main.strip().lower(), found


def _parameter_value(rest: str) -> tuple[str, str]:
    if not rest.startswith('"'):
        text, _, after = rest.partition(";")
        return text.strip(), after
    letters: list[str] = []
    place = 1
    while place < len(rest) and rest[place] != '"':
        place += rest[place] == "\\"
        letters.append(rest[place : place + 1])
        place += 1
    return "".join(letters), rest[place + 1 :]
