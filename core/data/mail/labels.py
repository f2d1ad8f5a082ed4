"""What the headers of a mail say: whether it is spam, and whether its owner has deleted it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from core.data.mail.headers import Headers
from core.data.mail.names import names_spam, names_trash, same_name

GMAIL = "X-Gmail-Labels"
# Key words as mail programs keep them; "$" marks those that IMAP defines.
KEYWORD_HEADERS = ("X-Keywords", "X-Mozilla-Keys", "Keywords", "X-Label", "X-Labels")
JUNK_KEYWORDS = frozenset(("$junk", "junk", "$spam", "spam"))
NOT_JUNK_KEYWORDS = frozenset(("$notjunk", "$nonjunk", "notjunk", "nonjunk", "$notspam", "notspam", "nonspam"))

OWN_LABEL = "the label named by --spam-label"
GMAIL_LABEL = f"{GMAIL} (the owner's labels)"
KEYWORD = "a keyword of the mail program (Junk, NonJunk)"

MOZILLA_EXPUNGED = 0x8
MOZILLA_IMAP_DELETED = 0x200000
EVOLUTION_DELETED = 0x2

Opinion = tuple[bool, str]


def opinion_of_labels(headers: Headers, own: str | None) -> Opinion | None:
    """Return what the owner's labels say and which they are; None if there are none."""
    gmail = headers.text("x-gmail-labels")
    labels = [] if gmail is None else split_labels(gmail)
    keywords = [word for name in KEYWORD_HEADERS for word in _keywords(headers, name)]
    if own is not None and any(same_name(label, own) for label in (*labels, *keywords)):
        return True, OWN_LABEL
    if gmail is not None:
        return any(names_spam(label) for label in labels), GMAIL_LABEL
    return opinion_of_keywords(keywords)


def opinion_of_keywords(keywords: Iterable[str]) -> Opinion | None:
    """Return what a mail program's key words say; None if they say nothing."""
    lower = {word.lower() for word in keywords}
    if NOT_JUNK_KEYWORDS & lower:
        return False, KEYWORD
    return (True, KEYWORD) if JUNK_KEYWORDS & lower else None


def split_labels(value: str) -> list[str]:
    """Split labels at commas; quotes hold a label with commas together."""
    labels, label, quoted = [], "", False
    for piece in re.split(r'([",])', value):
        if piece == '"':
            quoted = not quoted
        elif piece == "," and not quoted:
            labels.append(label.strip())
            label = ""
        else:
            label += piece
    return [label for label in (*labels, label.strip()) if label]


def _keywords(headers: Headers, name: str) -> list[str]:
    value = headers.text(name.lower())
    if value is None:
        return []
    return [*split_labels(value), *value.split()]


# --- Filters ---

YES = re.compile(r"(?:yes|true|spam|junk|bulk|1\b|positive)", re.IGNORECASE)
NO = re.compile(r"(?:no|false|ham|innocent|whitelisted|clean|0\b|negative|unsure)", re.IGNORECASE)
FILTERS = (
    "X-Spam-Flag",
    "X-Spam-Status",
    "X-Spam",
    "X-Bogosity",
    "X-DSPAM-Result",
    "X-Spambayes-Classification",
    "X-CRM114-Status",
    "X-Rspamd-Spam",
    "X-Barracuda-Spam-Flag",
    "X-Barracuda-Spam-Status",
    "X-Proofpoint-Spam-Details",
    "X-Ms-Exchange-Organization-SCL",
    "X-Forefront-Antispam-Report",
    "X-Microsoft-Antispam-Mailbox-Delivery",
)
SURE_OF_SPAM = 5
"""The confidence level (SCL) from which Exchange puts a mail into the junk folder."""


def opinion_of_filter(headers: Headers) -> Opinion | None:
    """Return what a spam filter on the way wrote into the headers, and which header it is; None if there is none."""
    for name in FILTERS:
        value = headers.raw(name.lower())
        verdict = None if value is None else _verdict(name, value.strip())
        if verdict is not None:
            return verdict, f"{name} (a filter's verdict)"
    return None


def _verdict(name: str, value: str) -> bool | None:
    if name.endswith("SCL"):
        number = re.match(r"-?\d{1,3}", value)
        return None if number is None else int(number[0]) >= SURE_OF_SPAM
    if name == "X-Forefront-Antispam-Report":
        found = re.search(r"\bSFV:(SPM|SKB|SKS|NSPM|SKN|SFE)\b", value)
        return None if found is None else found[1] in ("SPM", "SKB", "SKS")
    if name == "X-Microsoft-Antispam-Mailbox-Delivery":
        found = re.search(r"\bdest:([IJ])\b", value)
        return None if found is None else found[1] == "J"
    if name == "X-Proofpoint-Spam-Details":
        found = re.search(r"\brule=(\w+)", value)
        return None if found is None else "notspam" not in found[1] and "spam" in found[1]
    return True if YES.match(value) else False if NO.match(value) else None


# --- Deleted ---


def deletion(headers: Headers) -> str | None:
    """Return which header says that the owner deleted a mail; None if none does.

    Programs only mark such mails until they compact the file: Thunderbird (X-Mozilla-Status), Evolution, mutt, pine and
    dovecot (Status, X-Status). Gmail has a label for them.
    """
    if _flags(headers.raw("x-mozilla-status")) & MOZILLA_EXPUNGED:
        return "X-Mozilla-Status"
    if _flags(headers.raw("x-mozilla-status2")) & MOZILLA_IMAP_DELETED:
        return "X-Mozilla-Status2"
    if _flags((headers.raw("x-evolution") or "").partition("-")[2][:4]) & EVOLUTION_DELETED:
        return "X-Evolution"
    for name in ("X-Status", "Status"):
        if re.fullmatch(r"[A-Za-z]{0,9}D[A-Za-z]{0,9}", headers.raw(name.lower()) or ""):
            return name
    if any(names_trash(label) for label in split_labels(headers.text("x-gmail-labels") or "")):
        return GMAIL
    return None


def _flags(value: str | None) -> int:
    found = re.fullmatch(r"\s*([0-9a-fA-F]{1,16})\s*", value or "")
    return 0 if found is None else int(found[1], 16)
