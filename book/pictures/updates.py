"""What an update says about words, client by client (chapter 15)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from book.pictures.heat import show_signed
from book.pictures.style import SIZE, Picture, new_figure, style
from core.ops import Array


def word_sizes(updates: npt.ArrayLike) -> Array:
    """Return one number for each client and word, shape (clients, words).

    Args:
        updates: shape (clients, words), left as it is; or (clients, words, dim), of which the length of each
            word's vector is taken.
    """
    array = np.asarray(updates, float)
    if array.ndim == 3:
        array = np.linalg.norm(array, axis=2)
    if array.ndim != 2:
        raise ValueError(f"updates of shape {array.shape} should be (clients, words) or (clients, words, dim)")
    return array


@style()
def update_heatmap(
    updates: npt.ArrayLike, words: Sequence[str], clients: Sequence[str] | None = None, top: int = 25, title: str = ""
) -> Picture:
    """Draw the update of the words that moved most, one column for each client (chapter 15).

    Args:
        updates: shape (clients, words) or (clients, words, dim), as in `word_sizes`.
        words: the word of each column.
        top: how many words; those with the largest update of any client come first.
    """
    sizes = word_sizes(updates)
    names = [f"client {number}" for number in range(1, len(sizes) + 1)] if clients is None else list(clients)
    if sizes.shape != (len(names), len(words)):
        raise ValueError(f"updates of shape {sizes.shape} do not fit {len(names)} clients and {len(words)} words")
    largest = np.argsort(-np.abs(sizes).max(axis=0), kind="stable")[:top]
    shown = sizes[:, largest].T
    figure = new_figure(2.6 + 0.75 * len(names), 1.3 + 0.21 * len(largest), title)
    axes = figure.subplots()
    if np.ndim(updates) == 3:
        image = axes.imshow(shown, cmap=SIZE, vmin=0, aspect="auto", interpolation="nearest")
        axes.grid(False)
        label = "length of the word's update"
    else:
        image = show_signed(axes, shown, aspect="auto")
        label = "update of the word's weight"
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(largest)), [words[word] for word in largest])
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label=label, fraction=0.08)
    return figure
