"""Tell spam from ham by words and by pairs of neighbouring words: the spam task with four times the weights.

A pair says what its words alone do not ("click here", "let me"). The model is the same, and as readable: one weight for
each word or pair. It costs four times the bytes of every client in every round; docs/tasks.md compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from core.data.mail import Mail
from core.data.text import Bags, HashingVocabulary, words_and_pairs
from core.tasks import spam
from core.tasks.spam import SPAM, BaggedMail, SpamModel
from core.tasks.task import Reading

VOCABULARY = HashingVocabulary(32_768)


def read_numbers(path: Path, spam_label: str | None = None) -> Reading:
    """Read a mailbox mail by mail, and keep the numbers of its words and pairs instead of its texts."""
    return spam.read_numbers(path, spam_label, VOCABULARY, words_and_pairs)


def prepare(mails: Iterable[Mail | BaggedMail]) -> Bags:
    """Make a data set of mails, texts or bagged."""
    return spam.prepare(mails, VOCABULARY, words_and_pairs)


SPAM_PAIRS = replace(
    SPAM,
    name="spam-pairs",
    build=lambda rng: SpamModel(VOCABULARY.size, rng),
    read=read_numbers,
    prepare=prepare,
    local=replace(SPAM.local, learning_rate=0.2),  # most pairs are rare: they have few steps to learn in
)
