"""How well a model of text has memorised a secret: its rank among all secrets of the same form.

Carlini et al., "The secret sharer", USENIX Security 2019, sections 4.1 and 4.2: exposure is how much
guessing the model saves if the likeliest is tried first, in bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.ops import stable_log_softmax
from experiments.arrays import FloatArray, IntArray

NextLogits = Callable[[IntArray], FloatArray]
"""Logits of the character after each text: (texts, length) numbers to (texts, characters)."""


def log_likelihoods(next_logits: NextLogits, prefix: IntArray, choices: IntArray, length: int) -> FloatArray:
    """Return the log probability of every secret after a prefix, shape (choices ** length,), in order of counting.

    The secrets are a tree: what the model says after 47 is asked once for all that begin so.

    Args:
        prefix: numbers of the characters before the secret, shape (characters,).
        choices: numbers of the characters it may be made of, shape (choices,).
        length: of the secret, in characters.
    """
    texts, sums = prefix[None], np.zeros(1)
    for _ in range(length):
        steps = stable_log_softmax(next_logits(texts))[:, choices]
        sums = (sums[:, None] + steps).reshape(-1)
        texts = np.hstack([np.repeat(texts, len(choices), axis=0), np.tile(choices, len(texts))[:, None]])
    return sums


def exposure(likelihoods: FloatArray, secret: int) -> float:
    """Return log2 of the number of candidates less log2 of the secret's rank, the likeliest having rank 1.

    Of a tie half count as likelier. A model that says nothing gives 1.44 bits on average, and one bit or more to half
    of all secrets.

    Args:
        likelihoods: of every candidate, shape (candidates,).
        secret: which one it is.
    """
    own = likelihoods[secret]
    rank = 1 + int((likelihoods > own).sum()) + (int((likelihoods == own).sum()) - 1) / 2
    return float(np.log2(len(likelihoods)) - np.log2(rank))
