"""A run's public record: all that was signed, added up and opened, one JSON line a round in record.jsonl.

From it and the registrar's public key anyone can compute every signature, sum and model again (results/verifying.py).
It holds nothing that a member of the federation may not know: no ciphertext of a single client, no key. A line has one
form only, so that no byte of it can be changed without that being seen.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import DataError, StorageError

FILE = "record.jsonl"
LARGEST_LINE = 1 << 30
"""Bytes of one round; a bound for files of unknown origin."""


@dataclass(frozen=True, repr=False)
class RoundRecord:
    """One completed round.

    Attributes:
        round: its number, from 1.
        order: a serialised OpenSum: description, commitments, signatures under the list, contributors.
        agreement: a serialised Lend: the signatures of the key holders that agreed to open the sum.
        total: the encrypted sum.
        opened: the sum in clear, with what proves it.
        endorsement: a serialised PayloadHeader: the signatures under the model that follows.
        roster: the registrar's signed list of members at the time; empty if it is that of the round before.
        start: before round 1, the model to start from as bytes, if it is not the task's own; else empty.
    """

    round: int
    order: bytes
    agreement: bytes
    total: bytes
    opened: bytes
    endorsement: bytes
    roster: bytes = field(default=b"")
    start: bytes = field(default=b"")

    def __repr__(self) -> str:
        return f"RoundRecord(round {self.round})"

    def to_line(self) -> str:
        """Return the one line that says this."""
        return f"{_canonical({name: _said(getattr(self, name)) for name in NAMES})}\n"

    @classmethod
    def from_line(cls, line: str, where: str) -> RoundRecord:
        """Read a line. Raises DataError, naming `where`, unless it is written in its one form."""
        try:
            content = json.loads(line)
        except ValueError:
            raise DataError(f"{where} is not JSON") from None
        if not isinstance(content, dict) or sorted(content) != sorted(NAMES):
            raise DataError(f"{where} does not have the fields of a round: {', '.join(NAMES)}")
        if f"{_canonical(content)}\n" != line:
            raise DataError(f"{where} is not written as a record is: sorted keys, no spaces, one line")
        number = content["round"]
        if type(number) is not int or not 1 <= number <= 1_000_000:
            raise DataError(f"{where} has a round {number!r}")
        parts = {name: _bytes(content[name], name, where) for name in NAMES if name != "round"}
        return cls(round=number, **parts)


NAMES = tuple(each.name for each in fields(RoundRecord))


def write_record(folder: Path, lines: Iterable[str]) -> None:
    """Write the record of a run to a folder, whole or not at all. Raises StorageError."""
    partial = folder / f".{FILE}.partial"
    try:
        with partial.open("w", encoding="ascii") as file:
            file.writelines(lines)
        partial.replace(folder / FILE)
    except OSError as error:
        raise StorageError(f"the record cannot be written to {folder}: {error.strerror}") from error


def read_record(path: Path) -> Iterator[RoundRecord]:
    """Yield the rounds of a record. Raises DataError for a file that is none."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(LARGEST_LINE), b""), start=1):
                try:
                    line = raw.decode("ascii")
                except UnicodeDecodeError:
                    raise DataError(f"line {number} of {path} is not plain text") from None
                yield RoundRecord.from_line(line, f"line {number} of {path}")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _said(value: int | bytes) -> Any:
    return value if isinstance(value, int) else base64.b64encode(value).decode()


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _bytes(text: Any, name: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise DataError(f"{name} in {where} is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise DataError(f"{name} in {where} is not written in its one form")
    return raw
