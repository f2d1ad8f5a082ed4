"""Learn word vectors by filling blanks (CBOW with negative sampling), the vectors that analogies are solved with.

An example is a word of a text. Its vector among the answers is to fit the mean vector of the two words on either side
better than the vectors of five drawn words; it counts as right if it fits best of all six (by chance, 1 in 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.characters import IntArray
from core.data.text import HashingVocabulary, stem, words
from core.errors import DataError
from core.losses import negative_sampling
from core.metrics import correct_classes
from core.nn import Embedding, EmbeddingBag, Module
from core.randomness import Rng, generator
from core.sequences import sliding_window
from core.tasks import reviews
from core.tasks.reviews import Review
from core.tasks.task import Corpus, LocalTraining, Task
from core.tensor import Tensor

VOCABULARY = HashingVocabulary(4095)
PADDING = 4095  # the number after the vocabulary's: no word there
WIDTH, WINDOW, NEGATIVES = 8, 2, 5
LONGEST = 60


@dataclass(frozen=True)
class Blanks:
    """Words with their surroundings.

    Attributes:
        contexts: word numbers around each blank, shape (n, 4), padded at the ends of a text.
        choices: the true word and five others, shape (n, 6); the true one is first.
    """

    contexts: IntArray
    choices: IntArray

    def __len__(self) -> int:
        return len(self.choices)

    def batch(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], IntArray]:
        """Return contexts and choices of these rows; the right choice is always number 0."""
        return (self.contexts[rows], self.choices[rows]), np.zeros(len(rows), np.int64)


class BlankModel(Module):
    """Compares the mean vector of the words around a blank with a vector for each choice.

    Args:
        words: how many numbers may stand around a blank, padding among them.
        answers: how many may fill it.
        width: of the vectors.
        padding: the number for "no word there".
    """

    def __init__(self, words: int, answers: int, width: int, *, padding: int, rng: Rng) -> None:
        rng = generator(rng)
        self.words = EmbeddingBag(words, width, padding_idx=padding, rng=rng, dtype=np.float32)
        self.answers = Embedding(answers, width, rng=rng, dtype=np.float32)

    def forward(self, inputs: tuple[IntArray, IntArray]) -> Tensor:
        """Return how well each choice fits, shape (n, choices), for contexts (n, neighbours) and choices."""
        contexts, choices = inputs
        offsets = np.arange(len(contexts)) * contexts.shape[1]
        around = self.words(contexts.reshape(-1), offsets)
        return (self.answers(choices) @ around.reshape(*around.shape, 1)).reshape(*choices.shape)


def build(rng: Rng) -> BlankModel:
    """Return an untrained model of words and contexts."""
    return BlankModel(PADDING + 1, PADDING, WIDTH, padding=PADDING, rng=rng)


def loss(logits: Tensor, _targets: npt.NDArray[np.int64]) -> Tensor:
    """Return the negative-sampling loss; the true word is the first choice."""
    return negative_sampling(logits[:, 0], logits[:, 1:])


def prepare(texts: Sequence[Review]) -> Blanks:
    """Make a blank of every word among the first sixty of each text that has a neighbour.

    Raises DataError if there is none.
    """
    numbers = [[VOCABULARY.index(stem(word)) for word in words(text.text)[:LONGEST]] for text in texts]
    contexts = [sliding_window(row, WINDOW, PADDING) for row in numbers if len(row) > 1]
    if not contexts:
        raise DataError("no text has two words; a blank needs a neighbour")
    targets = np.concatenate([np.array(row, np.int64) for row in numbers if len(row) > 1])
    # Drawn once, from a fixed seed: all judge the same blanks. A step of 1 or more never hits the target.
    steps = np.random.default_rng(0).integers(1, VOCABULARY.size, (len(targets), NEGATIVES))
    drawn = (targets[:, None] + steps) % VOCABULARY.size
    return Blanks(np.concatenate(contexts), np.hstack([targets[:, None], drawn]))


ANALOGIES = Task(
    name="analogies",
    build=build,
    loss=loss,
    correct=correct_classes,
    read=reviews.read,
    generate=reviews.REVIEWS.generate,
    generate_test=reviews.REVIEWS.generate_test,
    prepare=prepare,
    local=LocalTraining(0.005, epochs=1, batch_size=256),
    clip=2.0,
    corpus=Corpus(reviews.read_both, reviews.write, label=lambda review: review.positive),
    text=lambda review: review.text,
)
