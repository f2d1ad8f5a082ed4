"""One mail message: its text as the model sees it, and what its headers say about spam.

Mail comes from anybody and breaks every rule there is. Unknown or wrong character sets are decoded as well as can be;
what the standard library cannot make sense of at all is `UnreadableMessageError`, for the caller to count and skip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.policy import default
from html.parser import HTMLParser

from core.errors import DataError


@dataclass(frozen=True)
class Mail:
    """A labelled mail: the text that the model sees, subject first, and whether it is spam."""

    text: str
    spam: bool


class UnreadableMessageError(DataError):
    """A message that cannot be decoded."""


# What the standard library's mail parser raises on malformed input: besides its own errors, whatever its header
# parsing trips over, and nesting beyond the recursion limit.
PARSER_FAULTS = (
    MessageError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
)

# A text is taken for a raw message if it opens with header lines only and two of these are among them.
KNOWN_HEADERS = re.compile(
    rb"^(subject|from|to|date|received|return-path|message-id|mime-version|content-type|delivered-to|reply-to|x-[\w-]+):",
    re.IGNORECASE | re.MULTILINE,
)
HEADER_LINE = re.compile(rb"(From .*|[!-9;-~]+:.*|[ \t].*)")


def text_of_message(content: bytes | str) -> str:
    """Return the text of one message to be judged: a raw e-mail (an .eml file) or plain text.

    Of an e-mail that is "Subject: ", the subject, and the body; of plain text, the text itself. Bytes that are not
    UTF-8 and not declared as anything else become U+FFFD.

    Raises UnreadableMessageError if an e-mail cannot be decoded.
    """
    raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if not _is_message(raw):
        return raw.decode("utf-8", "replace").removeprefix("\ufeff")
    return text_of(parse(raw))


def parse(raw: bytes) -> EmailMessage:
    """Parse a raw e-mail; raise UnreadableMessageError if that fails."""
    try:
        return message_from_bytes(raw, _class=EmailMessage, policy=default)
    except PARSER_FAULTS as error:
        raise UnreadableMessageError(f"a message cannot be parsed: {error}") from error


def text_of(message: EmailMessage) -> str:
    """Return "Subject: ", the subject, and the body of a message: its plain text, or else its HTML without the marks.

    Attachments do not count. Raises UnreadableMessageError if it cannot be decoded.
    """
    try:
        return _well_formed(f"Subject: {message.get('Subject', '')}\n{_body(message)}")
    except PARSER_FAULTS as error:
        raise UnreadableMessageError(f"a message cannot be decoded: {error}") from error


def spam_by_labels(message: EmailMessage) -> bool | None:
    """Return whether the labels of a Gmail export (Takeout) say spam; None if it has none."""
    labels = _header(message, "X-Gmail-Labels")
    if labels is None:
        return None
    return any(label.strip().strip('"').lower() == "spam" for label in labels.split(","))


def spam_by_filter(message: EmailMessage) -> bool | None:
    """Return what a spam filter on the way wrote into the headers; None if it wrote nothing."""
    for name in ("X-Spam-Flag", "X-Spam-Status"):
        verdict = _header(message, name)
        if verdict is not None:
            return verdict.strip().lower().startswith("yes")
    return None


def _is_message(raw: bytes) -> bool:
    head = re.split(rb"\r?\n[ \t]*\r?\n", raw.removeprefix(b"\xef\xbb\xbf"), maxsplit=1)[0]
    lines = head.split(b"\n")
    return len(KNOWN_HEADERS.findall(head)) >= 2 and all(HEADER_LINE.fullmatch(line) for line in lines if line.strip())


def _header(message: EmailMessage, name: str) -> str | None:
    try:
        value = message.get(name)
    except PARSER_FAULTS:
        return None
    return None if value is None else str(value)


def _body(message: EmailMessage) -> str:
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    for part in parts:
        if part is not None:
            text = _decode(part)
            text = html_to_text(text) if part.get_content_subtype() == "html" else text
            if text.strip():
                return text
    return ""


def _decode(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):  # an invented character set
        return payload.decode("utf-8", "replace")


def _well_formed(text: str) -> str:
    """Replace what cannot be written as UTF-8: bytes of unknown meaning that the parser smuggled into headers."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- HTML ---

BLOCK_TAGS = "address blockquote br dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre table td th title tr ul"
BREAKS = frozenset(BLOCK_TAGS.split())
HIDDEN = frozenset(("script", "style"))


class _TextOfHtml(HTMLParser):
    """Collect what a reader would see. Only blocks separate words: "fr<b>e</b>e" reads "free"."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag in HIDDEN:
            self.hidden = tag
        self._break_at(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self.hidden:
            self.hidden = ""
        self._break_at(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.pieces.append(data)

    def _break_at(self, tag: str) -> None:
        if tag in BREAKS:
            self.pieces.append("\n")


def html_to_text(html: str) -> str:
    """Return the visible text of an HTML page or fragment, however malformed."""
    parser = _TextOfHtml()
    try:
        parser.feed(html)
        parser.close()
    except AssertionError:  # how the standard library answers to "<![" followed by nonsense
        return re.sub(r"<[^>]*>", " ", html)
    return "".join(parser.pieces)
