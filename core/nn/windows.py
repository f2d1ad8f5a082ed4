"""The primitives of images: zeros around them, the windows in them, and the largest entry of each window.

They keep to the rules of `core.ops`.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from core.ops import Array, Result


def pad(a: Array, *, padding: int) -> Result:
    """Add `padding` zeros on each side of the last two axes."""
    inside = slice(padding, -padding or None)
    widths = [(0, 0)] * (a.ndim - 2) + [(padding, padding)] * 2
    return np.pad(a, widths), (lambda g: g[..., inside, inside],)


def patches(a: Array, *, size: tuple[int, int], stride: tuple[int, int]) -> Result:
    """Cut images into overlapping windows: (n, channels, h, w) -> (n, channels, *size, rows, columns).

    With stride 1 there are h - size[0] + 1 rows and w - size[1] + 1 columns of windows. Their grid comes last
    because it is what lies together in memory: copying is twice as fast as with the windows' entries last.
    """
    if a.ndim != 4 or a.shape[2] < size[0] or a.shape[3] < size[1]:
        raise ValueError(f"images of shape {a.shape} (n, channels, h, w) do not hold a window of shape {size}")
    down, right = stride
    windows = sliding_window_view(a, size, axis=(2, 3))[:, :, ::down, ::right]
    rows, columns = windows.shape[2:4]

    def derivative(g: Array) -> Array:
        image = np.zeros(a.shape, g.dtype)
        # One addition of a whole grid of windows for each place in the window, not one for each window.
        for i, j in np.ndindex(size):
            places = image[:, :, i : i + rows * down : down, j : j + columns * right : right]
            places += g[:, :, i, j]
        return image

    return windows.transpose(0, 1, 4, 5, 2, 3), (derivative,)


def max_of_windows(a: Array) -> Result:
    """Return largest entry of each window, (n, channels, *size, rows, columns) -> (n, channels, rows, columns).

    Of entries that share the maximum the first receives the gradient.
    """
    n, channels, height, width, *grid = a.shape
    entries = a.reshape(n, channels, height * width, *grid)
    winner = entries.argmax(axis=2, keepdims=True)

    def derivative(g: Array) -> Array:
        gradient = np.zeros(entries.shape, g.dtype)
        np.put_along_axis(gradient, winner, g[:, :, None], 2)
        return gradient.reshape(a.shape)

    return np.take_along_axis(entries, winner, 2)[:, :, 0], (derivative,)
