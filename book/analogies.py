"""Solve word analogies with word vectors, and score the public list of them (chapter 11; Mikolov et al., 2013).

Man is to king as woman is to ...: the vector of king - man + woman points near queen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from book.data.analogies import Section
from core.data.characters import IntArray
from core.nn import nearest_rows
from core.ops import Array

_AT_A_TIME = 256  # questions: their cosines with all words are held in memory together


class KnownWords(Protocol):
    """A vocabulary that says which words it knows, such as `book.data.vocabulary.FrequentWords`."""

    @property
    def no_words(self) -> tuple[int, ...]:
        """The numbers that stand for no word, padding for example: they are no answers."""

    def __contains__(self, word: str) -> bool: ...

    def index(self, word: str) -> int: ...


@dataclass(frozen=True)
class SectionScore:
    """How many questions of a section were put and answered.

    Attributes:
        questions: how many the section has.
        covered: those of which all four words are known; only these are put.
        right: those of them whose fourth word came first.
        chance: how many of them a word drawn at random, of those that may be answers, would answer.
    """

    name: str
    questions: int
    covered: int
    right: int
    chance: float

    @property
    def accuracy(self) -> float:
        """The share of right answers among the questions put; 0 if none was."""
        return self.right / self.covered if self.covered else 0.0


def unit_rows(table: Array) -> Array:
    """Divide each row by its length; a row of zeros stays as it is."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    units: Array = table / np.where(lengths > 0, lengths, 1)
    return units


def solve(
    table: Array, first: int, second: int, third: int, count: int = 10, without: Sequence[int] = ()
) -> tuple[npt.NDArray[np.int64], Array]:
    """Find what is to the third word as the second is to the first: the rows nearest to second - first + third.

    Args:
        table: shape (words, dim); pass `unit_rows` of it for the usual form, in which frequent words weigh no more.
        first, second, third: row numbers; they are no answers.
        without: other rows that are none: those of padding and of unknown words, where there are such.

    Returns:
        Row numbers, best first, and their cosines, as `core.nn.nearest_rows` gives them.
    """
    asked = [first, second, third]
    return nearest_rows(table, table[second] - table[first] + table[third], count, [*asked, *without])


def score(sections: Iterable[Section], vocabulary: KnownWords, table: Array) -> list[SectionScore]:
    """Put every question of which all four words are known.

    Args:
        table: word vectors in the order of the vocabulary's numbers, shape (words, dim). With frequent words first, a
            table cut short asks and answers within those: words beyond its end count as not known.
    """
    units = unit_rows(table)
    return [_score(section, vocabulary, units) for section in sections]


def _score(section: Section, vocabulary: KnownWords, units: Array) -> SectionScore:
    known = [question for question in section.questions if all(word in vocabulary for word in question)]
    numbers = np.array([[vocabulary.index(word) for word in question] for question in known], np.int64).reshape(-1, 4)
    numbers = numbers[(numbers < len(units)).all(axis=1)]
    no_words = [number for number in vocabulary.no_words if number < len(units)]
    right = sum(int((answers == asked[:, 3]).sum()) for asked, answers in _answered(units, numbers, no_words))
    chance = len(numbers) / max(len(units) - len(no_words) - 3, 1)
    return SectionScore(section.name, len(section.questions), len(numbers), right, chance)


def _answered(units: Array, numbers: IntArray, no_words: list[int]) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield some questions at a time, shape (some, 4), with the best answers, shape (some,)."""
    for start in range(0, len(numbers), _AT_A_TIME):
        asked = numbers[start : start + _AT_A_TIME]
        first, second, third = (units[asked[:, place]] for place in range(3))
        closeness = (second - first + third) @ units.T  # the question's own length makes no difference
        np.put_along_axis(closeness, asked[:, :3], -np.inf, axis=1)
        closeness[:, no_words] = -np.inf
        yield asked, closeness.argmax(axis=1)
