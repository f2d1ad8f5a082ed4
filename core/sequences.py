"""What models of words and characters share: the neighbours of each place, and how well a text is foretold.

>>> from core.sequences import sliding_window
>>> sliding_window([5, 6, 7], 1, padding=0).tolist()
[[0, 6], [5, 7], [6, 0]]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from core.data.characters import IntArray, bptt_chunks
from core.indices import as_indices, check_indices
from core.losses import cross_entropy
from core.metrics import perplexity
from core.ops import Array
from core.tensor import Tensor, no_grad

MEASURED_STEPS = 99  # cuts 10,000 characters into whole chunks: all 9,999 that can be foretold are


def sliding_window(numbers: npt.ArrayLike, width: int, padding: int) -> IntArray:
    """Return the neighbours of each place: `width` before it, then `width` after it; (n,) -> (n, 2 * width).

    Args:
        padding: what stands before the beginning and after the end.
    """
    if width < 1:
        raise ValueError(f"a window of {width} neighbours on each side shows nothing; at least 1 is needed")
    row = as_indices(numbers)
    if row.ndim != 1 or row.dtype.kind != "i":
        raise ValueError(f"a window slides over a row of whole numbers, not over {row.dtype} of shape {row.shape}")
    return neighbours(np.pad(row, width, constant_values=padding), np.arange(len(row)) + width, width)


def neighbours(numbers: IntArray, places: IntArray, width: int) -> IntArray:
    """Return what stands around some places of a row, none nearer than `width` to its ends: (n,) -> (n, 2 * width)."""
    around = [shift for shift in range(-width, width + 1) if shift]
    found: IntArray = numbers[places[:, None] + around]
    return found


def text_perplexity(model: Callable[[IntArray, Any], tuple[Tensor, Any]], numbers: IntArray, streams: int = 1) -> float:
    """Measure an unchanged model over a text: all positions, the state carried on through each stream.

    Args:
        model: returns logits, shape (steps, streams, size), and its last state, for numbers of shape (steps, streams)
            and the state before, None at the beginning.
    """
    state, losses = None, []
    with no_grad():
        for read, following in zip(*bptt_chunks(numbers, streams, MEASURED_STEPS), strict=True):
            logits, state = model(read.T, state)
            losses.append(cross_entropy(logits, following.T).item())
    return perplexity(float(np.mean(losses)))


# --- What a table of counts can do ---


def unigram_perplexity(
    numbers: npt.ArrayLike, text: npt.ArrayLike | None = None, *, size: int | None = None, smoothing: float = 0.0
) -> float:
    """Perplexity of a text for a model that knows only how often each character occurs.

    Args:
        numbers: the text that is counted.
        text: the text that is foretold; the counted one itself if left out.
        size: how many characters there are; if left out, as many as the two texts need.
        smoothing: added to every count; 1 is add-one smoothing. Without it what never occurred is impossible, and
            the perplexity of a text that has it is infinite.
    """
    counted, foretold, size = _texts(numbers, text, size)
    counts = np.bincount(counted, minlength=size)[None]
    return _perplexity_of_counts(counts, np.bincount(foretold, minlength=size)[None], smoothing)


def bigram_perplexity(
    numbers: npt.ArrayLike, text: npt.ArrayLike | None = None, *, size: int | None = None, smoothing: float = 0.0
) -> float:
    """Perplexity of a text for a model that knows only how often each character follows each other.

    Arguments as of `unigram_perplexity`.
    """
    counted, foretold, size = _texts(numbers, text, size)
    return _perplexity_of_counts(_pairs(counted, size), _pairs(foretold, size), smoothing)


def _texts(numbers: npt.ArrayLike, text: npt.ArrayLike | None, size: int | None) -> tuple[Array, Array, int]:
    counted = as_indices(numbers)
    foretold = counted if text is None else as_indices(text)
    size = size or 1 + max((int(each.max()) for each in (counted, foretold) if each.size), default=0)
    return check_indices(counted, size, "characters"), check_indices(foretold, size, "characters"), size


def _pairs(numbers: Array, size: int) -> Array:
    """Count what follows what, shape (size, size): one row for each character known before."""
    return np.bincount(numbers[:-1] * size + numbers[1:], minlength=size**2).reshape(size, size)


def _perplexity_of_counts(counted: Array, foretold: Array, smoothing: float) -> float:
    """Perplexity of what is foretold by shares of what was counted; a row for each thing known before."""
    if not smoothing >= 0:
        raise ValueError(f"smoothing must be at least 0, not {smoothing}")
    if not foretold.sum():
        raise ValueError("a text of which nothing is foretold has no perplexity: it is too short")
    smooth = counted + smoothing
    asked = foretold > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (smooth / smooth.sum(axis=1, keepdims=True))[asked]
        return perplexity(-float((foretold[asked] * np.log(np.nan_to_num(shares))).sum() / foretold.sum()))
