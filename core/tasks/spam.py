"""The book's federated task: tell spam from ham by the words of a mail.

    P(spam) = sigmoid(bias + (sum of the weights of the mail's distinct words) / sqrt(their number))

One weight a word, so that the model is as small as a spam filter can be and every weight can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.generated import DrawnMailbox, draw_mailbox, generate_test_mails
from core.data.mail import Mail, open_mailbox, require_both_classes
from core.data.mail.progress import Progress
from core.data.text import Bags, HashingVocabulary, IntArray, Terms, Vocabulary, bag, distinct_words
from core.losses import binary_cross_entropy_with_logits
from core.metrics import confusion
from core.nn import EmbeddingBag, Module, Parameter
from core.nn.embedding import unique_bags
from core.optim import Adam, Optimiser
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
        # Divided by the root, long mails are judged as surely as their words agree; the mean would mute them,
        # the sum would let them drown the short ones.
        self.words = EmbeddingBag(size, 1, mode="root", rng=rng)
        self.words.weight.data[...] = 0.0
        self.bias = Parameter(np.zeros(1))

    def forward(self, bags: tuple[IntArray, IntArray]) -> Tensor:
        """Return logits of shape (bags,) for the flat word numbers and the offsets of the bags."""
        indices, offsets = bags
        return self.words(indices, offsets).reshape(len(offsets)) + self.bias


def cautious_adam(parameters: Iterable[Tensor], learning_rate: float) -> Optimiser:
    """Return Adam with an `eps` as large as the gradients of rare words.

    Divided by its own size alone, the smallest gradient moves a weight as far as the largest: a word of one mail would
    count as much as one of a hundred, which costs SMS half a point of accuracy.
    """
    return Adam(parameters, learning_rate, eps=1e-4)


@dataclass(frozen=True, slots=True)
class BaggedMail:
    """A mail as the model sees it: the numbers of its words, two bytes each. Texts of a large mailbox are not kept."""

    numbers: bytes
    spam: bool


def bagged(mail: Mail | BaggedMail, vocabulary: Vocabulary = VOCABULARY, terms: Terms = distinct_words) -> BaggedMail:
    """Return the numbers of the words of a mail."""
    if isinstance(mail, BaggedMail):
        return mail
    return BaggedMail(np.array(bag(mail.text, vocabulary, terms), np.uint16).tobytes(), mail.spam)


def read(path: Path, spam_label: str | None = None) -> Reading:
    """Read a mailbox in any format known to core.data.mail, with the texts of its mails."""
    opened = open_mailbox(path, spam_label, Progress(str(path)))
    return Reading(list(opened), opened.skipped, opened.first_skipped, opened.deleted)


def read_numbers(
    path: Path, spam_label: str | None = None, vocabulary: Vocabulary = VOCABULARY, terms: Terms = distinct_words
) -> Reading:
    """Read a mailbox mail by mail, and keep the numbers of its words instead of its texts."""
    opened = open_mailbox(path, spam_label, Progress(str(path)))
    examples = [bagged(mail, vocabulary, terms) for mail in opened]
    return Reading(examples, opened.skipped, opened.first_skipped, opened.deleted)


def prepare(
    mails: Iterable[Mail | BaggedMail], vocabulary: Vocabulary = VOCABULARY, terms: Terms = distinct_words
) -> Bags:
    """Make a data set of mails: texts, bagged, or drawn."""
    if isinstance(mails, DrawnMailbox) and isinstance(vocabulary, HashingVocabulary) and terms is distinct_words:
        numbers, starts = unique_bags(*mails.numbers(vocabulary))
        return Bags(numbers.astype(np.uint16), starts, mails.spam.astype(np.int64))
    examples = [bagged(mail, vocabulary, terms) for mail in mails]
    sizes = np.array([len(mail.numbers) // 2 for mail in examples], np.int64)
    return Bags(
        indices=np.frombuffer(b"".join(mail.numbers for mail in examples), np.uint16),
        offsets=np.cumsum(sizes) - sizes,
        labels=np.array([mail.spam for mail in examples], np.int64),
    )


SPAM = Task(
    name="spam",
    build=lambda rng: SpamModel(VOCABULARY.size, rng),
    loss=binary_cross_entropy_with_logits,
    correct=confusion,  # a logit of exactly 0 is no reason to call a mail spam
    read=read_numbers,
    generate=lambda seed, number: draw_mailbox(seed, number, GENERATED_MAILS),
    generate_test=lambda seed, clients: generate_test_mails(seed, clients, GENERATED_TEST_MAILS),
    prepare=prepare,
    local=LocalTraining(learning_rate=0.1, epochs=1, batch_size=32, optimiser=cautious_adam),
    clip=4.0,
    require=require_both_classes,
    text=lambda mail: mail.text.removeprefix("Subject:"),
    read_texts=read,
    mail=True,
)
