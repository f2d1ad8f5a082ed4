"""Tables of vectors looked up by number: words, mostly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from core import ops
from core.indices import Array, as_indices, bag_sizes, check_indices, sorted_set
from core.nn.module import Input, Module, Parameter, at_least
from core.randomness import Rng, generator
from core.tensor import Tensor, apply, as_tensor


class Embedding(Module):
    """A table of vectors looked up by number: indices of any shape -> (*indices.shape, embedding_dim).

    Args:
        padding_idx: a number that stands for "nothing here": its vector is 0, counts as 0, and never learns.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), starts uniform in (-0.5, 0.5) / embedding_dim.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        self.padding_idx = padding_idx
        self.weight = _table(num_embeddings, embedding_dim, padding_idx, rng, dtype)

    def settings(self) -> str:
        """Return what its repr shows."""
        return _sizes(self.weight, self.padding_idx)

    def forward(self, indices: Input) -> Tensor:
        """Map numbers of shape (...) to vectors (..., embedding_dim). Raises IndexError for numbers without a row."""
        rows = _numbers(indices)
        try:
            vectors = self.weight.index_select(rows)
        except IndexError as error:
            raise other_vocabulary(error, self.weight) from None
        if self.padding_idx is None:
            return vectors
        counts = np.not_equal(rows, self.padding_idx).astype(vectors.dtype)
        return vectors * counts[..., None]


class EmbeddingBag(Module):
    """Means or sums of looked-up vectors, one for each bag of numbers; an empty bag gives zeros.

    Args:
        mode: "mean", "sum", or "root": the sum divided by the root of the number of entries.
        padding_idx: a number that stands for "nothing here": it is left out of sums and of the counts of means.
        deduplicate: whether a number counts once in a bag, however often it is there.

    Attributes:
        weight: shape (num_embeddings, embedding_dim), starts uniform in (-0.5, 0.5) / embedding_dim.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        mode: Literal["mean", "sum", "root"] = "mean",
        padding_idx: int | None = None,
        deduplicate: bool = False,
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        if mode not in ("mean", "sum", "root"):
            raise ValueError(f'mode is "mean", "sum" or "root", not {mode!r}')
        self.mode = mode
        self.padding_idx = padding_idx
        self.deduplicate = deduplicate
        self.weight = _table(num_embeddings, embedding_dim, padding_idx, rng, dtype)

    def settings(self) -> str:
        """Return what its repr shows."""
        repeats = ", deduplicate=True" * self.deduplicate
        return f"{_sizes(self.weight, self.padding_idx)}, mode={self.mode!r}{repeats}"

    def forward(self, indices: Input, offsets: Input, per_sample_weights: Input | None = None) -> Tensor:
        """Return (bags, embedding_dim).

        Args:
            indices: the numbers of all bags, one bag after the other, shape (entries,).
            offsets: where each bag starts in `indices`, shape (bags,).
            per_sample_weights: a factor for each entry, shape (entries,). A mean still divides by the count.
        """
        rows, starts = _numbers(indices), _numbers(offsets)
        weights = None if per_sample_weights is None else as_tensor(per_sample_weights)
        if starts.dtype.kind not in "iu":
            raise TypeError(f"offsets must be integers, not {starts.dtype}")
        if weights is not None and weights.shape != rows.shape:
            raise ValueError(f"weights of shape {weights.shape} do not fit indices of shape {rows.shape}")
        try:
            return self._combined(rows, starts, weights)
        except IndexError as error:
            raise other_vocabulary(error, self.weight) from None

    def _combined(self, rows: Array, starts: Array, weights: Tensor | None) -> Tensor:
        if self.padding_idx is not None:
            kept = np.not_equal(rows, self.padding_idx)
            weights = None if weights is None else weights[kept]
            rows, starts = filter_bags(rows, starts, kept)
        if self.deduplicate:
            if weights is not None:
                raise ValueError("a de-duplicating bag takes no per_sample_weights: repeated entries are dropped")
            check_indices(rows, len(self.weight))  # before they are joined with the numbers of bags
            rows, starts = unique_bags(rows, starts)
        inputs = (self.weight,) if weights is None else (self.weight, weights)
        return apply(ops.embedding_bag, *inputs, indices=rows, offsets=starts, mode=self.mode)


def filter_bags(indices: Array, offsets: Array, kept: Array) -> tuple[Array, Array]:
    """Keep only the entries where `kept`, shape (entries,), is true; return the new indices and offsets."""
    bag_sizes(indices, offsets)
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    return indices[kept], kept_before[offsets]


def unique_bags(indices: Array, offsets: Array) -> tuple[Array, Array]:
    """Keep each number once in each bag, in rising order; return the new indices and offsets."""
    sizes = bag_sizes(indices, offsets)
    bags = np.repeat(np.arange(len(offsets)), sizes)
    numbers = int(indices.max()) + 1 if len(indices) else 1
    pairs = sorted_set(bags * numbers + indices)  # by bag, then by number
    return pairs % numbers, np.searchsorted(pairs, np.arange(len(offsets)) * numbers)


def nearest_rows(
    table: Array,
    vector: npt.ArrayLike,
    count: int,
    without: Sequence[int] = (),
    *,
    by: Literal["cosine", "distance"] = "cosine",
) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the numbers of the rows nearest to a vector, best first, and how near they are (chapter 11).

    Args:
        table: shape (rows, dim).
        vector: shape (dim,).
        count: how many, or all if there are fewer.
        without: rows not to return: the words asked about.
        by: "cosine" asks for the same direction, whatever the length; a row of zeros has none, its cosine counts as 0.
            "distance" asks for the same place.

    Returns:
        Row numbers, and their cosines, falling, or their distances, rising.
    """
    measures = {"cosine": _cosines, "distance": _distances}
    if by not in measures:
        raise ValueError(f'by is "cosine" or "distance", not {by!r}')
    vector = np.asarray(vector, table.dtype)
    if table.ndim != 2 or vector.shape != table.shape[1:]:
        raise ValueError(f"a vector of shape {vector.shape} does not fit a table of shape {table.shape}")
    measured = measures[by](table, vector)
    nearness = measured if by == "cosine" else -measured
    candidates = min(count + len(without), len(table))
    best = np.argpartition(nearness, len(table) - candidates)[len(table) - candidates :]
    best = best[~np.isin(best, without)]
    best = best[np.lexsort((best, -nearness[best]))][:count]
    return best, measured[best]


