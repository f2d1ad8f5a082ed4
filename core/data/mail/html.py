"""HTML as its reader sees it: the text without the tags, in one pass over the source whatever is broken in it.

The standard library's `html.parser` takes quadratic time for tags that are opened and never closed, so that one mail
can stop its reader for minutes. Here every search either moves forward or ends the page: twice the source takes twice
the time. Like a browser, an unfinished tag or comment hides the rest of the page.
"""

from __future__ import annotations

import html
import re

BLOCK_TAGS = (
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr html legend li main nav ol option p pre section select summary table tbody "
    "td textarea tfoot th thead title tr ul"
)
BREAKS = frozenset(BLOCK_TAGS.split())
HIDDEN = frozenset(("script", "style"))

MARKUP = re.compile(r"<(?=[a-zA-Z!/?])")
TAG_NAME = re.compile(r"[a-zA-Z][^\s/>]*")
# Inside a tag a quote hides a ">" only as the value of an attribute: after "=".
TAG_STEP = re.compile(r""">|=\s*(["'])""")
END_OF_HIDDEN = {tag: re.compile(rf"</{tag}(?=[\s/>])", re.IGNORECASE) for tag in HIDDEN}
# A number of more digits is no character, and `html.unescape` refuses thousands of them.
ENTITY = re.compile(r"&(?:#[0-9]{1,8}(?![0-9])|#[xX][0-9a-fA-F]{1,8}(?![0-9a-fA-F])|[a-zA-Z][a-zA-Z0-9]{1,31});?")
LOOKS_LIKE_HTML = re.compile(
    r"\s*(?:<!--.{0,200}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


def html_to_text(source: str) -> str:
    """Return the visible text of an HTML page or fragment, however malformed.

    Only blocks separate words: "fr<b>e</b>e" reads "free".
    """
    pieces: list[str] = []
    place = 0
    while (markup := MARKUP.search(source, place)) is not None:
        pieces.append(_unescape(source[place : markup.start()]))
        place = _after_markup(source, markup.start(), pieces)
        if place < 0:
            return "".join(pieces)
    pieces.append(_unescape(source[place:]))
    return "".join(pieces)


def looks_like_html(text: str) -> bool:
    """Tell whether a text that is not declared as HTML is a whole page of it."""
    return LOOKS_LIKE_HTML.match(text) is not None


def _after_markup(source: str, start: int, pieces: list[str]) -> int:
    """Return where the text continues after the "<" at `start`, or -1 if it does not; add line breaks to `pieces`."""
    closing = source.startswith("</", start)
    name = TAG_NAME.match(source, start + 1 + closing)
    if name is None:
        return _after_no_tag(source, start)
    tag = name[0].lower()
    end = _end_of_tag(source, name.end())
    if tag in BREAKS:
        pieces.append("\n")
    if end < 0 or closing or tag not in HIDDEN:
        return end
    hidden = END_OF_HIDDEN[tag].search(source, end)
    return -1 if hidden is None else hidden.start()


def _after_no_tag(source: str, start: int) -> int:
    """Pass over a comment, a declaration or a processing instruction."""
    if source.startswith("<!--", start):
        if source.startswith((">", "->"), start + 4):
            return source.index(">", start + 4) + 1
        return _after(source, "-->", start + 4)
    return _after(source, ">", start + 2)


def _end_of_tag(source: str, place: int) -> int:
    while (step := TAG_STEP.search(source, place)) is not None:
        if step[1] is None:
            return step.end()
        place = source.find(step[1], step.end()) + 1
        if not place:  # a value that is never closed ends with its tag; there can be one of each kind of quote
            return _after(source, ">", step.end())
    return -1


def _after(source: str, end: str, place: int) -> int:
    found = source.find(end, place)
    return found + len(end) if found >= 0 else -1


def _unescape(text: str) -> str:
    return ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text
