"""How characters look to a reader: invisible ones do not count, and a letter is the same however it is composed."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

# Invisible: soft hyphens, spaces of no width, marks of direction and language, selectors of a drawing, blank letters,
# and control characters that are no space. (Unicode: Default_Ignorable_Code_Point, and Cc.)
INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Marks that are drawn over or through letters of any script: what is left of them once letters are composed.
DRAWN_OVER = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
MOST_MARKS = 30  # on one letter, as in Unicode's stream-safe text format


def as_seen(text: str) -> str:
    """Return a text in lower case as its reader sees it (NFKC, without what is invisible or drawn over letters)."""
    patterns = _patterns()
    visible = patterns.invisible.sub("", text)
    # Composing takes quadratic time in the number of marks on one letter.
    composed = unicodedata.normalize("NFKC", patterns.many_marks.sub(r"\1", visible))
    # Lower case can bring marks of its own: that of a Turkish dotted I has a dot above it.
    return patterns.drawn_over.sub("", patterns.invisible.sub("", composed).lower())


@cache
def word_pattern() -> re.Pattern[str]:
    """Return a pattern of one word, with the vowel signs that many scripts write as marks, or of a single sign."""
    marks = _marks()
    return re.compile(rf"[^\W_]+(?:[{marks}]+[^\W_]*)*|[^\w\s]|_")


class _Patterns:
    def __init__(self) -> None:
        self.invisible = re.compile(f"[{INVISIBLE}]+")
        self.drawn_over = re.compile(f"[{DRAWN_OVER}]+")
        self.many_marks = re.compile(f"([{_marks()}]{{{MOST_MARKS}}})[{_marks()}]+")


@cache
def _patterns() -> _Patterns:
    return _Patterns()


@cache
def _marks() -> str:
    """Return all combining marks as the ranges of a character class."""
    ranges: list[list[int]] = []
    for number in range(0x300, min(0x20000, sys.maxunicode)):
        if unicodedata.category(chr(number))[0] == "M":
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
