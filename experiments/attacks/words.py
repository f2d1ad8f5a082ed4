"""Words read off a change of the spam model: a weight moves only if a mail used one of its words.

A model with one weight a word is trained with a gradient that is exactly zero for words that do not occur; so the
change shows which do (Melis, Song, De Cristofaro and Shmatikov, IEEE S&P 2019, section 4.1, on embeddings).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.text import Vocabulary
from experiments.arrays import FloatArray


@dataclass(frozen=True)
class PublicWords:
    """What is known of words without looking at an update: how frequent they are in mail that is public.

    Attributes:
        frequency: the share of public mails that have a word of each number, shape (vocabulary,).
        named: of each number the most frequent public word that has it; some numbers have none.
        ranking: all public words, the most frequent first.
    """

    frequency: FloatArray
    named: dict[int, str]
    ranking: tuple[str, ...]


def public_words(mails: Sequence[Sequence[str]], vocabulary: Vocabulary) -> PublicWords:
    """Count words of public mails, each given by its distinct words."""
    if not mails:
        raise ValueError("there are no public mails to count words in")
    seen: dict[str, int] = {}
    frequency = np.zeros(vocabulary.size)
    for mail in mails:
        for word in mail:
            seen[word] = seen.get(word, 0) + 1
        frequency[sorted({vocabulary.index(word) for word in mail})] += 1
    ranking = tuple(sorted(seen, key=lambda word: (-seen[word], word)))
    named: dict[int, str] = {}
    for word in ranking:
        named.setdefault(vocabulary.index(word), word)
    return PublicWords(frequency / len(mails), named, ranking)


def moved(change: npt.NDArray[np.generic]) -> set[int]:
    """Return the numbers of the weights that are not zero in a change, shape (vocabulary,)."""
    return set(np.flatnonzero(change).tolist())


def words_of(numbers: Iterable[int], public: PublicWords) -> set[str]:
    """Name each number's most frequent public word; numbers of which none is known are left out."""
    return {public.named[number] for number in numbers if number in public.named}


def guess_blindly(public: PublicWords, count: int) -> set[str]:
    """Guess without seeing an update: the `count` most frequent words."""
    return set(public.ranking[:count])


def label_from_bias(change_of_bias: float) -> bool:
    """Tell whether most of the mail is spam: each spam mail pushes the bias up, each ham mail down."""
    return change_of_bias > 0
