"""Held-out texts, each distinct one judged once.

A text that is there fifty times would count fifty times: a filter is then judged by one mail, and its accuracy jumps
when that one changes sides. So further copies, and texts without a word, are judged apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.data.text import words
from core.training import Dataset

NOTABLE = 0.005
"""Half a point of accuracy: what repeats may decide without being mentioned."""


@dataclass(frozen=True)
class DistinctTexts:
    """Examples in their order, divided.

    Attributes:
        distinct: the first example of each text that has words.
        repeats: the further ones.
        wordless: every example whose text has no word, number or sign.
        most_copies: how often the most frequent text that has words occurs.
    """

    distinct: Sequence[Any]
    repeats: Sequence[Any] = ()
    wordless: Sequence[Any] = ()
    most_copies: int = 1

    @property
    def sentence(self) -> str:
        """What is judged apart, and what would decide more than half a point if it were not."""
        total = len(self.distinct) + len(self.repeats) + len(self.wordless)
        what_is_apart = (
            f"{counted(len(self.distinct), 'distinct text')}, each judged once; {counted(len(self.repeats), 'repeat')} "
            f"and {counted(len(self.wordless), 'text')} without a word are judged apart"
        )
        blocks = (("one text with all its copies", self.most_copies), ("those without a word", len(self.wordless)))
        notable = [
            f"{what} would decide {count / total:.1%} of the accuracy"
            for what, count in blocks
            if count > 1 and count > NOTABLE * total
        ]
        return "; ".join([what_is_apart, *notable])


def counted(count: int, noun: str) -> str:
    """Return the number and the noun: 1 text, 2 texts."""
    return f"{count} {noun}{'s' * (count != 1)}"


def divide_texts(examples: Iterable[Any], text: Callable[[Any], str]) -> DistinctTexts:
    """Set repeats, and texts without a word, apart from the examples. Spaces and line ends do not count."""
    distinct: list[Any] = []
    repeats: list[Any] = []
    wordless: list[Any] = []
    copies: Counter[str] = Counter()
    for example in examples:
        content = " ".join(text(example).split())
        if not words(content):
            wordless.append(example)
            continue
        (repeats if copies[content] else distinct).append(example)
        copies[content] += 1
    return DistinctTexts(distinct, repeats, wordless, max(copies.values(), default=1))


@dataclass(frozen=True)
class HeldOut:
    """What models are judged by.

    Attributes:
        data: each distinct text once; all examples of a task that reads no texts.
        repeats: further copies of those, if there are any.
        wordless: texts without a word, if there are any.
        sentence: what is judged apart; empty if the task reads no texts.
    """

    data: Dataset
    repeats: Dataset | None = None
    wordless: Dataset | None = None
    sentence: str = ""

    def __len__(self) -> int:
        return len(self.data)
