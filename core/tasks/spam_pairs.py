"""Tell spam from ham by words and by pairs of neighbouring words: the spam task with four times the weights.

A pair says what its words alone do not ("click here", "let me"). The model is the same, and as readable: one weight a
word or pair. It costs four times the bytes of every client in every round; docs/tasks.md has both costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.data.message import Mail
from core.data.text import Bags, HashingVocabulary, make_bags, words_and_pairs
from core.tasks.spam import SPAM, SpamModel

VOCABULARY = HashingVocabulary(32_768)


def prepare(mails: Sequence[Mail]) -> Bags:
    """Make a data set of mails."""
    return make_bags([mail.text for mail in mails], [mail.spam for mail in mails], VOCABULARY, words_and_pairs)


SPAM_PAIRS = replace(
    SPAM,
    name="spam-pairs",
    build=lambda rng: SpamModel(VOCABULARY.size, rng),
    prepare=prepare,
    local=replace(SPAM.local, learning_rate=0.2),  # most pairs are rare: they have few steps to learn in
)
