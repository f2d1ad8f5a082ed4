"""From one mail in its source form to an entry of a mailbox: its text, and the first opinion on what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.data.mail.kinds import NAME_OF_FILE, NOTHING, Deleted, Entry, Mail, PassedOver, Skipped
from core.data.mail.labels import Opinion, deletion, opinion_of_filter, opinion_of_labels
from core.data.mail.message import Message, parse, text_of
from core.data.mail.packed import TROUBLE, open_unpacked
from core.data.mail.progress import Progress, Silence

# Whatever the reading of one mail trips over is that mail's fault, and ends the reading of no other.
FAULTS = (LookupError, ValueError, TypeError, AttributeError, AssertionError, OverflowError, RecursionError)
# The first "mail" of an mbox of pine or dovecot, which keeps the numbers of the folder.
INTERNAL = re.compile(r"\s*don'?t delete this message.{0,10}folder internal data", re.IGNORECASE)


@dataclass(frozen=True)
class Context:
    """What is known of a mail before it is read.

    Attributes:
        own_label: the owner's own name for spam, besides those known.
        decided: the class that the folder of a collection says, which outweighs everything.
        named: the class that the name of a mailbox says, which the labels of a single mail outweigh.
        trash: the mails lie in a folder of deleted mail.
        progress: called for every mail.
    """

    own_label: str | None = None
    decided: bool | None = None
    named: bool | None = None
    trash: bool = False
    progress: Progress = field(default_factory=lambda: Silence("mail"))

    def inside(self, *, decided: bool | None = None, trash: bool = False) -> Context:
        """Return the context of a folder or file in this one; what is decided around it stays so."""
        decided = decided if self.decided is None else self.decided
        return replace(self, decided=decided, trash=self.trash or trash)


def entry_of(
    source: bytes | bytearray,
    where: str,
    context: Context,
    *,
    quoted: bool = False,
    keywords: Opinion | None = None,
    deleted_by: str | None = None,
) -> Entry:
    """Read one mail.

    Args:
        where: names the mail to its owner.
        quoted: it comes from an mbox, which quotes lines that begin with "From ".
        keywords: what the mailbox itself says of the mail.
        deleted_by: what marks it as deleted besides its headers.
    """
    context.progress.mail()
    try:
        message = parse(source, quoted=quoted)
        if INTERNAL.match(message.subject):
            return PassedOver(f"{where}: a mail program's own notes")
        marked = deleted_by or ("its folder" if context.trash else deletion(message.headers))
        if marked is not None:
            return Deleted(f"{where}: deleted by its owner ({marked})")
        spam, evidence = _opinion(message, context, keywords)
        return Mail(text_of(message), spam, evidence)
    except FAULTS as error:
        return Skipped(f"{where}: it cannot be read ({type(error).__name__}: {error})")


def entry_of_file(path: Path, where: str, context: Context, **known: str | Opinion | None) -> Entry:
    """Read the one mail in a file; that it cannot be opened is said of it alone."""
    try:
        with open_unpacked(path) as file:
            source = file.read()
    except TROUBLE as error:
        return Skipped(f"{where}: it cannot be read ({getattr(error, 'strerror', None) or error})")
    context.progress.read(len(source))
    return entry_of(source, where, context, **known)  # type: ignore[arg-type]


def _opinion(message: Message, context: Context, keywords: Opinion | None) -> Opinion:
    """Return the first opinion there is. What the owner decided outweighs what a filter thought."""
    if context.decided is not None:
        return context.decided, NAME_OF_FILE
    labels = opinion_of_labels(message.headers, context.own_label) or keywords
    if labels is not None:
        return labels
    if context.named is not None:
        return context.named, NAME_OF_FILE
    return opinion_of_filter(message.headers) or (False, NOTHING)
