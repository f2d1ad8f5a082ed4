"""Names that mean spam: of folders, files and labels, in the languages that mail programs speak.

A name is an opinion only if it is the name of one class. "Junk E-mail", "my-spam" and "spam_2" are; "Not Spam", "All
mail Including Spam and Trash", "Spam and ham" and "Spam recipes" are none: they negate, name several things, or only
have the word in them.
"""

from __future__ import annotations

import re
import unicodedata

from core.data.mail import name_lists

BEFORE = 2
"""How many words that are not known may stand before the name: "bob-spam" is Bob's."""
ENDINGS = re.compile(
    r"\.(?:gz|bz2|xz|mbox|mbx|mbs|eml|emlx|txt|tsv|csv|sbd|directory|maildir|mdir|mail)$", re.IGNORECASE
)
SEVERAL = re.compile(r"[,;&+()（）、，]| - ")
TOKEN = re.compile(r"[^\W\d_]+")


def _phrases(names: str) -> dict[tuple[str, ...], int]:
    phrases = (_tokens(name) for name in names.split(","))
    return {phrase: len(phrase) for phrase in phrases if phrase}


def _tokens(name: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    # Vowel signs are marks, which end no word: "स्पैम".
    whole = "".join(character if unicodedata.category(character)[0] != "M" else "" for character in folded)
    return tuple(TOKEN.findall(whole.replace("'", "")))


SPAM, HAM = _phrases(name_lists.SPAM), _phrases(name_lists.HAM)
NOT_SPAM, TRASH = _phrases(name_lists.NOT_SPAM), _phrases(name_lists.TRASH)
NEUTRAL, TURNING = frozenset(name_lists.NEUTRAL.split()), frozenset(name_lists.TURNING.split())
LONGEST = max(SPAM.values())


def names_spam(label: str, own: str | None = None) -> bool:
    """Tell whether a label is the name of spam in some language, or the owner's own; nothing else may be in it."""
    return any(
        _tokens(part) in SPAM or (own is not None and same_name(part, own)) for part in (label, *label.split("/"))
    )


def names_trash(label: str) -> bool:
    """Tell whether a label or folder is named as the place of deleted mail."""
    return _tokens(ENDINGS.sub("", label)) in TRASH


def same_name(name: str, own: str) -> bool:
    """Tell whether two names are the same but for case, spaces and how their characters are made."""
    folded = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in (name, own)]
    return folded[0] == folded[1] != ""


def class_in_name(name: str, own: str | None = None) -> bool | None:
    """Return the class that a file or folder is named after: True is spam, False ham, None no opinion."""
    while (shorter := ENDINGS.sub("", name)) not in ("", name):
        name = shorter
    if own is not None and same_name(name, own):
        return True
    if SEVERAL.search(re.sub(r"\s*\(\d+\)$", "", name)):
        return None
    tokens = _tokens(name)
    named = [spam for spam, phrases in ((True, SPAM), (False, HAM)) if any((word,) in phrases for word in tokens)]
    if len(named) > 1:
        return None
    return True if _only_name(tokens, SPAM) else False if _only_name(tokens, HAM) else None


def negates(name: str) -> bool:
    """Tell whether a name says "not spam": then, next to a folder of spam, it holds ham."""
    return _tokens(ENDINGS.sub("", name)) in NOT_SPAM


def _only_name(tokens: tuple[str, ...], phrases: dict[tuple[str, ...], int]) -> bool:
    """Tell whether the words are one of the phrases, with nothing around it that changes what it says."""
    for length in range(min(LONGEST, len(tokens)), 0, -1):
        for start in range(len(tokens) - length + 1):
            if tokens[start : start + length] in phrases:
                before, after = tokens[:start], tokens[start + length :]
                unknown = [word for word in before if word not in NEUTRAL]
                return NEUTRAL.issuperset(after) and len(unknown) <= BEFORE and not TURNING.intersection(before)
    return False
