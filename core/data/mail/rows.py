"""Rows of a CSV file, also where a quote is never closed: one lost sign must not hide the mails behind it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator

LONGEST_FIELD = 1 << 24
READ_AGAIN = 1 << 18
"""Characters that may be read a second time in a small file; in a large one, a quarter of what was read."""

Row = list[str]


class _Lines(Iterator[str]):
    """Lines that can be given back, and those taken since the start of the row."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.length = 0

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        self.length += len(line)
        return line

    def give_back(self, lines: list[str]) -> None:
        self._returned.extendleft(reversed(lines))


def read_rows(lines: Iterable[str], delimiter: str, begins_row: Callable[[Row], bool]) -> Iterator[Row]:
    """Yield the rows of a CSV file.

    A row of several lines that is no valid CSV has probably lost its closing quote. If one of its lines begins another
    row, it ends before that line. Not too many lines are read again: in a file that is all quotes, in the end
    every line is a row, so that the time is in step with the length.

    Args:
        begins_row: tells of a line, cut into fields, whether it is the beginning of a row.
    """
    csv.field_size_limit(LONGEST_FIELD)
    source = _Lines(lines)
    rows = csv.reader(source, delimiter=delimiter)
    again = 0
    while True:
        source.taken.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            row = []
        place = _next_row(source.taken, delimiter, begins_row)
        if not place:
            yield row
        elif again > max(READ_AGAIN, source.length // 4):
            yield from (_alone(line, delimiter) for line in source.taken)
        else:
            again += sum(map(len, source.taken[place:]))
            source.give_back(source.taken[place:])
            yield next(csv.reader(source.taken[:place], delimiter=delimiter), [])


def _next_row(taken: list[str], delimiter: str, begins_row: Callable[[Row], bool]) -> int:
    """Return which of a row's lines is the beginning of another row; 0 if none is, or the row is valid CSV."""
    if len(taken) < 2 or _is_valid(taken, delimiter):
        return 0
    return next((place for place, line in enumerate(taken) if place and begins_row(_alone(line, delimiter))), 0)


def _is_valid(lines: list[str], delimiter: str) -> bool:
    try:
        return all(True for _ in csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False


def _alone(line: str, delimiter: str) -> Row:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
