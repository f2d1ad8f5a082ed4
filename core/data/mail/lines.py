"""Files with a mail a line: `label<TAB>text`, or texts of one class."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from core.data.mail.kinds import LABEL_IN_LINE, NAME_OF_FILE, Found, Mail, Skipped
from core.data.mail.names import same_name
from core.data.mail.packed import open_unpacked, read_start
from core.data.mail.transfer import BYTE_ORDER_MARKS

CLASSES = {
    "ham": False,
    "spam": True,
    "junk": True,
    "not spam": False,
    "notspam": False,
    "not-spam": False,
    "not_spam": False,
    "non-spam": False,
    "nonspam": False,
    "no spam": False,
    "legitimate": False,
    "legit": False,
}
ONE_WORD = re.compile(r"[^\W\d][\w-]{0,39}")


def class_of(field: str, own: str | None, names: dict[str, bool] = CLASSES) -> bool | None:
    """Return what a label says. If the owner names a label for spam, every other word means ham."""
    if own is not None and same_name(field, own):
        return True
    spam = names.get(field.strip().lower())
    return False if spam is None and own is not None and ONE_WORD.fullmatch(field.strip()) else spam


# --- Text of any encoding ---


def encoding_of(start: bytes) -> str | None:
    """Return the encoding that a byte-order mark or the NUL bytes of UTF-16 give away; None if nothing does."""
    for mark, name in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return "utf-8-sig" if name == "utf-8" else name.rsplit("-", 1)[0]
    even, odd = start[::2].count(0), start[1::2].count(0)
    # Labels and headings begin with a letter of ASCII; NUL bytes that only come later are characters of a mail.
    if start[1:2] == b"\0" and 4 * odd > len(start[1::2]) and even * 10 < odd:
        return "utf-16-le"
    if start[:1] == b"\0" and 4 * even > len(start[::2]) and odd * 10 < even:
        return "utf-16-be"
    return None


def decoded_lines(path: Path, encoding: str, errors: str = "replace") -> Iterator[str]:
    """Yield the lines of a file, unpacked and decoded, with their line ends. Raises OSError."""
    with open_unpacked(path) as file, io.TextIOWrapper(file, encoding, errors, newline="") as text:
        yield from text


# --- Lines of label, tab, text ---


def starts_as_tsv(start: bytes, own: str | None = None) -> bool:
    """Tell by a first line that opens with a label and a tab."""
    text = start[:400].decode(encoding_of(start[:400]) or "utf-8-sig", "replace")
    label, tab, _ = text.partition("\n")[0].partition("\t")
    return bool(tab) and class_of(label, own) is not None


def read_tsv(path: Path, own: str | None = None) -> Found:
    """Read a file of lines `ham<TAB>text` or `spam<TAB>text`, packed or not."""
    encoding = encoding_of(read_start(path, 400))
    for number, line in enumerate(_line_feeds(path, encoding), start=1):
        text = line.rstrip("\r\n")
        if text:
            yield _mail_of_line(text, number, own)


def _line_feeds(path: Path, encoding: str | None) -> Iterator[str]:
    """Yield lines that only line feeds end."""
    if encoding is not None and not encoding.startswith("utf-8"):
        yield from "".join(decoded_lines(path, encoding)).split("\n")
        return
    with open_unpacked(path) as file:
        for number, raw in enumerate(file):
            yield raw.decode("utf-8" if number else "utf-8-sig", "replace")


def _mail_of_line(line: str, number: int, own: str | None) -> Mail | Skipped:
    label, tab, text = line.partition("\t")
    spam = class_of(label, own)
    if spam is None or not tab:
        return Skipped(f"line {number} does not open with ham or spam and a tab")
    return Mail(text, spam, LABEL_IN_LINE)


def read_lines(path: Path, spam: bool) -> Found:
    """Read a file of one mail a line, all of one class, packed or not; empty lines are no mails."""
    for line in _line_feeds(path, encoding_of(read_start(path, 400))):
        text = line.removeprefix("\ufeff").strip()
        if text:
            yield Mail(text, spam, NAME_OF_FILE)
