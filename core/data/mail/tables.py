"""CSV files with a mail a row, in the forms that collections are published in and spreadsheets write."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from core.data.mail.kinds import LABEL_IN_COLUMN, Found, Mail, Skipped
from core.data.mail.lines import CLASSES, class_of, decoded_lines, encoding_of
from core.data.mail.names import same_name
from core.data.mail.packed import open_unpacked, read_start
from core.data.mail.rows import Row, read_rows
from core.errors import DataError

NUMBERS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "no": False, "yes": True}
LABEL_NAMES = re.compile(
    r"v1|labels?|class|category|categories|type|target|spam|is_?spam|spam/ham|ham/spam|spam_ham|label_num|y|spam_?label|"
    r"result|prediction|output|kategorie|klasse|etiqueta|étiquette|etichetta|метка",
    re.IGNORECASE,
)
TEXT_NAMES = re.compile(
    r"v2|texts?|messages?|body|content|contents|sms|emails?|e-?mail_?text|mail|mails|email_?body|message_?body|"
    r"text_|nachricht|texto|mensaje|mensagem|texte|testo|сообщение|текст",
    re.IGNORECASE,
)
SUBJECT_NAMES = re.compile(r"subject|betreff|asunto|assunto|objet|oggetto|title|тема", re.IGNORECASE)
LETTER = re.compile(r"[^\W\d_]")
DELIMITERS = ",;\t|"
SAMPLED_ROWS = 50
ENOUGH = 0.8
"""The share of rows that must have a label for a column to be that of labels."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what. Columns without a name go on with the text, as in the SMS collection."""

    delimiter: str
    label: int
    text: tuple[int, ...]
    subject: int | None
    header: bool
    classes: dict[str, bool]

    def class_in(self, row: Row, own: str | None) -> bool | None:
        """Return the class that a row's label names; None if it names none."""
        return class_of(row[self.label], own, self.classes) if self.label < len(row) else None

    def mail_of(self, row: Row, number: int, own: str | None) -> Mail | Skipped | None:
        """Return the mail of a row, why it is left out, or None for an empty row."""
        if row is None:
            return Skipped(f'row {number} opens a quote (") that is never closed')
        if not any(field.strip() for field in row):
            return None
        spam = self.class_in(row, own)
        if spam is None:
            label = row[self.label] if self.label < len(row) else ""
            return Skipped(f"row {number} has {label[:20]!r} where the label ham or spam is due")
        text = " ".join(field for place in self.text if place < len(row) and (field := row[place]).strip())
        if self.subject is not None and self.subject < len(row):
            text = f"Subject: {row[self.subject]}\n{text}"
        return Mail(text, spam, LABEL_IN_COLUMN)


def find_columns(lines: Iterable[str], own: str | None = None) -> Columns | None:
    """Find the column of labels and that of texts by the first rows of a table; None if there are none."""
    sample = list(lines)
    tried = ((delimiter, label) for label in dict.fromkeys((None, own)) for delimiter in DELIMITERS)
    found = (_columns(sample, delimiter, label) for delimiter, label in tried)
    return next((columns for columns in found if columns is not None), None)


def _columns(sample: list[str], delimiter: str, own: str | None) -> Columns | None:
    found = read_rows(sample, delimiter, lambda row: any(class_of(field, own) is not None for field in row))
    rows = list(islice((row for row in found if any(field.strip() for field in row)), SAMPLED_ROWS))
    if not rows or max(map(len, rows)) < 2:
        return None
    width = max(map(len, rows))
    for classes in (CLASSES, NUMBERS):
        for column in range(width):
            fields = [row[column] if column < len(row) else "" for row in rows]
            header = class_of(fields[0], own, classes) is None or (own is not None and _names_columns(rows[0]))
            data = fields[header:]
            known = sum(class_of(field, own, classes) is not None for field in data)
            if own is not None and not any(same_name(field, own) for field in data):
                continue
            named = LABEL_NAMES.fullmatch(fields[0].strip()) is not None
            if classes is NUMBERS and not (named if header else column in (0, width - 1)):
                continue
            if data and known >= ENOUGH * len(data):
                return _with_texts(Columns(delimiter, column, (), None, header, classes), rows, width)
    return None


def _names_columns(row: list[str]) -> bool:
    return any(TEXT_NAMES.fullmatch(field.strip()) for field in row)


def _with_texts(columns: Columns, rows: list[list[str]], width: int) -> Columns | None:
    names = [name.strip() for name in rows[0]] if columns.header else []
    others = [place for place in range(width) if place != columns.label]
    data = rows[columns.header :]
    named = [place for place in others if place < len(names) and TEXT_NAMES.fullmatch(names[place])]
    subjects = [place for place in others if place < len(names) and SUBJECT_NAMES.fullmatch(names[place])]

    def letters(place: int) -> int:
        return sum(len(row[place]) for row in data if place < len(row))

    text = named[0] if named else max((place for place in others if place not in subjects), key=letters, default=None)
    if text is None or not any(LETTER.search(row[text]) for row in data if text < len(row)):
        return None
    unnamed = [
        place for place in others if place > text and columns.header and (place >= len(names) or not names[place])
    ]
    subject = subjects[0] if subjects else None
    return Columns(columns.delimiter, columns.label, (text, *unnamed), subject, columns.header, columns.classes)


def csv_encoding(path: Path) -> str:
    """Return the encoding of a table: by its byte-order mark, or UTF-8, or Windows-1252, which spreadsheets write."""
    return encoding_of(read_start(path, 4096)) or _unless_utf8(path, "cp1252")


def csv_columns(path: Path, own: str | None = None) -> Columns | None:
    """Return which columns of a CSV file are labels and texts; None if it has none."""
    start = read_start(path, 1 << 18)
    text = start.decode(encoding_of(start[:4096]) or "utf-8-sig", "replace")
    lines = text.splitlines(keepends=True)
    return find_columns(lines[:-1] if len(start) == 1 << 18 else lines, own)


def read_csv(path: Path, own: str | None = None) -> Found:
    """Read a CSV file with a column of labels and one of texts, in any encoding, with any of the usual delimiters.

    Raises DataError if there are no such columns.
    """
    columns = csv_columns(path, own)
    if columns is None:
        raise DataError(
            f"{path} is read as CSV, and no column of it has the labels ham and spam; give it one, and one of texts, "
            "such as rows of `ham,the text` or a first row `label,text`"
        )
    lines = decoded_lines(path, csv_encoding(path))
    rows = read_rows(lines, columns.delimiter, lambda row: columns.class_in(row, own) is not None)
    for number, row in enumerate(rows, start=1):
        if number == 1 and columns.header:
            continue
        entry = columns.mail_of(row, number, own)
        if entry is not None:
            yield entry


def _unless_utf8(path: Path, otherwise: str) -> str:
    """Return UTF-8, or another encoding if the file is not UTF-8 throughout."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_unpacked(path) as file:
        try:
            while piece := file.read(1 << 20):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return otherwise
    return "utf-8-sig"
