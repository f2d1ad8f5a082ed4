"""The book's federated task: tell spam from ham by the words of a mail.

    P(spam) = sigmoid(bias + (sum of the weights of the mail's distinct words) / sqrt(their number))

One weight a word, so that the model is as small as a spam filter can be and every weight can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.generated import generate_mailbox, generate_test_mails
from core.data.mail import Mail, open_mailbox, require_both_classes
from core.data.mail.progress import Progress
from core.data.text import Bags, HashingVocabulary, IntArray, bag
from core.losses import binary_cross_entropy
from core.nn import EmbeddingBag, Module, Parameter
from core.ops import Array
from core.randomness import Rng
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

    def __init__(self, size: int, rng: Rng) -> None:
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


def correct(logits: Array, labels: Array) -> int:
    """Count the mails judged right; a logit of exactly 0 is no reason to call a mail spam."""
    return int(((logits > 0) == (labels == 1)).sum())


@dataclass(frozen=True, slots=True)
class BaggedMail:
    """A mail as the model sees it: the numbers of its words, two bytes each. Texts of a large mailbox are not kept."""

    numbers: bytes
    spam: bool


def bagged(mail: Mail | BaggedMail) -> BaggedMail:
    """Return the numbers of the words of a mail."""
    if isinstance(mail, BaggedMail):
        return mail
    return BaggedMail(np.array(bag(mail.text, VOCABULARY), np.uint16).tobytes(), mail.spam)


def read(path: Path, spam_label: str | None = None) -> Reading:
    """Read a mailbox in any format known to core.data.mail, with the texts of its mails."""
    opened = open_mailbox(path, spam_label, Progress(str(path)))
    return Reading(list(opened), opened.skipped, opened.first_skipped, opened.deleted)


def read_numbers(path: Path, spam_label: str | None = None) -> Reading:
    """Read a mailbox mail by mail, and keep the numbers of its words instead of its texts."""
    opened = open_mailbox(path, spam_label, Progress(str(path)))
    examples = [bagged(mail) for mail in opened]
    return Reading(examples, opened.skipped, opened.first_skipped, opened.deleted)


def prepare(mails: Iterable[Mail | BaggedMail]) -> Bags:
    """Make a data set of mails, texts or bagged."""
    examples = [bagged(mail) for mail in mails]
    sizes = np.array([len(mail.numbers) // 2 for mail in examples], np.int64)
    return Bags(
        indices=np.frombuffer(b"".join(mail.numbers for mail in examples), np.uint16),
        offsets=np.cumsum(sizes) - sizes,
        labels=np.array([mail.spam for mail in examples], np.int64),
    )


SPAM = Task(
    name="spam",
    build=lambda rng: SpamModel(VOCABULARY.size, rng),
    loss=binary_cross_entropy,
    correct=correct,
    read=read_numbers,
    generate=lambda seed, number: generate_mailbox(seed, number, GENERATED_MAILS),
    generate_test=lambda seed, clients: generate_test_mails(seed, clients, GENERATED_TEST_MAILS),
    prepare=prepare,
    local=LocalTraining(learning_rate=0.05, epochs=1, batch_size=16),
    clip=4.0,
    require=require_both_classes,
)
