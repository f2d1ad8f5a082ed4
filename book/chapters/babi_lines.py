"""What chapters 12 and 13 share: the lines of bAbI task 1 as word numbers, and the least that any model can err."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from book.run import Run
from core.data.babi import flat_lines, write_stories
from core.data.made_up_text import generated_stories
from core.tasks.babi import TRAIN_FILE

Words = tuple[str, ...]


def read_lines(run: Run, count: int = 1_000) -> list[Words]:
    """Return the words of the first lines, as the book cuts them; of made-up stories if there is no data."""
    if run.data is not None:
        return [tuple(line) for line in flat_lines(run.data / TRAIN_FILE, count)]
    run.say("stories made up by the project, in the manner of bAbI, not the published ones")
    with TemporaryDirectory() as folder:
        path = Path(folder, "stories.txt")
        path.write_text(write_stories(generated_stories(count // 15 + 1, run.seed)), encoding="utf-8")
        return [tuple(line) for line in flat_lines(path, count)]


@dataclass(frozen=True)
class Ceiling:
    """What a model that knew all there is to know of a text would do on it.

    Attributes:
        accuracy: for each beginning it names the word that follows it most often.
        loss: the mean negative log likelihood if it knows how often each word follows.
    """

    accuracy: float
    loss: float


def ceiling(examples: Iterable[tuple[Words, str]]) -> Ceiling:
    """Work out, for beginnings and the words that follow them, what cannot be bettered on just these.

    No model that sees the beginning only can tell apart what follows equal beginnings.
    """
    followers: defaultdict[Words, Counter[str]] = defaultdict(Counter)
    for beginning, word in examples:
        followers[beginning][word] += 1
    total = sum(counts.total() for counts in followers.values())
    right = sum(max(counts.values()) for counts in followers.values())
    loss = sum(n * np.log(counts.total() / n) for counts in followers.values() for n in counts.values())
    return Ceiling(right / total, float(loss / total))


def beginnings(lines: Iterable[Words]) -> list[tuple[Words, str]]:
    """Return every beginning of every line, the empty one included, with the word that follows it."""
    return [(line[:place], line[place]) for line in lines for place in range(len(line))]


def numbered(lines: Sequence[Words]) -> dict[str, int]:
    """Number the words of lines in alphabetical order, from 0."""
    return {word: number for number, word in enumerate(sorted({word for line in lines for word in line}))}
