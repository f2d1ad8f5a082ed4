"""One file: which of the formats it has, by what is in it rather than by its name, and how that is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.data.mail.kinds import NAME_OF_FILE, Found, Mail, PassedOver, Skipped
from core.data.mail.labels import Opinion
from core.data.mail.lines import read_tsv, starts_as_tsv
from core.data.mail.mbox import read_mbox_file, starts_as_mbox
from core.data.mail.message import is_message
from core.data.mail.packed import TROUBLE, open_unpacked, plain_name, read_start
from core.data.mail.sources import Context, entry_of, entry_of_file
from core.data.mail.tables import csv_columns, read_csv
from core.data.mail.transfer import without_byte_order_mark

SNIFFED = 1 << 16
TSV, CSV, MBOX, EML, EMLX = "lines of label, tab, text", "CSV", "mbox", "single mail", "mail of Apple Mail (.emlx)"
MBOX_ENDINGS = (".mbox", ".mbx", ".mbs")
MAIL_ENDINGS = (".eml", ".msg", ".mime", ".mht")
# Published collections name each file after its number and the digest of the mail in it, with a line "From ..." first.
ONE_MAIL = re.compile(r"\d{4,5}\.[0-9a-f]{32}$")

# What people have besides, by how it begins, and what to do with it.
FOREIGN = {
    b"!BDN": "a mail store of Outlook (.pst or .ost); export it as mbox, or unpack it with readpst",
    b"\xd0\xcf\x11\xe0": "a mail of Outlook (.msg) or another file of Office; save the mail as .eml",
    b"\xcf\xad\x12\xfe": "a mail folder of Outlook Express (.dbx); import it into Thunderbird and give that folder",
    b"PK\x03\x04": "a zip archive (or a file of Office); unpack it and give the folder or the mbox file in it",
    b"Rar!": "a rar archive; unpack it and give the folder in it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it and give the folder in it",
    b"*mbx*\r\n": "an mbx file of UW-IMAP; convert it to mbox with mailutil",
    b"\x01\x01\x01\x01\n": "an MMDF file; convert it to mbox, in mutt by saving its mails to a new mbox",
    b"BABYL OPTIONS:": "a Babyl file of Emacs; convert it to mbox in Rmail",
    b"SQLite format 3": "a database; export the mails in it as mbox or .eml files",
    b"%PDF": "a PDF file, not a mailbox; save the mails as .eml or mbox",
}
TAR_MAGIC = b"ustar"


@dataclass(frozen=True)
class Format:
    """A way to read a file."""

    name: str
    read: Callable[[Path, Context], Found]


def format_of(path: Path, own_label: str | None = None) -> Format | None:
    """Return how a file is read; None if it is in no format known here.

    Raises what `read_start` raises, if the file cannot be opened or unpacked.
    """
    name, start = plain_name(path), read_start(path, SNIFFED)
    suffix = Path(name).suffix.lower()
    plain = without_byte_order_mark(start)
    if suffix == ".tsv" or (suffix != ".csv" and starts_as_tsv(start, own_label)):
        return Format(TSV, _read_tsv)
    if suffix == ".csv":
        return Format(CSV, _read_csv)
    if suffix == ".emlx" or _emlx_start(start):
        return Format(EMLX, read_emlx)
    if suffix in MAIL_ENDINGS and is_message(plain, least=1):
        return Format(EML, read_single)
    if is_mbox(plain) or (suffix in MBOX_ENDINGS and (starts_as_mbox(plain) or is_message(plain, least=1))):
        return Format(EML, read_single) if ONE_MAIL.search(name) else Format(MBOX, read_mbox)
    if is_message(plain):
        return Format(EML, read_single)
    if start and b"\0" not in plain and csv_columns(path, own_label) is not None:
        return Format(CSV, _read_csv)
    return None


def foreign(path: Path) -> str | None:
    """Return what a file of no known format is and what to do with it, if that is known."""
    start = read_start(path, 512)
    if start[257:262] == TAR_MAGIC:
        return "a tar archive; unpack it and give the folder in it"
    return next((advice for magic, advice in FOREIGN.items() if start.startswith(magic)), None)


def is_mbox(start: bytes) -> bool:
    """Tell by a first line "From ..." with a header below it, which a text that begins with "From" has not."""
    if not starts_as_mbox(start):
        return False
    lines = start.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return is_message(lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), least=1)


def read_mbox(path: Path, context: Context) -> Found:
    """Read an mbox file, packed or not."""
    name = plain_name(path)
    for number, source in enumerate(read_mbox_file(path, context.progress.read), start=1):
        yield entry_of(source, f"message {number} of {Path(name).stem}", context, quoted=True)


def read_single(path: Path, context: Context) -> Found:
    """Read a file that is one mail."""
    yield entry_of_file(path, path.name, context)


# --- Apple Mail ---

EMLX_START = re.compile(rb"\s*(\d{1,12})[ \t]*\r?\n")
EMLX_FLAGS = re.compile(rb"<key>flags</key>\s*<integer>(\d{1,19})</integer>")
EMLX_DELETED, EMLX_JUNK, EMLX_NOT_JUNK = 1 << 1, 1 << 24, 1 << 25
APPLE_FLAG = "the junk flag of Apple Mail"


def _emlx_start(start: bytes) -> bool:
    match = EMLX_START.match(start[:20])
    return match is not None and is_message(start[match.end() :])


def read_emlx(path: Path, context: Context) -> Found:
    """Read a mail of Apple Mail: the number of its bytes, the mail, and a list of properties with flags."""
    with open_unpacked(path) as file:
        content = file.read()
    context.progress.read(len(content))
    match = EMLX_START.match(content[:20])
    if match is None:
        yield entry_of(content, path.name, context)
        return
    end = match.end() + int(match[1])
    found = EMLX_FLAGS.search(content, min(end, len(content)))
    flags = 0 if found is None else int(found[1])
    opinion: Opinion | None = None
    if flags & (EMLX_JUNK | EMLX_NOT_JUNK):
        opinion = not flags & EMLX_NOT_JUNK, APPLE_FLAG
    deleted_by = "the flag of Apple Mail" if flags & EMLX_DELETED else None
    yield entry_of(content[match.end() : end], path.name, context, keywords=opinion, deleted_by=deleted_by)


# --- Tables, and texts of a collection ---


def _read_tsv(path: Path, context: Context) -> Found:
    return _counted(read_tsv(path, context.own_label), context)


def _read_csv(path: Path, context: Context) -> Found:
    return _counted(read_csv(path, context.own_label), context)


def _counted(entries: Found, context: Context) -> Found:
    for entry in entries:
        context.progress.mail()
        if isinstance(entry, Mail):
            context.progress.read(len(entry.text))
        yield entry


def read_text(path: Path, where: str, context: Context, spam: bool) -> Found:
    """Read a file of a collection that is one mail, with headers or as text only; anything else is passed over."""
    try:
        with open_unpacked(path) as file:
            content = without_byte_order_mark(file.read())
    except TROUBLE as error:
        yield Skipped(f"{where}: it cannot be read ({getattr(error, 'strerror', None) or error})")
        return
    context.progress.read(len(content))
    if is_message(content) or (path.suffix.lower() in MAIL_ENDINGS and is_message(content, least=1)):
        yield entry_of(content, where, context)
    elif b"\0" in content[:SNIFFED]:
        yield PassedOver(f"{where}: no text")
    elif content.strip():
        context.progress.mail()
        yield Mail(content.decode("utf-8", "replace"), spam, NAME_OF_FILE)
    else:
        yield PassedOver(f"{where}: empty")
