"""From the bytes of a mail to text: transfer encodings and character sets, declared rightly, wrongly or not at all."""

from __future__ import annotations

import binascii
import codecs
import re

BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
WHITE = b" \t\r\n\x0b\x0c"
NOT_BASE64 = bytes(set(range(256)) - set(BASE64))
CHARSET_NAME = re.compile(r"[\w.:+-]{1,40}", re.ASCII)
# Codecs of Python's own that are no character sets of mail; two of them take quadratic time.
NO_CHARSETS = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"))
# What mails declare and what their writers meant: a superset, as browsers take it, or a spelling of their own.
MEANT = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
SPELT = {
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "ks_c_5601-1987": "cp949",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "windows-874": "cp874",
    "iso-8859-8-i": "iso-8859-8",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "big5-hkscs": "big5hkscs",
}
BYTE_ORDER_MARKS = (  # the longer ones first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_transfer(content: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding, however it is spelt; what is not encoded so stays as it is."""
    name = re.sub(r"[^a-z0-9]", "", encoding.partition(";")[0].lower())
    if name in ("base64", "b", "base64encoded"):
        return decode_base64_text(content)
    if name in ("quotedprintable", "qp", "quotedprint"):
        return binascii.a2b_qp(content)
    if name in ("xuuencode", "uuencode", "xuue", "uue"):
        return _decode_uu(content)
    return content


def decode_base64_text(content: bytes) -> bytes:
    """Decode base64, with or without plain lines after it; plain text that is only declared so stays as it is."""
    if not content.translate(None, BASE64 + WHITE):
        return _base64_or_plain(content)
    decoded, rest = [], content
    # A list or a virus scanner put its plain lines below. Odd bytes within a line are left out, as RFC 2045 says.
    for match in re.finditer(rb"[^\n]*\n?", content):
        if _is_plain_line(match[0]):
            decoded, rest = [content[: match.start()]], content[match.start() :]
            break
    else:
        return _base64_or_plain(content)
    return decode_base64(decoded[0]) + b"\n" + rest if decoded[0].strip() else rest


def decode_base64(content: bytes) -> bytes:
    """Decode base64 as far as it goes: without its padding, with padding in the middle, or cut short."""
    pieces = content.translate(None, NOT_BASE64).split(b"=")
    return b"".join(_decode_piece(piece) for piece in pieces if piece)


def _decode_piece(piece: bytes) -> bytes:
    whole = piece[: len(piece) - 1] if len(piece) % 4 == 1 else piece
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _is_plain_line(line: bytes) -> bool:
    line = line.strip(WHITE)
    others = len(line.translate(None, BASE64))
    return others > max(2, len(line) // 20) or 2 * others >= max(len(line), 1) or (others > 0 and b" " in line)


def _base64_or_plain(content: bytes) -> bytes:
    decoded = decode_base64(content)
    if not decoded or not _is_text(content):
        return decoded
    # "plain words here" is base64, too, by its letters: it decodes to bytes that are no text.
    return decoded if _is_text(decoded) or (b" " not in content.strip(WHITE) and len(content) > 200) else content


def _is_text(content: bytes) -> bool:
    start = content[:1000]
    if start.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)) or 3 * start.count(b"\0") > len(start):
        return True  # UTF-16
    text = start.decode("utf-8", "replace")
    strange = sum(not (character.isprintable() or character.isspace()) or character == "\ufffd" for character in text)
    return strange * 10 <= len(text)


def _decode_uu(content: bytes) -> bytes:
    decoded = []
    for line in content.split(b"\n"):
        if line.startswith((b"begin ", b"end")) or not line.strip():
            continue
        try:
            decoded.append(binascii.a2b_uu(line.rstrip(b"\r")))
        except binascii.Error:
            return content
    return b"".join(decoded)


# --- Character sets ---


def decode_charset(content: bytes, charset: str | None) -> str:
    """Decode text of a declared character set, or of none; what fits nowhere becomes U+FFFD.

    A byte-order mark outweighs what is declared. Where nothing is declared, or only ASCII, text that is not UTF-8 is
    taken for Windows-1252, as mail programs do.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(name, "replace")
    declared = None if charset is None else known_charset(charset)
    if declared is None or declared == "ascii":
        return decode_undeclared(content)
    if declared.startswith(("utf-16", "utf-32")) and b"\0" not in content[:1000]:
        return decode_undeclared(content)  # one byte a letter, whatever is declared
    return content.decode(MEANT.get(declared, declared), "replace").removeprefix("\ufeff")


def decode_undeclared(content: bytes) -> str:
    """Decode UTF-8, or else Windows-1252."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        whole = content[: error.start]
        # Cut within a letter, it is still UTF-8 if other letters say so.
        if len(content) - error.start < 4 and not whole.isascii():
            return whole.decode("utf-8-sig")
        return content.decode("cp1252", "replace")


def known_charset(name: str) -> str | None:
    """Return Python's name of a character set, or None if there is none of that name."""
    name = name.strip(" \t\"'").lower()
    if not CHARSET_NAME.fullmatch(name):
        return None
    try:
        found = codecs.lookup(SPELT.get(name, name))
    except (LookupError, ValueError):
        return None
    return None if found.name.replace("-", "_") in NO_CHARSETS or not found._is_text_encoding else found.name


def encoding_by_mark(start: bytes) -> str | None:
    """Return UTF-16 or UTF-32 if a file begins with the mark of it; None for anything else, which is bytes of text."""
    for mark, name in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return None if name == "utf-8" else name.rsplit("-", 1)[0]
    return None


def without_byte_order_mark(content: bytes) -> bytes:
    """Return a file's content as bytes that begin with text: UTF-16 and UTF-32 become UTF-8, the mark goes."""
    for mark, name in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            rest = content[len(mark) :]
            return rest if name == "utf-8" else rest.decode(name, "replace").encode("utf-8", "replace")
    return content
