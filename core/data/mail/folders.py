"""Folders of mail: with a part for each class, with mailboxes of a program, with single mails, and all that mixed."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from core.data.mail.files import EML, EMLX, MBOX, ONE_MAIL, Format, format_of, read_text
from core.data.mail.kinds import Deleted, Found, Mail, PassedOver, Skipped
from core.data.mail.lines import read_lines
from core.data.mail.maildir import NOT_MAIL, class_of_folder, folder_name, is_maildir, read_maildir
from core.data.mail.names import class_in_name, names_trash, negates
from core.data.mail.packed import TROUBLE, plain_name
from core.data.mail.sources import Context

# What programs and people leave in folders of mail that is no example of it.
NO_EXAMPLE = re.compile(
    r"(?:readme|license|licence|copying|cmds|changes|summary\.txt|table_of_contents|msgfilterrules\.dat|popstate\.dat|"
    r"filterlog|prefs\.js|__macosx|index\b|labels?\b)"
    r"|.*\.(?:dat|sqlite|js|json|html?|plist|ini|py|md|png|jpe?g|gif|pdf|zip|tar|tgz|emlxpart|pyc|sh|xml)$",
    re.IGNORECASE,
)
WITH_HEADERS = (MBOX, EML, EMLX)
PROBED = 2000
"""Number of entries of a folder that are looked at to tell whether it holds mail."""


def class_parts(path: Path, own_label: str | None = None) -> list[tuple[Path, bool]]:
    """Return what is named after a class in a folder (`ham/`, `spam_2/`, `Junk.mbox`, `spam.txt` ...), and the class.

    If there is a part for spam, one named "not spam" is that of ham.
    """
    parts = [part for part in sorted(path.iterdir()) if _may_be_part(part)]
    named = [(part, class_in_name(folder_name(part.name), own_label)) for part in parts]
    if any(spam for _, spam in named):
        named = [(part, False if spam is None and negates(folder_name(part.name)) else spam) for part, spam in named]
    return [(part, spam) for part, spam in named if spam is not None]


def _may_be_part(part: Path) -> bool:
    if part.name.startswith("."):
        return False
    return part.is_dir() or Path(plain_name(part)).suffix.lower() in ("", ".mbox", ".mbx", ".txt")


def has_both_parts(path: Path, own_label: str | None = None) -> bool:
    """Tell whether a folder is one mailbox: with parts of both classes, or with such parts and no other mailbox."""
    parts = class_parts(path, own_label)
    if not parts:
        return False
    others = set(path.iterdir()) - {part for part, _ in parts}
    return len({spam for _, spam in parts}) > 1 or not any(is_mailbox(other, own_label) for other in others)


def is_package(path: Path) -> bool:
    """Tell whether a folder is a mailbox of Apple Mail, or one of Thunderbird with its indexes."""
    return (path / "mbox").is_file() or any(path.glob("*.msf"))


def is_mailbox(path: Path, own_label: str | None = None) -> bool:
    """Tell whether a file or folder in a folder is a separate mailbox."""
    if path.name.startswith("."):
        return False
    if path.is_file():
        name = plain_name(path)
        if Path(name).suffix.lower() in (".tsv", ".csv", ".mbox", ".mbx"):
            return True
        found = _format_of(path, own_label) if Path(name).suffix in ("", ".sbd") else None
        return found is not None and found.name == MBOX
    return path.is_dir() and (is_mailbox_folder(path, own_label) or holds_mail(path, own_label))


def is_mailbox_folder(path: Path, own_label: str | None = None) -> bool:
    """Tell whether a folder is one mailbox, rather than one with several."""
    return is_maildir(path) or is_package(path) or has_both_parts(path, own_label)


def holds_mail(path: Path, own_label: str | None = None) -> bool:
    """Tell whether there is mail anywhere in a folder."""
    entries = islice(read_folder(path, Context(own_label=own_label)), PROBED)
    return any(isinstance(entry, Mail | Deleted) for entry in entries)


def read_folder(path: Path, context: Context) -> Found:
    """Read everything in a folder that is mail, in the order of the names."""
    return _Walk(context).read(path, path.name, context)


class _Walk:
    def __init__(self, context: Context) -> None:
        self._own = context.own_label
        self._seen: set[tuple[int, int]] = set()

    def read(self, path: Path, name: str, context: Context) -> Found:
        status = path.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            return  # a link back
        self._seen.add((status.st_dev, status.st_ino))
        if is_maildir(path):
            yield from read_maildir(path, context, name)
            return
        decided = dict(class_parts(path, self._own)) if context.decided is None else {}
        for child in sorted(path.iterdir()):
            where = f"{name}/{folder_name(child.name)}"
            try:
                yield from self._child(child, where, decided.get(child), context)
            except TROUBLE as error:
                if decided.get(child) is not None and child.is_file():
                    raise  # half of a class is not what its owner meant to give
                yield Skipped(f"{where}: it cannot be read ({getattr(error, 'strerror', None) or error})")

    def _child(self, child: Path, where: str, decided: bool | None, context: Context) -> Found:
        if child.is_dir():
            if child.name.startswith(".") and not (is_maildir(child) or child.name.endswith(".directory")):
                return
            yield from self.read(child, where, self._inside(child, decided, context))
        elif _no_example(child):
            yield PassedOver(f"{where}: no mail")
        else:
            yield from self._file(child, where, decided, context)

    def _inside(self, child: Path, decided: bool | None, context: Context) -> Context:
        inner = class_of_folder(child.name, self._own)
        if len({spam for _, spam in class_parts(child, self._own)}) > 1:
            inner.decided = None  # "spam-corpus" has a part for each class
        elif decided is not None:
            inner.decided = decided
        return context.inside(decided=inner.decided, trash=inner.trash)

    def _file(self, child: Path, where: str, decided: bool | None, context: Context) -> Found:
        inner = context.inside(decided=decided, trash=names_trash(plain_name(child)))
        if decided is not None and Path(plain_name(child)).suffix.lower() == ".txt" and context.decided is None:
            yield from read_lines(child, decided)
            return
        if ONE_MAIL.search(child.name) and context.decided is not None:
            yield from read_text(child, where, inner, context.decided)
            return
        found = format_of(child, self._own)
        if found is not None and (context.decided is None or found.name in WITH_HEADERS):
            yield from found.read(child, inner)
        elif context.decided is not None:
            yield from read_text(child, where, inner, context.decided)
        else:
            yield PassedOver(f"{where}: no mail in a format known here")


def _no_example(path: Path) -> bool:
    return NOT_MAIL.match(path.name) is not None or NO_EXAMPLE.match(path.name) is not None or not path.is_file()


def _format_of(path: Path, own_label: str | None) -> Format | None:
    try:
        return format_of(path, own_label)
    except TROUBLE:
        return None
