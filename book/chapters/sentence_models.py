"""What chapters 12 and 13 teach of sentences: models that read word after word, as datasets of whole lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.data.characters import IntArray
from core.losses import cross_entropy
from core.metrics import perplexity
from core.nn import RNN, Embedding, Linear, LinearRecurrentCell, Module
from core.tensor import Tensor, no_grad, stack


class EveryNextWord(Module):
    """Foretell every word of a sentence, the first included, from the words before it (chapter 12).

    The state is the sum of the word vectors so far, each turned by the transition once for every word since.
    """

    def __init__(self, words: int, width: int = 10, *, rng: np.random.Generator) -> None:
        self.embedding = Embedding(words, width, rng=rng)
        self.cell = LinearRecurrentCell(width)
        self.output = Linear(width, words, bias=False, rng=rng)
        self.output.weight.data[...] = rng.uniform(-0.05, 0.05, self.output.weight.shape)  # as the book starts

    def forward(self, numbers: IntArray) -> Tensor:
        """Return logits, shape (sentences, length, words), for numbers of shape (sentences, length)."""
        states = [self.cell.initial_state(len(numbers))]
        for column in numbers.T[:-1]:  # nothing comes after the last word: it is foretold, not read
            states.append(self.cell(self.embedding(column), states[-1]))
        return self.output(stack(states, axis=1))


@dataclass(frozen=True)
class Sentences:
    """Sentences of any lengths, as word numbers: a dataset of which sentences of one length can be taken together."""

    sentences: Sequence[IntArray]

    def __len__(self) -> int:
        return len(self.sentences)

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the words twice: to read, and to foretell. Raises ValueError if the lengths differ."""
        numbers = np.stack([self.sentences[row] for row in rows])
        return numbers, numbers


def sentence_perplexity(model: Module, data: Sentences) -> float:
    """Measure a model over all words of all sentences."""
    lengths = np.array([len(sentence) for sentence in data.sentences])
    total = 0.0
    with no_grad():
        for length in np.unique(lengths):
            numbers, targets = data.batch(np.flatnonzero(lengths == length))
            total += cross_entropy(model(numbers), targets, "sum").item()
    return perplexity(total / int(lengths.sum()))


class LastWord(Module):
    """Foretell the last word of a line from those before it (chapter 13)."""

    def __init__(self, words: int, width: int = 16, *, rng: np.random.Generator) -> None:
        self.embedding = Embedding(words, width, rng=rng)
        self.recurrent = RNN(width, width, rng=rng)
        self.output = Linear(width, words, rng=rng)

    def forward(self, numbers: IntArray) -> Tensor:
        """Return logits, shape (lines, words), for numbers of shape (lines, length)."""
        _, last = self.recurrent(self.embedding(numbers.T))
        return self.output(last)


@dataclass(frozen=True)
class LastWords:
    """Lines of one length as a dataset: all words but the last to read, the last to foretell.

    Attributes:
        numbers: shape (lines, length).
    """

    numbers: IntArray

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        return self.numbers[rows, :-1], self.numbers[rows, -1]