def _cosines(table: Array, vector: Array) -> Array:
    lengths = np.sqrt(np.einsum("ij,ij->i", table, table)) * np.linalg.norm(vector)
    cosines: Array = table @ vector / np.maximum(lengths, np.finfo(table.dtype).tiny)
    return cosines


def _distances(table: Array, vector: Array) -> Array:
    distances: Array = np.linalg.norm(table - vector, axis=1)
    return distances


def other_vocabulary(error: IndexError, table: Tensor) -> IndexError:
    """Say of an error of row numbers what table they do not fit."""
    return IndexError(f"{error}; the vocabulary does not fit a table of shape {table.shape}")


def _numbers(numbers: Input) -> Array:
    return as_indices(numbers.data if isinstance(numbers, Tensor) else numbers)


def _sizes(table: Tensor, padding_idx: int | None) -> str:
    rows, dim = table.shape
    return f"{rows}, {dim}" + ("" if padding_idx is None else f", padding_idx={padding_idx}")


def _table(rows: int, dim: int, padding_idx: int | None, rng: Rng, dtype: npt.DTypeLike) -> Parameter:
    at_least("num_embeddings", rows, 1)
    at_least("embedding_dim", dim, 1)
    table = (generator(rng).uniform(-0.5, 0.5, (rows, dim)) / dim).astype(dtype)
    if padding_idx is not None:
        if not 0 <= padding_idx < rows:
            raise ValueError(f"padding_idx must be a row number in 0 ... {rows - 1}, not {padding_idx}")
        table[padding_idx] = 0
    return Parameter(table)
