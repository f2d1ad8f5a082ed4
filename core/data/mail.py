"""Mailboxes: find them, read them in whatever format they come, write them in the simplest.

What a mailbox can be:

- a file of lines `label<TAB>text` with the labels ham and spam, named *.tsv, *.tsv.gz (gzip) or anything, such as the
  published SMSSpamCollection. A line without label is counted and skipped (a header line, a stray line end);
- an mbox file, or a Maildir with its sub-folders. The first of these that says anything decides whether a mail is
  spam: the label Spam among its X-Gmail-Labels (Google Takeout); the word spam, junk or ham in the name of the file or
  folder; X-Spam-Flag; X-Spam-Status. Mail of which nothing is said is ham;
- a folder of sub-folders ham/ and spam/ (or junk/) with one file a mail (text or .eml), or with a Maildir in each;
- a folder of the files ham.mbox and spam.mbox (or junk.mbox), or of the files ham.txt and spam.txt (or junk.txt) with
  one mail a line, as the book's data comes.

A mail's text is "Subject: ", its subject and its body. Mail that cannot be decoded is counted and skipped.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.data import formats
from core.data.message import Mail, text_of_message
from core.errors import DataError, StorageError

__all__ = ["Mail", "Mailbox", "mailboxes_in", "read_mailbox", "require_both_classes", "text_of_message", "write_tsv"]

KNOWN_FORMATS = (
    "a file of lines label<TAB>text (.tsv, .tsv.gz or the SMSSpamCollection), an mbox file, a Maildir, "
    "a folder with the sub-folders ham and spam, one with the files ham.mbox and spam.mbox, "
    "or one with the files ham.txt and spam.txt, one mail a line"
)
SMS_FILE = "SMSSpamCollection"


@dataclass(frozen=True)
class Mailbox:
    """What was read.

    Attributes:
        mails: in the order of the mailbox.
        skipped: how many more there are that could not be read.
        first_skipped: which the first of those is and what is wrong with it; empty if there is none.
    """

    mails: list[Mail]
    skipped: int
    first_skipped: str = ""


def read_mailbox(path: Path | str) -> Mailbox:
    """Read a mailbox in any of the formats above.

    Raises DataError if there is nothing at the path, no format is recognised, the file cannot be read, or no mail
    is found.
    """
    path = Path(path)
    try:
        found = list(_reader(path))
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is named as gzip and is not, or is damaged: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    mails = [entry for entry in found if isinstance(entry, Mail)]
    reasons = [entry for entry in found if isinstance(entry, str)]
    if not mails and reasons:
        raise DataError(f"{path} holds no mail that can be read; the first of {len(reasons)} skipped: {reasons[0]}")
    if not mails:
        raise DataError(f"{path} is empty; expected mails in {KNOWN_FORMATS}")
    return Mailbox(mails, len(reasons), reasons[0] if reasons else "")


def _reader(path: Path) -> formats.Found:
    if not path.exists():
        raise DataError(f"there is nothing at {path}; expected a mailbox: {KNOWN_FORMATS}")
    if path.is_dir():
        if formats.looks_like_maildir(path):
            return formats.read_maildir(path)
        if formats.class_parts(path):
            return formats.read_class_folder(path)
    elif formats.looks_like_mbox(path):
        return formats.read_mbox(path)
    elif formats.looks_like_tsv(path):
        return formats.read_tsv(path)
    elif not path.stat().st_size:
        return iter(())
    raise DataError(f"{path} is not a mailbox in a format known here: {KNOWN_FORMATS}")


def require_both_classes(mails: Iterable[Mail], where: Path | str) -> None:
    """Raise DataError unless there is spam and ham: from one class alone nothing can be told apart."""
    classes = {mail.spam for mail in mails}
    missing = [name for name, spam in (("ham", False), ("spam", True)) if spam not in classes]
    if missing:
        raise DataError(
            f"{where} holds no {' and no '.join(missing)}; a mailbox to learn from needs both. "
            "In mbox and Maildir, spam is known by the headers X-Gmail-Labels, X-Spam-Flag or X-Spam-Status, or by the "
            "name spam or junk of the file or folder; --allow-one-class trains all the same"
        )


def mailboxes_in(folder: Path | str) -> list[Path]:
    """Find the mailboxes in a folder, one for each client, sorted by name.

    These are *.tsv, *.tsv.gz and *.mbox files, Maildirs and folders with a part for each class; only if there are
    none of them, the SMS Spam Collection. A path that is a mailbox itself is the only one.

    Raises DataError if there is nothing at the path, or no mailbox.
    """
    folder = Path(folder)
    try:
        if not folder.exists():
            raise DataError(f"there is nothing at {folder}; expected a folder of mailboxes")
        if not folder.is_dir() or _is_mailbox_folder(folder):
            return [folder]
        found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and _is_mailbox(path)]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error}") from error
    if not found and (folder / SMS_FILE).is_file():
        found = [folder / SMS_FILE]
    if not found:
        raise DataError(f"{folder} holds no mailbox; expected for each client {KNOWN_FORMATS}")
    return found


def _is_mailbox(path: Path) -> bool:
    if path.is_dir():
        return _is_mailbox_folder(path)
    return path.name.endswith((".tsv", ".tsv.gz", ".mbox"))


def _is_mailbox_folder(path: Path) -> bool:
    return formats.looks_like_maildir(path) or bool(formats.class_parts(path))


def write_tsv(path: Path | str, mails: Iterable[Mail]) -> None:
    """Write mails as lines `label<TAB>text`, compressed if the name ends in .gz; the same mails give the same bytes.

    Line ends and other spaces in a text become single spaces: the model sees the same words.
    Raises StorageError if the file cannot be written.
    """
    path = Path(path)
    lines = (f"{'spam' if mail.spam else 'ham'}\t{' '.join(mail.text.split())}\n" for mail in mails)
    content = "".join(lines).encode("utf-8", "replace")
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
