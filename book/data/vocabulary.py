"""Words and their numbers, counted from training text; for data that is public. Mail has fixed lists (text.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from core.errors import DataError
from core.indices import Array, as_indices, check_indices

PADDING = "<padding>"
UNKNOWN = "<unknown>"


class FrequentWords:
    """A vocabulary in order of frequency: number 0 is padding, number 1 every unknown word, then the most frequent.

    Args:
        texts: the words of each training text, cut by `core.data.text.words` say; words of nothing but white space
            do not count. Never count test texts: their words would become known.
        largest: how many words at most to know, padding and unknown not counted; None knows all.
        least: how often a word must occur to be known.

    Raises:
        DataError: no word is left to be known.
        ValueError: no word at all may be known.
        TypeError: a text is a string instead of a list of words.

    Attributes:
        no_words: the numbers that stand for no certain word: padding and unknown.
    """

    padding = 0
    unknown = 1
    no_words = (padding, unknown)

    def __init__(self, texts: Iterable[Iterable[str]], largest: int | None = None, least: int = 1) -> None:
        if largest is not None and largest < 1:
            raise ValueError(f"the largest number of words to know must be at least 1, not {largest}")
        counts = Counter(word for text in map(cut, cut(texts, "texts")) for word in text if word.strip())
        # Of equally frequent words the alphabet decides, so that the order depends on the texts only.
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        known = [word for word in ranked if counts[word] >= least][:largest]
        if not known:
            raise DataError(f"the training texts hold no word that occurs at least {least} times")
        self.words = (PADDING, UNKNOWN, *known)
        self._numbers = {word: number for number, word in enumerate(known, start=2)}

    @property
    def size(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def index(self, word: str) -> int:
        """Return a word's number, which is `unknown` for words not in the list."""
        return self._numbers.get(word, self.unknown)

    def encode(self, words: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return the numbers of words, shape (words,).

        A string is taken letter by letter where its letters are known words, and else refused with TypeError.
        """
        if isinstance(words, str) and not all(letter in self for letter in words):
            cut(words)
        return np.fromiter(map(self.index, words), np.int64)

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Return the words of numbers; padding and unknown words by their names in angle brackets.

        Raises IndexError for a number that is no word's.
        """
        return [self.words[self._checked(number)] for number in numbers]

    def _checked(self, number: int) -> int:
        if not 0 <= number < self.size:
            raise IndexError(
                f"the number {number} is not among the {self.size} of this vocabulary, 0 ... {self.size - 1}"
            )
        return number


Part = TypeVar("Part")


def cut(text: Iterable[Part], name: str = "a text") -> Iterable[Part]:
    """Return words as they are; raise TypeError for a sentence, whose letters they would be taken for."""
    if isinstance(text, str | bytes):
        raise TypeError(f"{name} must be cut into a list of words, not {text[:40]!r}: core.data.text.words() does it")
    return text


def one_hot(numbers: npt.ArrayLike, size: int, dtype: npt.DTypeLike = np.float64) -> Array:
    """Write each number as a row of zeros with a 1 in its place: (...) -> (..., size) (chapters 5, 8 and 11).

    Raises IndexError for a number outside 0 ... size - 1, and TypeError for one that is not whole.
    """
    places = as_indices(np.asarray(numbers))
    check_indices(places, size, "numbers")
    return np.equal(places[..., None], np.arange(size)).astype(dtype)


def bag_of_words(
    numbers: npt.ArrayLike, size: int, *, counts: bool = False, dtype: npt.DTypeLike = np.float64
) -> Array:
    """Write the word numbers of one text, shape (words,), as one vector, shape (size,) (chapter 11).

    Each word that is there has a 1 in its place: the order is lost, repeats are lost.

    Args:
        counts: whether to write how often each word is there, not only that it is.

    Raises:
        IndexError: a number lies outside 0 ... size - 1.
        TypeError: a number is not whole.
    """
    places = as_indices(np.asarray(numbers))
    check_indices(places, size, "numbers")
    times = np.bincount(places, minlength=size)
    return (times if counts else times > 0).astype(dtype)


def pad(rows: Sequence[npt.NDArray[np.int64]], length: int, padding: int = 0) -> npt.NDArray[np.int64]:
    """Lay rows of numbers into a table (rows, length): short ones end in padding, long ones lose their beginning."""
    if length < 1:
        raise ValueError(f"rows of {length} numbers hold nothing; at least 1 is needed")
    table = np.full((len(rows), length), padding, np.int64)
    for place, row in zip(table, rows, strict=True):
        kept = row[-length:]
        place[: len(kept)] = kept
    return table
