"""The book's federated task: tell spam from ham by the words of a mail.

    P(spam) = sigmoid(bias + (sum of the weights of the mail's distinct words) / sqrt(their number))

One weight a word, so that the model is as small as a spam filter can be and every weight can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from core.data.generated import generate_mailbox, generate_test_mails
from core.data.mail import read_mailbox, require_both_classes
from core.data.message import Mail
from core.data.text import Bags, HashingVocabulary, IntArray, make_bags
from core.losses import binary_cross_entropy
from core.metrics import confusion
from core.nn import EmbeddingBag, Module, Parameter
from core.optim import Adam, Optimiser
from core.tasks.task import LocalTraining, Reading, Task
from core.tensor import Tensor

# Every weight costs every client time and bytes in every round; 4,096 would be too few to keep unlike words apart.
VOCABULARY = HashingVocabulary(8192)
GENERATED_MAILS = 300
GENERATED_TEST_MAILS = 1000


class SpamModel(Module):
    """A logit for each bag of words: positive means spam.

    Attributes:
        words: one weight a word, shape (size of the vocabulary, 1), starts at 0: no word means anything yet.
        bias: shape (1,), starts at 0.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.words = EmbeddingBag(size, 1, rng=rng)
        self.words.weight.data[...] = 0.0
        self.bias = Parameter(np.zeros(1))

    def forward(self, bags: tuple[IntArray, IntArray]) -> Tensor:
        """Return logits of shape (bags,) for the flat word numbers and the offsets of the bags."""
        indices, offsets = bags
        sizes = np.diff(offsets, append=len(indices))
        # Divided by the root, long mails are judged as surely as their words agree; the mean would mute them,
        # the sum would let them drown the short ones.
        sums = self.words(indices, offsets).reshape(len(offsets))
        return sums / np.sqrt(np.maximum(sizes, 1)) + self.bias


def cautious_adam(parameters: Iterable[Tensor], learning_rate: float) -> Optimiser:
    """Return Adam with an `eps` as large as the gradients of rare words.

    Divided by its own size alone, the smallest gradient moves a weight as far as the largest: a word of one mail would
    count as much as one of a hundred, which costs SMS half a point of accuracy.
    """
    return Adam(parameters, learning_rate, eps=1e-4)


def read(path: Path) -> Reading:
    """Read a mailbox in any format known to core.data.mail."""
    mailbox = read_mailbox(path)
    return Reading(mailbox.mails, mailbox.skipped, mailbox.first_skipped)


def prepare(mails: Sequence[Mail]) -> Bags:
    """Make a data set of mails."""
    return make_bags([mail.text for mail in mails], [mail.spam for mail in mails], VOCABULARY)


SPAM = Task(
    name="spam",
    build=lambda rng: SpamModel(VOCABULARY.size, rng),
    loss=binary_cross_entropy,
    correct=confusion,  # a logit of exactly 0 is no reason to call a mail spam
    read=read,
    generate=lambda seed, number: generate_mailbox(seed, number, GENERATED_MAILS),
    generate_test=lambda seed, clients: generate_test_mails(seed, clients, GENERATED_TEST_MAILS),
    prepare=prepare,
    local=LocalTraining(learning_rate=0.1, epochs=1, batch_size=32, optimiser=cautious_adam),
    clip=4.0,
    require=require_both_classes,
    text=lambda mail: mail.text.removeprefix("Subject:"),
)
