"""One small client's training in plain NumPy, which is what a framework can be compared with; it needs only NumPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

WORDS = 10_000
MAILS = 200
WORDS_EACH = 60
BATCH = 10
RATE = 0.1
MAILBOXES = 16
"""How many are made: client after client has one of them, so that what is timed is training."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def draw_words(count: int, vocabulary: int, rng: np.random.Generator) -> IntArray:
    """Draw word numbers as words occur: the k-th most frequent in proportion to 1 / k."""
    return (vocabulary ** rng.random(count)).astype(np.int64) - 1


def draw_mails(seed: int) -> tuple[IntArray, IntArray]:
    """Return word numbers, shape (mails, words each), that occur as words do, and labels, shape (mails,)."""
    rng = np.random.default_rng(seed)
    return draw_words(MAILS * WORDS_EACH, WORDS, rng).reshape(MAILS, WORDS_EACH), rng.integers(0, 2, MAILS)


class PlainSgd:
    """Gradient descent on a table and a bias; only the rows that were looked up move."""

    def step(self, table: FloatArray, bias: FloatArray, words: IntArray, slopes: FloatArray, root: float) -> None:
        np.add.at(table, words.reshape(-1), np.repeat(slopes * (-RATE / root), words.shape[1]))
        bias -= RATE * slopes.sum()


class PlainAdam:
    """Adam on a table and a bias, with every array used again."""

    def __init__(self, size: int) -> None:
        self.steps = 0
        self.gradient, self.mean, self.square, self.scratch = np.zeros((4, size))

    def step(self, table: FloatArray, bias: FloatArray, words: IntArray, slopes: FloatArray, root: float) -> None:
        self.steps += 1
        gradient, mean, square, scratch = self.gradient, self.mean, self.square, self.scratch
        gradient[:] = 0
        np.add.at(gradient[:-1], words.reshape(-1), np.repeat(slopes / root, words.shape[1]))
        gradient[-1] = slopes.sum()
        mean *= 0.9
        mean += np.multiply(gradient, 0.1, out=scratch)
        square *= 0.999
        gradient *= gradient
        gradient *= 0.001
        square += gradient
        np.divide(square, 1 - 0.999**self.steps, out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += 1e-4
        np.divide(mean, scratch, out=scratch)
        scratch *= RATE / (1 - 0.9**self.steps)
        table -= scratch[:-1]
        bias -= scratch[-1:]


def plain_update(
    model: FloatArray, words: IntArray, labels: IntArray, rng: np.random.Generator, optimiser: PlainSgd | PlainAdam
) -> tuple[FloatArray, float]:
    """Train on the mails as a client does; return the change, shape (values,), and the loss before training."""
    table, bias, root = model[:-1].copy(), model[-1:].copy(), np.sqrt(words.shape[1])
    logits = table[words].sum(axis=1) / root + bias
    loss = float((np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).sum())
    called, spam = logits > 0, labels == 1
    _ = (called == spam).sum(), spam.sum(), (called & spam).sum()  # what a client reports besides
    order = rng.permutation(len(words))
    for start in range(0, len(words), BATCH):
        rows = order[start : start + BATCH]
        batch = words[rows]
        logits = table[batch].sum(axis=1) / root + bias
        slopes = (1 / (1 + np.exp(-logits)) - labels[rows]) / len(rows)
        optimiser.step(table, bias, batch, slopes, root)
    return np.concatenate([table, bias]) - model, loss


@cache
def mailbox(client: int) -> tuple[IntArray, IntArray]:
    """Return the mails of a client."""
    return draw_mails(client % MAILBOXES)


def change(model: FloatArray, client: int, round_number: int) -> FloatArray:
    """Train on a client's mails in a round; return the change of the model, shape (values,)."""
    rng = np.random.default_rng([0, round_number, client])
    return plain_update(model, *mailbox(client), rng, PlainSgd())[0]
