"""Words: bags of them, vectors for them, and the nearest ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.measure import Case, Work, beside_torch, take_step, twin_linear
from benchmarks.plain_update import draw_words
from core.losses import binary_cross_entropy_with_logits, negative_sampling
from core.nn import Embedding, EmbeddingBag, Linear, nearest_rows
from core.ops import Array
from core.optim import SGD
from core.training import minibatches

REVIEWS = 25_000
VOCABULARY = 74_000


# --- Reviews: the embedding-bag classifier of chapter 11, 100 wide, one pass ---


def reviews_epoch(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    count = 500 if small else REVIEWS
    reviews = [np.unique(draw_words(length, VOCABULARY, rng)) for length in rng.integers(40, 320, count)]
    labels = rng.integers(0, 2, count).astype(np.float32)
    bag = EmbeddingBag(VOCABULARY, 100, mode="sum", rng=rng, dtype=np.float32)
    last = Linear(100, 1, bias=False, rng=rng, dtype=np.float32)
    optimiser = SGD([*bag.parameters(), *last.parameters()], 0.05)

    def epoch() -> float:
        total = 0.0
        for rows in minibatches(len(reviews), 32, rng):
            indices, offsets = _join([reviews[row] for row in rows])
            loss = binary_cross_entropy_with_logits(
                last(bag(indices, offsets).sigmoid()).reshape(len(rows)), labels[rows]
            )
            total += take_step(optimiser, loss) * len(rows)
        return total / len(reviews)

    return beside_torch(epoch, lambda torch: _twin_reviews(torch, reviews, labels, bag, last))


def _join(bags: list[Array]) -> tuple[Array, Array]:
    """Return the entries of all bags, and where each starts."""
    ends = np.cumsum([len(bag) for bag in bags])
    return np.concatenate(bags), np.concatenate([[0], ends[:-1]])


def _twin_reviews(torch: Any, reviews: list[Array], labels: Array, bag: EmbeddingBag, last: Linear) -> Work:
    table = torch.nn.EmbeddingBag(*bag.weight.shape, mode="sum", sparse=True)
    table.weight.data = torch.tensor(bag.weight.data)
    output = twin_linear(torch, last)
    optimiser = torch.optim.SGD([*table.parameters(), *output.parameters()], 0.05)
    loss_of = torch.nn.BCEWithLogitsLoss()

    def epoch() -> float:
        total = 0.0
        for rows in torch.randperm(len(reviews)).split(32):
            indices, offsets = _join([reviews[row] for row in rows.tolist()])
            sums = table(torch.from_numpy(indices), torch.from_numpy(offsets))
            loss = loss_of(output(sums.sigmoid()).reshape(len(rows)), torch.from_numpy(labels[rows.numpy()]))
            total += take_step(optimiser, loss) * len(rows)
        return total / len(reviews)

    return epoch


# --- Word vectors: continuous bag of words, 50 wide, window 2, 5 negatives ---


def word_vectors(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    tokens, batch = (2048, 512) if small else (65_536, 512)
    context, centres = draw_words(tokens * 4, VOCABULARY, rng).reshape(-1, 4), draw_words(tokens, VOCABULARY, rng)
    drawn = draw_words(tokens * 5, VOCABULARY, rng).reshape(-1, 5)
    inner = Embedding(VOCABULARY, 50, rng=rng, dtype=np.float32)
    outer = Embedding(VOCABULARY, 50, rng=rng, dtype=np.float32)
    optimiser = SGD([*inner.parameters(), *outer.parameters()], 0.05)

    def epoch() -> float:
        total = 0.0
        for start in range(0, tokens, batch):
            rows = slice(start, start + batch)
            means = inner(context[rows]).mean(axis=1)
            words = np.concatenate([centres[rows, None], drawn[rows]], axis=1)
            logits = (outer(words) * means.stack_copies(1, 6)).sum(axis=2)
            loss = negative_sampling(logits[:, 0], logits[:, 1:], drawn[rows] != centres[rows, None])
            total += take_step(optimiser, loss) * batch
        return total / tokens

    return beside_torch(epoch, lambda torch: _twin_vectors(torch, context, centres, drawn, inner, outer, batch))


def _twin_vectors(
    torch: Any, context: Array, centres: Array, drawn: Array, inner: Embedding, outer: Embedding, batch: int
) -> Work:
    twin_inner, twin_outer = (torch.nn.Embedding(*table.weight.shape, sparse=True) for table in (inner, outer))
    for twin, table in ((twin_inner, inner), (twin_outer, outer)):
        twin.weight.data = torch.tensor(table.weight.data)
    optimiser = torch.optim.SGD([*twin_inner.parameters(), *twin_outer.parameters()], 0.05)
    contexts, all_words = torch.from_numpy(context), torch.from_numpy(np.concatenate([centres[:, None], drawn], axis=1))
    valid = torch.from_numpy((drawn != centres[:, None]).astype(np.float32))

    def epoch() -> float:
        total = 0.0
        for start in range(0, len(context), batch):
            rows = slice(start, start + batch)
            means = twin_inner(contexts[rows]).mean(1)
            logits = (twin_outer(all_words[rows]) * means[:, None]).sum(2)
            wrong = torch.nn.functional.softplus(logits[:, 1:]) * valid[rows]
            loss = (torch.nn.functional.softplus(-logits[:, 0]) + wrong.sum(1)).mean()
            total += take_step(optimiser, loss) * batch
        return total / len(context)

    return epoch


# --- The ten words nearest to one of 43,000, 50 wide ---


def nearest_words(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    table = rng.standard_normal((1000 if small else 43_000, 50)).astype(np.float32)

    def twin_query(torch: Any) -> Work:
        twin = torch.from_numpy(table)

        def query() -> float:
            # Its own cosine_similarity takes twenty times as long.
            similarities = twin @ twin[7] / (twin.norm(dim=1) * twin[7].norm())
            similarities[7] = -torch.inf
            return float(similarities.topk(10).values[0])

        return query

    return beside_torch(lambda: float(nearest_rows(table, table[7], 10, without=[7])[1][0]), twin_query)


# --- Spam: a step on 500 mails of 500 words, one weight a word (chapter 15) ---


def spam_batch(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    mails = 50 if small else 500
    indices, offsets = draw_words(mails * 500, 8192, rng), np.arange(mails) * 500
    labels = rng.integers(0, 2, mails).astype(np.float32)
    bag = EmbeddingBag(8192, 1, mode="sum", rng=rng, dtype=np.float32)
    optimiser = SGD(bag.parameters(), 0.01)

    def twin_step(torch: Any) -> Work:
        twin = torch.nn.EmbeddingBag(8192, 1, mode="sum", sparse=True)
        twin.weight.data = torch.tensor(bag.weight.data)
        optimiser = torch.optim.SGD(twin.parameters(), 0.01)
        numbers, starts, answers = (torch.from_numpy(array) for array in (indices, offsets, labels))
        loss_of = torch.nn.BCEWithLogitsLoss()
        return lambda: take_step(optimiser, loss_of(twin(numbers, starts).flatten(), answers))

    def step() -> float:
        return take_step(optimiser, binary_cross_entropy_with_logits(bag(indices, offsets).reshape(mails), labels))

    return beside_torch(step, twin_step)


CASES = (
    Case("reviews", "epoch of 25,000 bags of words, 74,000 x 100, batch 32", reviews_epoch, book=REVIEWS * 0.00012),
    Case("cbow", "65,536 tokens, 50 wide, window 2, 5 negatives, batch 512", word_vectors, book=65_536 * 45e-6),
    Case("nearest-words", "one query of 43,000 words, 50 wide", nearest_words, book=0.40),
    Case("spam-batch", "500 mails of 500 words, one weight a word", spam_batch, book=0.40),
)
