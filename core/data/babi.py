"""bAbI task 1 (Weston et al., 2015): short stories of who went where, and questions about where a person is.

    1 Mary moved to the bathroom.
    2 John went to the hallway.
    3 Where is Mary? <tab>bathroom<tab>1

A line begins with its number in the story; number 1 begins a new story. A question has its answer and the number of
the line that tells it, set apart by tabs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.data.files import read_lines
from core.errors import DataError


@dataclass(frozen=True)
class Statement:
    """A sentence of a story, and the number of its line."""

    number: int
    text: str


@dataclass(frozen=True)
class Question:
    """A question, its answer (one word), and the numbers of the lines that tell it."""

    number: int
    text: str
    answer: str
    support: tuple[int, ...]


@dataclass(frozen=True)
class Story:
    """The lines of a story in their order."""

    lines: tuple[Statement | Question, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The story's lines that tell something, in order."""
        return tuple(line for line in self.lines if isinstance(line, Statement))

    @property
    def questions(self) -> tuple[Question, ...]:
        """The story's lines that ask something, in order."""
        return tuple(line for line in self.lines if isinstance(line, Question))

    def before(self, question: Question) -> tuple[Statement, ...]:
        """Return what is known when the question is asked."""
        return tuple(statement for statement in self.statements if statement.number < question.number)


def read_stories(path: Path | str) -> list[Story]:
    """Read a bAbI file. Raises DataError, naming the line, if it cannot be read or is not in that format."""
    stories: list[list[Statement | Question]] = []
    for place, text in enumerate(read_lines(path), start=1):
        where = f"line {place} of {path}"
        line = _parse(text, where)
        expected = len(stories[-1]) + 1 if stories else 1
        if line.number == 1:
            stories.append([])
        elif line.number != expected:
            raise DataError(f"{where} has the number {line.number}; expected {expected}, or 1 for a new story")
        stories[-1].append(line)
    return [Story(tuple(lines)) for lines in stories]


def flat_lines(path: Path | str, count: int = 1000) -> list[list[str]]:
    """Return the book's view of the first lines: number dropped, lower case, cut at each space.

    A question's answer and supporting line stay one token, tabs included, as in the book; the first thousand lines
    of the published training file have 82 words this way, and 4 to 6 a line.
    """
    return [line.lower().split(" ")[1:] for line in read_lines(path)[:count]]


def words_of(sentence: str) -> list[str]:
    """Cut a sentence into lower-case words, without its full stop or question mark."""
    return re.findall(r"[^\W_]+", sentence.lower())


def write_stories(stories: list[Story]) -> str:
    """Return the text of a bAbI file."""
    return "".join(f"{line}\n" for story in stories for line in _written(story))


def _parse(text: str, where: str) -> Statement | Question:
    number, _, rest = text.partition(" ")
    sentence, *fields = rest.split("\t")
    if not (number.isascii() and number.isdigit()) or not sentence.strip():
        raise DataError(f"{where} is {text[:40]!r}; expected a number, a space and a sentence")
    if not fields:
        return Statement(int(number), sentence.strip())
    support = fields[-1].split()
    if len(fields) != 2 or not fields[0].strip() or not all(s.isascii() and s.isdigit() for s in support):
        raise DataError(f"{where} is {text[:40]!r}; expected question, tab, answer, tab, number of a line")
    return Question(int(number), sentence.strip(), fields[0].strip(), tuple(map(int, support)))


def _written(story: Story) -> Iterator[str]:
    for line in story.lines:
        if isinstance(line, Statement):
            yield f"{line.number} {line.text}"
        else:
            yield f"{line.number} {line.text} \t{line.answer}\t{' '.join(map(str, line.support))}"
