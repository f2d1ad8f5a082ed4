"""The mailbox formats: how each is recognised on the disk, and how its mails are read.

A reader yields each mail as a `Mail`, or a sentence that says why it is skipped. Trouble with the file as a whole is
left to the caller: OSError, EOFError (a gzip cut short) and zlib.error.
"""

from __future__ import annotations

import gzip
import mailbox
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from core.data.files import GZIP_MAGIC
from core.data.message import (
    Mail,
    UnreadableMessageError,
    parse,
    spam_by_filter,
    spam_by_labels,
    text_of,
    text_of_message,
)

Found = Iterator[Mail | str]

CLASSES = {"ham": False, "spam": True, "junk": True}


def label_in_name(name: str) -> bool | None:
    """Return the class that a file or folder is named after: the word spam or junk, or ham; None if neither."""
    found = [CLASSES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in CLASSES]
    return any(found) if found else None


# --- Lines of label, tab, text ---


def looks_like_tsv(path: Path) -> bool:
    """Tell by the name, or by a first line that opens with a label."""
    if path.name.endswith((".tsv", ".tsv.gz")):
        return True
    with _open(path) as file:
        start = file.readline(64).decode("utf-8-sig", "replace")
    return isinstance(_mail_of_line(start, 1), Mail)


def read_tsv(path: Path) -> Found:
    """Read a file of lines `ham<TAB>text` or `spam<TAB>text`, as it is or compressed with gzip."""
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").rstrip("\r\n")
            if text:
                yield _mail_of_line(text, number)


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC or path.suffix == ".gz"
    return cast(BinaryIO, gzip.open(path)) if compressed else path.open("rb")


def _mail_of_line(line: str, number: int) -> Mail | str:
    label, tab, text = line.partition("\t")
    spam = _label_of(label)
    if spam is None or not tab:
        return f"line {number} does not open with ham or spam and a tab"
    return Mail(text, spam)


def _label_of(field: str) -> bool | None:
    return {"ham": False, "spam": True}.get(field.strip().lower())


# --- mbox files and Maildirs ---


def looks_like_mbox(path: Path) -> bool:
    """Tell by the first line, which opens with "From " in every mbox file; an empty .mbox file is one too."""
    with path.open("rb") as file:
        start = file.read(5)
    return start == b"From " or (path.suffix == ".mbox" and not start)


def looks_like_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() and (path / "new").is_dir()


def read_mbox(path: Path, label: bool | None = None) -> Found:
    """Read an mbox file. `label` is the class of all its mails, where the caller knows it."""
    with closing(mailbox.mbox(path, create=False)) as box:
        raws = (box.get_bytes(key) for key in box.iterkeys())
        yield from _label_messages(raws, path.stem, label)


def read_maildir(path: Path, label: bool | None = None) -> Found:
    """Read a Maildir and the folders in it, in the order of the file names."""
    box = mailbox.Maildir(path, create=False)
    yield from _label_messages((box.get_bytes(key) for key in sorted(box.keys())), path.name, label)
    for folder in sorted(path.iterdir()):
        if folder.name not in ("cur", "new", "tmp") and looks_like_maildir(folder):
            yield from read_maildir(folder, label)


def _label_messages(raws: Iterable[bytes], name: str, label: bool | None) -> Found:
    known = label_in_name(name) if label is None else label
    for number, raw in enumerate(raws, start=1):
        try:
            message = parse(raw)
            text = text_of(message)
        except UnreadableMessageError as error:
            yield f"message {number} of {name}: {error}"
            continue
        # What the owner decided (a label given by hand, a mail moved to a folder) outweighs what a filter thought.
        opinions = (label, spam_by_labels(message), known, spam_by_filter(message), False)
        yield Mail(text, next(opinion for opinion in opinions if opinion is not None))


# --- A folder with a sub-folder or a file for each class ---


def class_parts(path: Path) -> list[tuple[Path, bool]]:
    """Return what is named after a class in a folder (`ham/`, `spam/`, `ham.mbox`, `spam.txt` ...), and the class."""
    return [
        (part, CLASSES[part.stem.lower()])
        for part in sorted(path.iterdir())
        if part.stem.lower() in CLASSES and (part.is_dir() or part.suffix in (".mbox", ".txt"))
    ]


def read_class_folder(path: Path) -> Found:
    """Read what is named after its class: sub-folders of one file a mail (text or .eml), Maildirs, mbox files, and
    .txt files of one mail a line."""
    for part, spam in class_parts(path):
        if part.is_file():
            yield from read_mbox(part, spam) if part.suffix == ".mbox" else read_lines(part, spam)
        elif looks_like_maildir(part):
            yield from read_maildir(part, spam)
        else:
            yield from _read_files(part, spam)


def read_lines(path: Path, spam: bool) -> Found:
    """Read a file of one mail a line, all of one class, as it is or compressed with gzip; empty lines are no mails."""
    with _open(path) as lines:
        for line in lines:
            text = line.decode("utf-8-sig", "replace").strip()
            if text:
                yield Mail(text, spam)


def _read_files(folder: Path, spam: bool) -> Found:
    for file in sorted(folder.rglob("*")):
        if file.is_dir() or file.name.startswith("."):
            continue
        try:
            yield Mail(text_of_message(file.read_bytes()), spam)
        except (OSError, UnreadableMessageError) as error:
            yield f"{file.relative_to(folder.parent)}: {error}"
