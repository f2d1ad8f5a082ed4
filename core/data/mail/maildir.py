"""Maildirs: a file a mail in the folders `cur` and `new`, with flags at the end of the name, and folders in folders."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.data.mail.kinds import Entry, Found, PassedOver
from core.data.mail.labels import opinion_of_keywords
from core.data.mail.message import is_message
from core.data.mail.names import class_in_name, names_trash
from core.data.mail.packed import TROUBLE, read_start
from core.data.mail.sources import Context, entry_of_file

# ":" is not allowed in names on Windows, where programs write ";", "!" or "-".
FLAGS = re.compile(r"[:;!-]2,([A-Za-z,]*)$")
INNER = ("cur", "new", "tmp")
KEYWORDS_FILE = "dovecot-keywords"
# An index, a list or a lock of a mail server, or what a file manager leaves.
NOT_MAIL = re.compile(
    r"(?:dovecot|courier|maildir|cyrus|subscriptions|sieve|shared-|imap|thumbs\.db|desktop\.ini|icon\r|core\b|\.|~)"
    r"|.*(?:\.lock|\.tmp|\.msf|\.index|\.cache|\.log|\.db|~)$",
    re.IGNORECASE,
)


def is_maildir(path: Path) -> bool:
    """Tell whether a folder is a Maildir. Empty folders of one are lost in copies; Thunderbird makes no `new`."""
    return (path / "cur").is_dir() or ((path / "new").is_dir() and (path / "tmp").is_dir())


def read_maildir(path: Path, context: Context, name: str = "") -> Found:
    """Read a Maildir in the order of the file names, then the folders in it. `tmp` holds what is not delivered yet."""
    name = name or path.name
    keywords = _keywords_of(path)
    for file in sorted(_files(path), key=lambda file: file.name):
        where = f"{name}/{file.parent.name}/{file.name}"
        if NOT_MAIL.match(file.name) or not file.is_file():
            yield PassedOver(f"{where}: no mail")
        elif not _begins_as_mail(file):
            yield PassedOver(f"{where}: no mail, for it does not begin with headers")
        else:
            yield _entry(file, where, context, keywords)
    yield from _read_inner(path, context, name)


def _read_inner(path: Path, context: Context, name: str) -> Found:
    for folder in sorted(path.iterdir()):
        if not folder.is_dir() or folder.is_symlink() or folder.name in INNER:
            continue
        said, full_name = class_of_folder(folder.name, context.own_label), f"{name}/{folder_name(folder.name)}"
        inner = context.inside(decided=said.decided, trash=said.trash)
        if is_maildir(folder):
            yield from read_maildir(folder, inner, full_name)
        else:
            yield from _read_inner(folder, inner, full_name)


@dataclass
class FolderName:
    """What the name of a folder in a mailbox says: the class of the mails in it, and whether they are deleted ones."""

    decided: bool | None
    trash: bool


def class_of_folder(name: str, own_label: str | None) -> FolderName:
    """Return what the name of a folder says. Of ".Archive.Spam" (Maildir++) the last part counts."""
    name = folder_name(name)
    parts = name.lstrip(".").split(".")
    opinions = [class_in_name(part, own_label) for part in (name, *parts[::-1])]
    named = next((opinion for opinion in opinions if opinion is not None), None)
    return FolderName(named, trash=names_trash(name) or names_trash(parts[-1]))


def folder_name(name: str) -> str:
    """Return the name of a folder as its owner sees it: IMAP writes "Спам" as "&BCEEPwQwBDw-"."""
    return re.sub(r"&([A-Za-z0-9+,]*)-", _decoded, name)


def _decoded(match: re.Match[str]) -> str:
    letters = match[1].replace(",", "/")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4)).decode("utf-16-be") if letters else "&"
    except ValueError:
        return match[0]


def _files(path: Path) -> Iterator[Path]:
    for folder in ("cur", "new"):
        if (path / folder).is_dir():
            yield from (path / folder).iterdir()


def _begins_as_mail(file: Path) -> bool:
    try:
        return is_message(read_start(file, 1 << 16), least=1)
    except TROUBLE:
        return True  # why it cannot be read is said of it as of a mail


def _entry(file: Path, where: str, context: Context, keywords: dict[str, str]) -> Entry:
    found = FLAGS.search(file.name)
    flags = "" if found is None else found[1]
    opinion = opinion_of_keywords(keywords[flag] for flag in flags if flag in keywords)
    return entry_of_file(file, where, context, keywords=opinion, deleted_by="flag T" if "T" in flags else None)


def _keywords_of(path: Path) -> dict[str, str]:
    """Return what the small letters among the flags stand for: line `0 $Junk` of dovecot-keywords gives "a"."""
    try:
        lines = (path / KEYWORDS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines[:26])
    return {
        chr(ord("a") + int(pair[0])): pair[1]
        for pair in pairs
        if len(pair) == 2 and re.fullmatch("[0-9]|1[0-9]|2[0-5]", pair[0])
    }
