"""Turn texts into bags of word numbers: what the spam model sees of a mail.

    >>> from core.data.text import HashingVocabulary, words
    >>> words("Win $1000 now!!")
    ['win', '$', '1000', 'now', '!', '!']
    >>> HashingVocabulary(8192).index("win")
    7030

The vocabulary is public and fixed before training. It is never built from a client's mail, because its words, and which
of them exist at all, would tell what the mail says.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.data.characters_seen import as_seen, word_pattern
from core.errors import DataError, SettingsError
from core.indices import run_lengths

IntArray = npt.NDArray[np.int64]
Terms = Callable[[str], list[str]]
"""Cuts a text into what has a weight: its distinct words, or words and pairs."""

ASCII_WORD = re.compile(r"[a-z0-9]+|[^\w\s]|_")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
SPACE = re.compile(r"\s")
PIECE = 1 << 16
LONGEST_SEEN = 1 << 21
STEM_LETTERS = 6
LONGEST_NUMBER = 4
LONGEST_MAIL = 500


def words(text: str) -> list[str]:
    """Cut a text into lower-case words and numbers, and single signs such as $, % or !, in reading order.

    Letters count as their reader sees them: full-width, composed or not, with invisible characters between or without.
    """
    return [word for piece in _words_by_piece(text) for word in piece]


def _words_by_piece(text: str) -> Iterator[list[str]]:
    """Yield the words of some 64 kB of text at a time: a long mail is not all words at once.

    Some single characters become 18 as their reader sees them; a text they make far longer is only read up to a limit.
    """
    left = max(len(text), LONGEST_SEEN)
    for piece in _pieces(text):
        if piece.isascii():
            found = ASCII_WORD.findall(CONTROL.sub("", piece.lower()))
        else:
            seen = as_seen(piece)[:left]
            left -= len(seen)
            found = word_pattern().findall(seen)
        yield found
        if left <= 0:
            break


def _pieces(text: str) -> Iterator[str]:
    """Cut a text behind spaces, or within a word that is longer than a piece."""
    start = 0
    while start < len(text):
        space = SPACE.search(text, start + PIECE, start + 2 * PIECE)
        end = start + 2 * PIECE if space is None else space.end()
        yield text[start:end]
        start = end


def stem(word: str) -> str:
    """Cut a word to its first six letters, and write a number of five or more digits as that many zeros.

    Inflected forms share one weight this way, and a phone or account number counts only as a number so long: fewer
    distinct words, so fewer of them collide in a small hashed vocabulary.
    """
    if len(word) > LONGEST_NUMBER and word.isdecimal():
        return "0" * len(word)
    return word[:STEM_LETTERS]


class Vocabulary(Protocol):
    """Words and their numbers, 0 to size - 1."""

    @property
    def size(self) -> int:
        """How many numbers there are."""

    def index(self, word: str) -> int:
        """Return the number of a word, known or not."""


@dataclass(frozen=True)
class HashingVocabulary:
    """The hashing trick: a word's number is its CRC-32 modulo `size`, so every word has one, and some share it."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SettingsError(f"a hashed vocabulary has at least 1 number, not {self.size}")

    def index(self, word: str) -> int:
        """Return the word's number, in [0, size): its CRC-32 modulo the size."""
        return zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.size


def distinct_words(text: str, longest: int = LONGEST_MAIL) -> list[str]:
    """Return the set of a text's words, each as its stem, in the order of their first occurrence.

    Args:
        longest: of a text with more distinct words than this, only the first ones up to this number count.
    """
    found: dict[str, None] = {}
    for piece in _words_by_piece(text):
        found.update(dict.fromkeys(map(stem, dict.fromkeys(piece))))
        if len(found) >= longest:
            break
    return list(islice(found, longest))


def words_and_pairs(text: str) -> list[str]:
    """Return the set of a text's words and of its pairs of neighbouring words, each word as its stem: all of them.

    >>> words_and_pairs("click here, click now")
    ['click', 'here', ',', 'now', 'click here', 'here ,', ', click', 'click now']
    """
    stems = [stem(word) for word in words(text)]
    return [*dict.fromkeys(stems), *dict.fromkeys(f"{left} {right}" for left, right in pairwise(stems))]


def bag(text: str, vocabulary: Vocabulary, terms: Terms = distinct_words) -> list[int]:
    """Return the set of the numbers of a text's distinct terms, ascending."""
    return sorted({vocabulary.index(term) for term in terms(text)})


@dataclass(frozen=True)
class Bags:
    """Labelled texts as a data set: bags of word numbers of any integer type, end to end, without padding.

    Raises DataError for labels of another number than there are bags, or other than 0 and 1.

    Attributes:
        indices: the word numbers of all bags, one bag after the other, shape (entries,).
        offsets: where each bag starts in `indices`, shape (bags,).
        labels: 1 for spam, 0 for ham, shape (bags,).
    """

    indices: npt.NDArray[np.integer[Any]]
    offsets: IntArray
    labels: IntArray

    def __post_init__(self) -> None:
        if self.labels.shape != self.offsets.shape:
            raise DataError(f"there are bags of shape {self.offsets.shape} and labels of shape {self.labels.shape}")
        if len(self.labels) and not ((self.labels == 0) | (self.labels == 1)).all():
            raise DataError(f"the labels go from {self.labels.min()} to {self.labels.max()}; expected 0 and 1")

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], IntArray]:
        """Return ((indices, offsets), labels) of the bags `rows`, in that order."""
        rows = np.asarray(rows, np.int64)  # row 255 + 1 does not fit a uint8
        sizes = self._sizes.take(rows)
        offsets = sizes.cumsum()
        total = int(offsets[-1]) if len(offsets) else 0
        offsets -= sizes
        # Entry k of the batch lies as far from its bag's start here as there: source = k - offset + start.
        source = (self.offsets.take(rows) - offsets).repeat(sizes)
        source += np.arange(total)
        return (self.indices.take(source).astype(np.int64, copy=False), offsets), self.labels.take(rows)

    def in_order(self, rows: IntArray) -> Bags:
        """Return the bags `rows` as a data set in that order."""
        (indices, offsets), labels = self.batch(rows)
        return Bags(indices, offsets, labels)

    def part(self, start: int, stop: int) -> tuple[tuple[IntArray, IntArray], IntArray]:
        """Return what `batch` returns of the bags from `start` to before `stop`, without looking for each of them."""
        offsets, first = self.offsets[start:stop], self.offsets[start]
        end = self.offsets[stop] if stop < len(self) else len(self.indices)
        return (self.indices[first:end].astype(np.int64, copy=False), offsets - first), self.labels[start:stop]

    @cached_property
    def _sizes(self) -> IntArray:
        """How many entries each bag has, shape (bags,)."""
        return run_lengths(self.offsets, len(self.indices))


def make_bags(
    texts: Iterable[str], labels: Sequence[bool], vocabulary: Vocabulary, terms: Terms = distinct_words
) -> Bags:
    """Make a data set of texts; `labels` says of each whether it is spam. A text without words is an empty bag."""
    if isinstance(texts, str):
        raise TypeError(f"texts are several, not the one string {texts[:40]!r}: put it into a list")
    bags = [bag(text, vocabulary, terms) for text in texts]
    if len(bags) != len(labels):
        raise ValueError(f"there are {len(bags)} texts and {len(labels)} labels")
    sizes = np.array([len(numbers) for numbers in bags], np.int64)
    return Bags(
        indices=np.fromiter((number for numbers in bags for number in numbers), np.int64, int(sizes.sum())),
        offsets=np.cumsum(sizes) - sizes,
        labels=np.array(labels, np.int64),
    )
