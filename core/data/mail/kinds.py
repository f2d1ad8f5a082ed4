"""What a mailbox is read as: mails, and what is no example, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# What can say that a mail is spam, besides headers.
LABEL_IN_LINE = "the label in its line"
LABEL_IN_COLUMN = "the label in its row"
NAME_OF_FILE = "the name of its folder or file"
NOTHING = "nothing says so (taken for ham)"


@dataclass(frozen=True, slots=True)
class Mail:
    """A labelled mail: the text that the model sees, subject first, and whether it is spam.

    Attributes:
        evidence: what said so, as one of a few phrases; empty for mails that come from no mailbox.
    """

    text: str
    spam: bool
    evidence: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A mail that cannot be read, and why not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A mail that its owner has deleted, and that is still there."""

    reason: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file among mails that is not a mail, such as an index."""

    reason: str


Entry = Mail | Skipped | Deleted | PassedOver
Found = Iterator[Entry]
