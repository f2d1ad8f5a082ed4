"""Mailboxes: find them, and read them in whatever format they come, one mail at a time or all at once."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from core.data.mail.files import MAIL_ENDINGS, TSV, foreign, format_of
from core.data.mail.folders import has_both_parts, is_mailbox, is_mailbox_folder, is_package, read_folder
from core.data.mail.kinds import Deleted, Entry, Found, Mail, PassedOver, Skipped
from core.data.mail.maildir import class_of_folder, is_maildir
from core.data.mail.packed import PACKED_ENDINGS, TROUBLE, plain_name
from core.data.mail.progress import Progress, Silence
from core.data.mail.sources import Context
from core.errors import DataError

KNOWN_FORMATS = (
    "a file of lines label<TAB>text (.tsv, .tsv.gz or the SMSSpamCollection), a CSV file with a column of labels, "
    "an mbox file, a single mail (.eml), a Maildir, a folder of Thunderbird or Apple Mail, "
    "a folder with the sub-folders ham and spam, one with the files ham.mbox and spam.mbox, "
    "or one with the files ham.txt and spam.txt, one mail a line"
)
FOLDER = "folder of mail"
SMS_FILE = "SMSSpamCollection"
ONE_LABEL = (
    "In mbox and Maildir, spam is known by the headers X-Gmail-Labels, X-Spam-Flag or X-Spam-Status, or by the "
    "name spam or junk of the file or folder; --spam-label NAME names a label or folder of your own"
)
ALL_THE_SAME = "; --allow-one-class trains anyway"


class Labelled(Protocol):
    """Anything that is spam or is not."""

    @property
    def spam(self) -> bool:
        """True for spam, False for ham, None if nothing says which."""


@dataclass
class Opened:
    """A mailbox that is being read: its format, and what is found of everything that is no example.

    Iterating gives its mails, once; the counts are complete afterwards.

    Attributes:
        format: what it is, in words.
        skipped: how many mails could not be read.
        deleted: how many mails their owner had deleted.
        passed_over: how many files are no mails.
        first: the reason for the first of each of these.
    """

    path: Path
    format: str
    entries: Found
    mails: int = 0
    skipped: int = 0
    deleted: int = 0
    passed_over: int = 0
    first: dict[type[Entry], str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Mail]:
        try:
            for entry in self.entries:
                if isinstance(entry, Mail):
                    self.mails += 1
                    yield entry
                else:
                    self._leave_out(entry)
        except gzip.BadGzipFile as error:
            raise DataError(f"{self.path} is named as gzip and is not, or is damaged: {error}") from error
        except TROUBLE as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error
        if not self.mails:
            raise DataError(self._nothing())

    @property
    def first_skipped(self) -> str:
        """Why the first mail that was left out could not be read; empty if none was left out."""
        return self.first.get(Skipped, "")

    def _leave_out(self, entry: Entry) -> None:
        self.skipped += isinstance(entry, Skipped)
        self.deleted += isinstance(entry, Deleted)
        self.passed_over += isinstance(entry, PassedOver)
        if not isinstance(entry, Mail):
            # The name of a file can have bytes that are no character, which nothing can print.
            self.first.setdefault(type(entry), entry.reason.encode("utf-8", "backslashreplace").decode())

    def _nothing(self) -> str:
        if self.skipped:
            return (
                f"{self.path} holds no mail that can be read; the first of {self.skipped} skipped: {self.first_skipped}"
            )
        if self.deleted:
            return (
                f"{self.path} holds only mail that its owner has deleted ({self.deleted}); none is left to learn from"
            )
        if self.passed_over or self.format == FOLDER:
            return f"{self.path} is not a mailbox in a format known here: {KNOWN_FORMATS}"
        return f"{self.path} is empty; expected mails in {KNOWN_FORMATS}"


@dataclass(frozen=True)
class Mailbox:
    """What was read, all at once: for a large mailbox, `open_mailbox` takes less memory.

    Attributes:
        mails: in the order of the mailbox.
        skipped: how many more there are that could not be read.
        first_skipped: which the first of those is and what is wrong with it; empty if there is none.
        deleted: how many more there are that their owner has deleted.
    """

    mails: list[Mail]
    skipped: int
    first_skipped: str = ""
    deleted: int = 0


def read_mailbox(path: Path | str, spam_label: str | None = None) -> Mailbox:
    """Read a mailbox in any format known.

    Args:
        spam_label: the owner's own name for spam: of a label, a folder, or in a column of labels.

    Raises:
        DataError: there is nothing at the path, no format is recognised, the file cannot be read, or no mail is found.
    """
    opened = open_mailbox(path, spam_label)
    return Mailbox(list(opened), opened.skipped, opened.first_skipped, opened.deleted)


def open_mailbox(path: Path | str, spam_label: str | None = None, progress: Progress | None = None) -> Opened:
    """Recognise a mailbox, to read it mail by mail; no more than one mail of it is in memory at a time.

    Raises DataError if there is nothing at the path, no format is recognised, or the file cannot be opened. Iterating
    raises it, too: if the file is damaged, or no mail is found.
    """
    path = Path(path)
    try:
        return _open(path, spam_label, progress or Silence(str(path)))
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is named as gzip and is not, or is damaged: {error}") from error
    except TROUBLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _open(path: Path, own: str | None, progress: Progress) -> Opened:
    if not path.exists():
        raise DataError(f"there is nothing at {path}; expected a mailbox: {KNOWN_FORMATS}")
    # Apple Mail calls the file in the folder of a mailbox "mbox".
    name = path.resolve().parent.name if path.name in ("mbox", "cur") else plain_name(path)
    context = Context(own, named=class_of_folder(name, own).decided, progress=progress)
    if path.is_dir():
        return Opened(path, _folder_format(path, own), read_folder(path, context))
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; save what comes out of it as a file, and give that")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty; expected mails in {KNOWN_FORMATS}")
    found = format_of(path, own)
    if found is None:
        advice = foreign(path)
        if advice is not None:
            raise DataError(f"{path} is {advice}")
        raise DataError(f"{path} is not a mailbox in a format known here: {KNOWN_FORMATS}")
    packed = " (packed)" if path.suffix.lower() in PACKED_ENDINGS else ""
    return Opened(path, found.name + packed, found.read(path, context))


def _folder_format(path: Path, own: str | None) -> str:
    if is_maildir(path):
        return "Maildir"
    if is_package(path):
        return "mailbox of Apple Mail" if (path / "mbox").is_file() else "folder of Thunderbird"
    return "folder with a part for each class" if has_both_parts(path, own) else FOLDER


def require_both_classes(mails: Iterable[Labelled], where: Path | str, otherwise: str = ALL_THE_SAME) -> None:
    """Raise DataError unless there is spam and ham: nothing can be learned from one class alone.

    Args:
        where: what the user gave.
        otherwise: what the user can do besides, to end the sentence.
    """
    classes = {mail.spam for mail in mails}
    missing = [name for name, spam in (("ham", False), ("spam", True)) if spam not in classes]
    if missing:
        raise DataError(
            f"{where} holds no {' and no '.join(missing)}; a mailbox to learn from needs both. {ONE_LABEL}{otherwise}"
        )


def mailboxes_in(folder: Path | str, spam_label: str | None = None) -> list[Path]:
    """Find the mailboxes in a folder, one for each client, sorted by name.

    These are *.tsv, *.csv and *.mbox files (packed or not), files that begin as an mbox, Maildirs, folders of mail
    programs, with a part for each class, or with mails in them; only if there are none of them, the SMS Spam
    Collection. A path that is a mailbox itself is the only one.

    Raises DataError if there is nothing at the path, or no mailbox.
    """
    folder = Path(folder)
    try:
        if not folder.exists():
            raise DataError(f"there is nothing at {folder}; expected a folder of mailboxes")
        if not folder.is_dir() or is_mailbox_folder(folder, spam_label):
            return [folder]
        found = [path for path in sorted(folder.iterdir()) if is_mailbox(path, spam_label)]
        single = not found and _holds_single_mails(folder, spam_label)
    except TROUBLE as error:
        raise DataError(f"{folder} cannot be read: {error}") from error
    if not found and (folder / SMS_FILE).is_file():
        return [folder / SMS_FILE]
    if single:
        return [folder]
    if not found:
        raise DataError(f"{folder} holds no mailbox; expected for each client {KNOWN_FORMATS}")
    return found


def single_mails_in(folder: Path) -> list[Path]:
    """Return the files in a folder that are single mails by their names, in the order of these."""
    return [
        file for file in sorted(folder.iterdir()) if file.suffix.lower() in (*MAIL_ENDINGS, ".emlx") and file.is_file()
    ]


def _holds_single_mails(folder: Path, own: str | None) -> bool:
    formats = (format_of(file, own) for file in sorted(folder.iterdir()) if file.is_file() and file.stat().st_size)
    return any(found is not None and found.name != TSV for found in formats)
